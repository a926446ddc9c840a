"""A Service's traffic led through a Toxiproxy pod: a real Toxiproxy and real connections through
the Service's own address, with what is done to them seen by who makes them.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.network import PORT, Network

from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed, Unproven
from stormgate.faults.looks.leftovers import undo_left
from stormgate.model import Observe, to_json

pytestmark = pytest.mark.live

IMAGE = "ghcr.io/shopify/toxiproxy:2.12.0"


@pytest.fixture
def net(here):
    here.world.network = Network(here.world)
    wait_until(lambda: here.world.network.services)
    return here


def front(here, observed=True, **handle):
    address = f"{service(here)['spec']['clusterIP']}:{PORT}"
    observe = Observe(protocol="http", address=address) if observed else None
    return here.part(
        observe=observe, **{"namespace": "shop", "service": "web", "detourImage": IMAGE, **handle}
    )


def service(here):
    return here.world.one("services", "shop", "web")


def swept(here):
    """The proxy's pod is terminating when the rest is gone."""
    wait_until(lambda: len(here.world.all("pods")) == 3)
    here.clean()


def ask(here, timeout_s=2.0):
    """How long an answer through the Service takes, s; what went wrong else."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection(
        service(here)["spec"]["clusterIP"], PORT, timeout=timeout_s
    )
    try:
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    except (OSError, http.client.HTTPException) as error:
        return error
    finally:
        connection.close()
    return time.monotonic() - begun


CASES = [
    ("slow", {"latency_ms": 300}, lambda one: isinstance(one, float) and one >= 0.29),
    ("blackhole", {}, lambda one: isinstance(one, TimeoutError)),
    ("refuse", {}, lambda one: isinstance(one, OSError) and not isinstance(one, TimeoutError)),
    ("lossy", {"share": 1.0}, lambda one: isinstance(one, OSError)),
    ("bandwidth", {"rate_kb_per_s": 10}, lambda one: isinstance(one, float)),
]


@pytest.mark.parametrize(("mode", "params", "felt"), CASES, ids=[case[0] for case in CASES])
def test_what_passes_the_service_is_broken_and_whole_again(net, mode, params, felt):
    before = dict(service(net)["spec"]["selector"])
    [row] = net.break_(front(net), mode, **params)
    saw = row["proof"][0]["saw"]
    assert "all endpoints are the proxy stormgate-" in saw
    passed = int(saw.partition("; ")[2].partition(" bytes")[0])
    assert passed > 0 or mode == "refuse"
    # Who is answered late is waited for, however busy this machine is.
    assert felt(ask(net, 10.0 if mode in {"slow", "bandwidth"} else 1.0))
    net.undo()
    assert service(net)["spec"]["selector"] == before
    assert wait_until(lambda: isinstance(took_s := ask(net), float) and took_s < 0.25)
    swept(net)
    assert net.undo() == []


def test_nobody_who_passes_it_is_nothing_that_was_broken(net):
    with pytest.raises(Unproven, match="0 bytes have come in through it; nobody looks at it"):
        net.break_(front(net, observed=False), "slow", latency_ms=300, proof_s=0.5)
    assert net.open() == []
    swept(net)


def test_the_counters_of_the_proxy_alone_prove_what_users_pass(net):
    over = threading.Event()

    def users():
        while not over.wait(0.05):
            ask(net)

    crowd = threading.Thread(target=users)
    crowd.start()
    try:
        [row] = net.break_(front(net, observed=False), "slow", latency_ms=200)
    finally:
        over.set()
        crowd.join()
    assert "bytes have come in through it" in row["proof"][0]["saw"]
    net.undo()


def test_without_endpoints_or_an_image_nothing_is_made(net):
    with pytest.raises(CannotBreak, match="nearest: a service with a detourImage"):
        net.break_(front(net, detourImage=None), "slow", latency_ms=300)
    net.world.service("empty", "nobody")
    with pytest.raises(NotWhole, match="service/empty in shop had no ready endpoint before"):
        net.break_(front(net, observed=False, service="empty"), "slow", latency_ms=300)
    assert not [one for one in net.world.all("deployments") if one["metadata"]["name"] != "web"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"clusterIP": "None"}, "headless"),
        ({"externalTrafficPolicy": "Local"}, "a proxy on one node would lose"),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, "port 53 is UDP, not TCP"),
        ({"ports": [{"port": 80, "targetPort": "web"}]}, "has a port named 'web'"),
    ],
)
def test_a_service_that_cannot_be_led_round_is_refused(here, change, why):
    here.world.one("services", "shop", "web")["spec"].update(change)
    with pytest.raises(CannotBreak, match=why):
        here.break_(front(here, observed=False), "slow", latency_ms=300)


def test_a_proxy_that_never_runs_is_told_and_taken_away_again(net, monkeypatch):
    monkeypatch.setattr("stormgate.faults.backends.kubernetes.detour.mode.READY_S", 0.3)
    part = front(net, detourImage="no-such-image")
    with pytest.raises(NotApplied, match=r"the proxy of the detour \(no-such-image\) is not ready"):
        net.break_(part, "slow", latency_ms=300)
    assert net.open() == []
    swept(net)
    assert service(net)["spec"]["selector"] == {"app": "web"}, "users never left their pods"


def test_a_selector_that_somebody_puts_back_has_ended_it_and_theirs_is_kept(net):
    net.break_(front(net), "slow", latency_ms=200)
    with net.world.lock:
        service(net)["spec"]["selector"] = {"app": "web", "by": "argocd"}
        net.world.touch(service(net))
    wait_until(lambda: net.rows("fault.lost"))
    assert "somebody put it back" in net.rows("fault.lost")[0]["saw"]
    service(net)["spec"]["selector"].pop("by")
    net.undo()
    swept(net)


def test_a_proxy_that_is_started_anew_has_lost_its_toxics(net):
    net.break_(front(net), "slow", latency_ms=200)
    [child] = net.world.network.proxies.values()
    child.kill()
    wait_until(lambda: net.rows("fault.lost"))
    assert "the proxy of the detour: " in net.rows("fault.lost")[0]["saw"]
    net.undo()
    swept(net)


BREAK = """
import sys, json
from pathlib import Path
from stormgate.faults.context import make_context
from stormgate.faults.inject import inject
from stormgate.model import Target, from_json
target = from_json(Target, json.loads(Path(sys.argv[1]).read_text()))
context = make_context(target, Path(sys.argv[2]), fault="trial", seed=0)
inject(context, list(target.components), "slow", {"latency_ms": 200})
print("broken", flush=True)
sys.stdin.read()
"""


def test_a_killed_run_s_detour_is_found_in_the_cluster_without_its_ledger(net):
    target = net.target(front(net))
    path = net.folder.parent / "target.json"
    path.write_text(json.dumps(to_json(target)))
    child = subprocess.Popen(
        [sys.executable, "-c", BREAK, str(path), str(net.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline().strip() == "broken"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    (net.folder / "undo.ndjson").unlink()
    bare = net.target(front(net, detourImage=None))  # what stands is undone by what it says
    found = undo_left(bare, 10.0)
    assert found.failed == ()
    assert len(found.undone) == 1
    assert ask(net) < 0.15
    assert service(net)["spec"]["selector"] == {"app": "web"}
    assert [one["metadata"]["name"] for one in net.world.all("deployments")] == ["web"]


def test_an_undo_that_may_not_patch_says_both_commands(net):
    net.break_(front(net), "slow", latency_ms=200)
    net.world.rules["all-may"] = {
        (verb, what)
        for verb in ("get", "list")
        for what in ("pods", "services", "endpointslices", "deployments", "leases")
    }
    with pytest.raises(UndoFailed) as error:
        net.undo(deadline_s=0.5)
    assert "kubectl --context staging -n shop patch service web --type=json" in str(error.value)
    assert '"value":{"app":"web"}' in str(error.value)
    assert "delete deployment/stormgate-" in str(error.value)
    net.world.rules["all-may"] = None
    net.undo()
    swept(net)
