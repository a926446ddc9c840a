"""One run per target: held by a live owner however long it runs, taken over from a dead one."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stormgate.faults import lease as leases
from stormgate.faults.errors import LeaseHeld
from stormgate.faults.lease import UNSEEN_S, acquire, holder, is_free
from stormgate.faults.state import Fate, ProcessOwner
from stormgate.system.processes import pid_start_ticks

SRC = str(Path(leases.__file__).parents[2])


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    yield
    for hold in leases._holds.values():
        hold.stop.set()
        os.close(hold.lock)
    leases._holds.clear()


@pytest.mark.parametrize(
    ("locked", "fate", "unrenewed_s", "free"),
    [
        (False, Fate.DEAD, 0.0, True),
        (False, Fate.LIVE, 9e9, False),  # no clock takes it from a live owner
        (True, Fate.DEAD, 9e9, False),  # a child of the owner still holds the lock
        (True, Fate.UNKNOWN, 9e9, False),  # stopped, in another container
        (False, Fate.UNKNOWN, UNSEEN_S - 1, False),
        (False, Fate.UNKNOWN, UNSEEN_S, True),
        (False, Fate.UNKNOWN, -9e9, False),  # its clock is ahead of ours
    ],
)
def test_when_a_lease_is_free(locked, fate, unrenewed_s, free):
    assert is_free(locked=locked, fate=fate, unrenewed_s=unrenewed_s) is free


HERE = ProcessOwner.this()


@pytest.mark.parametrize(
    ("change", "fate"),
    [
        ({}, Fate.LIVE),
        ({"start_ticks": HERE.start_ticks + 1}, Fate.DEAD),  # a successor of the pid
        ({"boot": "an earlier one"}, Fate.DEAD),  # a reboot ends everything
        ({"boot": "an earlier one", "pid_ns": "pid:[1]"}, Fate.DEAD),
        ({"boot": "another", "machine": "another/host"}, Fate.UNKNOWN),
        ({"pid_ns": "pid:[1]"}, Fate.UNKNOWN),
        ({"pid_ns": "pid:[1]", "start_ticks": 1}, Fate.UNKNOWN),
    ],
)
def test_what_is_known_of_an_owner(change, fate):
    assert replace(HERE, **change).fate() is fate


def another_process(code, *before):
    env = {**os.environ, "PYTHONPATH": SRC}
    return subprocess.Popen(
        [*before, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )


def end(owner):
    owner.kill()
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()


HOLD = (
    "from stormgate.faults.lease import acquire; acquire('t', folder='/runs/one'); "
    "print('held', flush=True); input()"
)


def test_a_live_owner_keeps_it_and_a_dead_one_is_taken_over():
    owner = another_process(HOLD)
    try:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld, match=f"process {owner.pid} .*/runs/one"):
            acquire("t")
        assert holder("t").owner.pid == owner.pid
        acquire("another target").release()
        owner.kill()
        owner.wait()
        assert holder("t") is None
        assert acquire("t").owner == ProcessOwner.this()
    finally:
        end(owner)


def can_have_a_pid_namespace():
    return (
        shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "--pid", "--fork", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


def test_an_owner_in_another_pid_namespace_keeps_it_however_long_it_says_nothing():
    if not can_have_a_pid_namespace():
        pytest.skip("needs the right to make a pid namespace")
    owner = another_process(HOLD, "unshare", "--pid", "--fork", "--kill-child")
    try:
        assert owner.stdout.readline() == "held\n"
        rewrite(renewed_ns=-(10**18))
        with pytest.raises(LeaseHeld, match="in use"):
            acquire("t")
        end(owner)
        deadline = time.monotonic() + 20  # its namespace ends a moment after the process we killed
        while holder("t") is not None:
            assert time.monotonic() < deadline, "its lock did not end with it"
            time.sleep(0.01)
    finally:
        end(owner)


def rewrite(**change):
    """Change fields of the lease file of `t`; those of the owner are given as `owner`."""
    path = leases._path("t")
    data = json.loads(path.read_text())
    owner = {**data["owner"], **change.pop("owner", {})}
    path.write_text(json.dumps({**data, **change, "owner": owner}))


def given_up():
    """The lease file of `t`, as of somebody else: without the lock and the renewals of ours."""
    acquire("t")
    hold = leases._holds.pop(leases._path("t"))
    hold.stop.set()
    os.close(hold.lock)


def test_a_lease_of_another_container_is_free_once_it_was_not_renewed_for_long():
    given_up()
    rewrite(owner={"pid_ns": "pid:[1]"})
    with pytest.raises(LeaseHeld, match="cannot be looked at from here"):
        acquire("t")
    rewrite(renewed_ns=leases._boottime_ns() - int(UNSEEN_S * 1e9))
    assert acquire("t").owner == ProcessOwner.this()


def test_a_lease_of_another_machine_is_told_by_the_clock_of_the_file_system():
    given_up()
    rewrite(owner={"boot": "another", "machine": "another/host"}, renewed_ns=1)
    with pytest.raises(LeaseHeld, match="on host"):
        acquire("t")
    long_ago = time.time() - UNSEEN_S - 1
    os.utime(leases._path("t"), (long_ago, long_ago))
    assert acquire("t").owner == ProcessOwner.this()


def test_a_reboot_ends_it():
    given_up()
    rewrite(owner={"boot": "an earlier one"})
    assert holder("t") is None
    assert acquire("t").owner == ProcessOwner.this()


def test_it_is_renewed_while_its_owner_lives(monkeypatch):
    monkeypatch.setattr(leases, "RENEW_S", 0.01)
    first = acquire("t")
    deadline = time.monotonic() + 10
    while holder("t").renewed_ns == first.renewed_ns:
        assert time.monotonic() < deadline, "never renewed"
        time.sleep(0.01)
    first.release()
    assert holder("t") is None
    time.sleep(0.05)
    assert holder("t") is None, "renewed after its release"


def test_taking_ones_own_again_and_releasing_twice():
    first = acquire("t")
    second = acquire("t")
    assert first.owner.start_ticks == pid_start_ticks(os.getpid())
    second.release()
    second.release()
    assert holder("t") is None
    acquire("t").release()


def test_releasing_does_not_take_it_from_a_successor():
    mine = acquire("t")
    replace(mine, owner=replace(mine.owner, pid=1)).release()
    assert holder("t") is not None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"owner": 1}', '{"owner": {"pid": true}}'])
def test_a_lease_that_nobody_can_read_is_held_not_free(text):
    given_up()
    leases._path("t").write_text(text)
    for ask in (acquire, holder):
        with pytest.raises(LeaseHeld, match=r"cannot be read .* remove that file"):
            ask("t")
    leases._path("t").unlink()
    acquire("t").release()
