"""One run per target: held by a live owner, taken over from a dead or expired one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stormgate.faults import lease as leases
from stormgate.faults.errors import LeaseHeld
from stormgate.faults.lease import Lease, acquire, holder, is_stale
from stormgate.system.processes import pid_start_ticks

SRC = str(Path(leases.__file__).parents[2])


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


def lease(boot="b", expires=100.0):
    return Lease(
        target="t", pid=1, start_ticks=2, host="h", boot=boot, folder="", expires_unix=expires
    )


@pytest.mark.parametrize(
    ("boot", "now", "owner_alive", "stale"),
    [
        ("b", 50, True, False),
        ("b", 50, False, True),
        (
            "other",
            50,
            False,
            False,
        ),  # another machine (or boot): its pid means nothing here, only the expiry does
        ("other", 100, False, True),
        ("b", 100, True, True),
    ],
)
def test_when_a_lease_is_stale(boot, now, owner_alive, stale):
    assert is_stale(lease(boot), boot="b", now_unix=now, owner_alive=owner_alive) is stale


def another_process(code):
    env = {**os.environ, "PYTHONPATH": SRC}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )


def test_a_live_owner_keeps_it_and_a_dead_one_is_taken_over(tmp_path):
    code = (
        "from stormgate.faults.lease import acquire; acquire('t', "
        f"folder={str(tmp_path)!r}); print('held', flush=True); input()"
    )
    owner = another_process(code)
    try:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld, match=f"process {owner.pid} .*{tmp_path.name}"):
            acquire("t")
        assert holder("t").pid == owner.pid
        acquire("another target").release()
        owner.kill()
        owner.wait()
        assert holder("t") is None
        mine = acquire("t")
        assert mine.pid == os.getpid()
    finally:
        owner.kill()
        owner.wait()
        owner.stdin.close()
        owner.stdout.close()


def test_renewing_ones_own_and_releasing_twice():
    first = acquire("t")
    second = acquire("t", ttl_s=10)
    assert (first.pid, first.start_ticks) == (os.getpid(), pid_start_ticks(os.getpid()))
    second.release()
    second.release()
    assert holder("t") is None


def test_releasing_does_not_take_it_from_a_successor():
    mine = acquire("t")
    other = Lease(
        target="t",
        pid=1,
        start_ticks=pid_start_ticks(1) or 0,
        host="h",
        boot=mine.boot,
        folder="",
        expires_unix=9e12,
    )
    other.release()
    assert holder("t") is not None


def test_a_torn_lease_file_protects_nothing():
    acquire("t")
    leases._path("t").write_text("{")
    assert holder("t") is None
    acquire("t")
