"""Who we are to the cluster, its clock and its silence: a fault is taken back with the credentials
of today, nothing waits past its deadline, and nobody's own clock ends another's run.
"""

from __future__ import annotations

import json
import time

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.standin import kubeconfig

from stormgate.faults import undo
from stormgate.faults.backends.kubernetes import lock
from stormgate.faults.errors import CannotBreak, UndoFailed
from stormgate.faults.looks.leftovers import undo_left
from stormgate.faults.state import ProcessOwner

pytestmark = pytest.mark.live


@pytest.fixture
def short(monkeypatch):
    """The least time that an undo is given, s: the tests wait for its end."""
    monkeypatch.setattr(undo, "_LEAST_S", 0.8)


def test_credentials_that_expired_in_mid_fault_are_read_anew(here):
    here.break_(here.web(), "scale_down")
    here.world.rules["of-today"] = here.world.rules.pop("all-may")
    kubeconfig(here.config, here.port, "of-today")  # as who logs in again
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3


def test_credentials_that_expired_and_stay_so_are_one_line_and_the_command(here):
    here.break_(here.web(), "scale_down")
    rules = here.world.rules.pop("all-may")
    with pytest.raises(UndoFailed, match=r"401 Unauthorized \(the cred.*kubectl .* --replicas=3"):
        here.undo(deadline_s=0.3)
    here.world.rules["all-may"] = rules
    here.undo()


def test_a_credential_plugin_that_hangs_is_given_up_in_time(here, tmp_path, monkeypatch):
    from stormgate.faults.backends.kubernetes import api

    monkeypatch.setattr(api, "_CREDENTIALS_S", 0.3)
    config = kubeconfig(tmp_path / "plugin", here.port)
    data = json.loads(config.read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["2"]}
    data["users"][0]["user"] = {"exec": {**plugin, "interactiveMode": "Never"}}
    config.write_text(json.dumps(data))
    part = here.part(namespace="shop", deployment="web", kubeconfig=str(config))
    with pytest.raises(CannotBreak, match="context 'staging': its credentials did not come in"):
        here.break_(part, "scale_down")


def test_an_api_server_that_falls_silent_is_dirty_in_time_with_the_command(here, short):
    here.break_(here.web(), "scale_down")
    here.world.silent = True
    begun = time.monotonic()
    try:
        with pytest.raises(
            UndoFailed, match=r"(no answer: |time was over).*kubectl .* --replicas=3"
        ):
            here.undo(deadline_s=0.5)
    finally:
        here.world.silent = False
    assert time.monotonic() - begun < 25, (
        "its deadline and a last look, not a client's own patience"
    )
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3


def test_throttling_past_the_deadline_is_told_as_such(here, short):
    here.break_(here.web(), "scale_down")
    here.world.throttle = 1_000_000
    with pytest.raises(UndoFailed, match=r"(429 too many requests|time was over).*kubectl "):
        here.undo(deadline_s=0.5)
    here.world.throttle = 0
    here.undo()


def foreign(held):
    """As a run on another machine writes it."""
    owner = {**ProcessOwner.this().to_dict(), "boot": "another", "machine": "x/far"}
    held["metadata"]["annotations"][lock.OWNER] = json.dumps(owner)
    return held


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
def test_a_lease_runs_out_by_the_clusters_clock_not_by_ours(here, ahead_s):
    here.world.ahead_s = ahead_s
    here.break_(here.web(), "scale_down")
    target = here.context.target
    foreign(here.world.one("leases", "shop", lock.NAME))
    found = undo_left(target, 2.0)
    assert "its run is alive" in found.failed[0]
    assert here.deployment()["spec"]["replicas"] == 0
    here.world.ahead_s += 120  # and nobody renews it
    here.context.watch.end()
    assert len(undo_left(target, 5.0).undone) == 1
    here.undo()


def test_a_namespace_that_another_run_took_over_is_a_fault_lost(here, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.05)
    here.break_(here.web(), "scale_down", replicas=1)
    with here.world.lock:
        held = foreign(here.world.one("leases", "shop", lock.NAME))
        held["spec"]["holderIdentity"] = "process 7 on far"
    wait_until(lambda: here.rows("fault.lost"))
    assert "taken over by process 7 on far" in here.rows("fault.lost")[0]["saw"]
    with pytest.raises(CannotBreak, match="was taken over by process 7 on far in mid-run"):
        here.break_(here.part("front", namespace="shop", service="web"), "detach")
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3
    held = here.world.one("leases", "shop", lock.NAME)
    assert held["spec"]["holderIdentity"] == "process 7 on far", "theirs is left to them"


def test_a_lease_that_somebody_deleted_is_taken_again(here, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.05)
    here.break_(here.web(), "scale_down")
    with here.world.lock:
        del here.world.objects[("leases", "shop", lock.NAME)]
    wait_until(lambda: ("leases", "shop", lock.NAME) in here.world.objects)
    here.undo()
    assert ("leases", "shop", lock.NAME) not in here.world.objects
