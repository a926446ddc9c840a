"""Signals to what runs in containers: real processes in PID namespaces of their own, reached by
exec over a websocket, where the kernel keeps KILL and STOP from PID 1 as it does in a cluster.
"""

from __future__ import annotations

import time

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.containers import ALONE, BELOW_AN_INIT, Container, possible
from tests.live.kubernetes.standin import kubeconfig

from stormgate.faults.errors import CannotBreak, NotApplied, UndoFailed, Unproven
from stormgate.faults.looks.leftovers import undo_left

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not possible(), reason="this kernel gives us no PID namespace"),
]
# PID 1 goes on, and makes its worker anew: what dies beneath it crashes no container.
SUPERVISED = ("sh", "-c", "while true; do sleep 1000 & wait $!; done")


@pytest.fixture
def inside(here):
    """Pods whose containers run below an init."""
    yield from running(here, BELOW_AN_INIT)


def running(here, argv):
    here.world.contain = lambda: Container(argv)
    wait_until(lambda: len(here.world.containers) == 3)
    wait_until(lambda: all(p["status"].get("containerStatuses") for p in pods(here)))
    yield here


def pods(here):
    return here.world.pods_of("web")


def containers(here):
    return list(here.world.containers.values())


def ids(here):
    return {one.id for one in containers(here)}


def test_freeze_stops_what_runs_below_pid_1_and_wakes_it(inside):
    [row] = inside.break_(inside.web(), "freeze")
    assert "3 processes in 3 pods are stopped (sleep (" in row["proof"][0]["saw"]
    assert [one.states() for one in containers(inside)] == [["T"]] * 3
    inside.undo()
    assert [one.states() for one in containers(inside)] == [["S"]] * 3
    assert inside.open() == []
    assert inside.undo() == [], "nothing is left to wake"


def test_frozen_pods_are_found_and_woken_without_a_ledger(inside):
    """All of them, by the mark on any: it was another machine that is gone with its ledger."""
    inside.break_(inside.web(), "freeze")
    target = inside.context.target
    inside.context.watch.end()
    (inside.folder / "undo.ndjson").unlink()
    lease = inside.world.one("leases", "shop", "stormgate-target")
    lease["metadata"]["annotations"] = {}
    lease["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
    found = undo_left(target, 10.0)
    assert (found.failed, len(found.undone)) == ((), 1)
    assert [one.states() for one in containers(inside)] == [["S"]] * 3
    inside.clean()


def test_crash_container_is_proven_by_its_restart(inside):
    before, uids = ids(inside), inside.uids()
    [row] = inside.break_(inside.web(), "crash_container", share="one of", process="sleep")
    assert "restarts 0 -> 1 (exit code 137, Error)" in row["proof"][0]["saw"]
    inside.undo()
    assert inside.uids() == uids, "the pods are the same"
    assert len(ids(inside) - before) == 1, "and one has another container"


def test_a_container_of_pid_1_alone_is_refused_before_anything_is_sent(here):
    for world in running(here, ALONE):
        for mode in ("freeze", "crash_container"):
            with pytest.raises(CannotBreak, match=r"has no process but PID 1 \(sleep\), which the"):
                world.break_(world.web(), mode)
        assert not (world.folder / "undo.ndjson").exists()
        assert {one.restarts for one in containers(world)} == {0}


def test_a_worker_that_pid_1_makes_anew_is_no_crashed_container(here):
    for world in running(here, SUPERVISED):
        with pytest.raises(Unproven, match=r"has not ended \(restarts: 0.*PID 1 goes on without"):
            world.break_(world.web(), "crash_container", proof_s=0.5)
        assert world.open() == []


def test_a_process_of_another_name_is_no_fault_on_nothing(inside):
    with pytest.raises(CannotBreak, match="has no process 'java' but PID 1"):
        inside.break_(inside.web(), "freeze", process="java")


@pytest.mark.parametrize(("end", "why"), [(1, "ended with 1: sh: planted"), (None, "nobody told")])
def test_a_command_that_does_not_succeed_has_stopped_nothing(inside, end, why):
    inside.world.exec_ends["kill -STOP"] = end
    with pytest.raises(NotApplied, match=f"kill -STOP .*{why}"):
        inside.break_(inside.web(), "freeze", share=1)
    assert inside.open() == [], "what was begun is taken back"
    assert [one.states() for one in containers(inside)] == [["S"]] * 3


def test_an_image_without_a_shell_is_refused_with_what_it_lacks(inside):
    inside.world.exec_ends["/proc"] = 127
    with pytest.raises(CannotBreak, match=r"no processes can be listed .*it wants a sh"):
        inside.break_(inside.web(), "freeze")


def test_a_container_that_is_restarted_has_ended_its_freeze(inside):
    inside.break_(inside.web(), "freeze")
    containers(inside)[0].stop()  # as a liveness probe would
    wait_until(lambda: inside.rows("fault.lost"))
    assert "its container is another one now (restarts: 1)" in inside.rows("fault.lost")[0]["saw"]
    inside.undo()
    assert [one.states() for one in containers(inside)] == [["S"]] * 3


def test_who_may_not_exec_is_told_so(inside, tmp_path):
    lock = {(verb, "leases") for verb in ("create", "get", "delete")}
    inside.world.rules["reader"] = {("get", "deployments"), ("list", "pods"), *lock}
    config = kubeconfig(tmp_path / "reader", inside.port, "reader")
    denied = inside.part(namespace="shop", deployment="web", kubeconfig=str(config))
    with pytest.raises(CannotBreak, match='User "reader" cannot get resource "pods/exec"'):
        inside.break_(denied, "freeze")


def test_a_freeze_that_cannot_be_taken_back_is_dirty_with_the_command(inside):
    inside.break_(inside.web(), "freeze", share=1)
    [at] = [uid for uid, one in inside.world.containers.items() if one.states() == ["T"]]
    inside.world.rules["all-may"] = {
        (verb, what) for verb in ("get", "list") for what in ("pods", "deployments", "leases")
    }
    begun = time.monotonic()
    with pytest.raises(
        UndoFailed, match=r"kubectl --context staging -n shop exec web-\S+ -c main "
    ):
        inside.undo(deadline_s=0.5)
    assert time.monotonic() - begun < 10
    inside.world.rules["all-may"] = None
    inside.undo()
    assert inside.world.containers[at].states() == ["S"]
