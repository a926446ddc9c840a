"""Children die with their parent, and a reused pid is never signalled."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stormgate.system import processes

pytestmark = pytest.mark.live

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def wait_until(condition, deadline_s=10.0):
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def parent_script(body: str) -> str:
    return (
        "import threading, time, sys\nfrom pathlib import Path\n"
        "from stormgate.system import processes\n"
        f"argv = {SLEEP!r}\n{body}\ntime.sleep(60)\n"
    )


@pytest.mark.parametrize(
    ("body", "as_user"),
    [
        ("print(processes.spawn(argv).pid, flush=True)", False),
        ("print(processes.spawn(argv, new_session=True).pid, flush=True)", False),
        (
            "t = threading.Thread(target=lambda: print(processes.spawn(argv).pid, "
            "flush=True))\nt.start(); t.join()",
            False,
        ),
        ("print(processes.spawn(['/bin/sleep', '60'], user=65534).pid, flush=True)", True),
    ],
    ids=["main thread", "own session", "short-lived thread", "other user"],
)
def test_child_outlives_the_thread_but_not_a_killed_parent(body, as_user):
    if as_user and os.getuid() != 0:
        pytest.skip("changing the user needs root")
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_script(body)], stdout=subprocess.PIPE, text=True
    )
    try:
        child = int(parent.stdout.readline())
        ticks = processes.pid_start_ticks(child)
        time.sleep(0.1)
        assert processes.alive(child, ticks), (
            "the child must not die with the thread that asked for it"
        )
        parent.kill()
        parent.wait()
        assert wait_until(lambda: not processes.alive(child, ticks))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_output_goes_to_the_log_and_is_appended(tmp_path: Path):
    log = tmp_path / "out.log"
    for word in ("one", "two"):
        proc = processes.spawn(
            [sys.executable, "-c", f"import sys; print('{word}', file=sys.stderr)"], log_path=log
        )
        assert proc.wait(10) == 0
    assert log.read_text() == "one\ntwo\n"


def test_missing_program_is_an_error_at_once_from_any_thread():
    caught = []

    def try_it():
        try:
            processes.spawn(["/no/such/program"])
        except OSError as error:
            caught.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    try_it()
    assert [type(error) for error in caught] == [FileNotFoundError, FileNotFoundError]


def test_stop_wakes_a_frozen_child_and_kills_a_deaf_one():
    frozen = processes.spawn(SLEEP)
    frozen.send_signal(signal.SIGSTOP)
    assert processes.stop(frozen, 10) == -signal.SIGTERM
    deaf = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
            "signal.pause()",
        ],
        stdout=subprocess.PIPE,
    )
    deaf.stdout.readline()
    assert processes.stop(deaf, 0.2) == -signal.SIGKILL
    assert processes.stop(deaf, 0.2) == -signal.SIGKILL
    deaf.stdout.close()


def test_stop_of_a_group_takes_its_grandchildren(tmp_path: Path):
    log = tmp_path / "pid"
    code = (
        f"import subprocess, time; p = subprocess.Popen({SLEEP!r}); print(p.pid, "
        "flush=True); time.sleep(60)"
    )
    leader = processes.spawn([sys.executable, "-c", code], new_session=True, log_path=log)
    assert wait_until(lambda: log.exists() and log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    ticks = processes.pid_start_ticks(grandchild)
    processes.stop(leader, 5, group=True)
    assert wait_until(lambda: not processes.alive(grandchild, ticks))


def test_only_the_very_process_is_signalled():
    proc = processes.spawn(SLEEP)
    ticks = processes.pid_start_ticks(proc.pid)
    try:
        assert processes.alive(proc.pid, ticks)
        assert not processes.signal_if_same(proc.pid, ticks + 1, signal.SIGKILL)
        assert proc.poll() is None
        assert processes.signal_if_same(proc.pid, ticks, signal.SIGKILL)
        assert wait_until(lambda: not processes.alive(proc.pid, ticks)), "a zombie is not alive"
    finally:
        processes.stop(proc, 1)
    assert processes.pid_start_ticks(proc.pid) is None
    assert not processes.signal_if_same(proc.pid, ticks, signal.SIGKILL)
