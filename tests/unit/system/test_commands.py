"""A command is run to its end, or ended with everything it had started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from stormgate.system.commands import run_command
from stormgate.system.processes import alive, pid_start_ticks

# Its child, and the child's child in a session of its own, each say their pid and sleep.
FAMILY = """
import os, subprocess, sys, time
depth, place = int(sys.argv[1]), sys.argv[2]
if depth:
    argv = [sys.executable, "-c", sys.argv[3], str(depth - 1), place, sys.argv[3]]
    subprocess.Popen(argv, start_new_session=depth == 1)
open(f"{place}/{depth}.new", "w").write(str(os.getpid()))
os.rename(f"{place}/{depth}.new", f"{place}/{depth}.pid")
time.sleep(120)
"""


def family(place: Path) -> list[str]:
    return [sys.executable, "-c", FAMILY, "2", str(place), FAMILY]


def gone(members: list[tuple[int, int]]) -> None:
    deadline = time.monotonic() + 20  # the kernel ends each in its own time
    while left := [member for member in members if alive(*member)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.01)


def test_one_that_is_stopped_takes_its_children_and_grandchildren_with_it(tmp_path: Path) -> None:
    stop, members = threading.Event(), []

    def watch() -> None:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*.pid"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        for path in sorted(tmp_path.glob("*.pid")):
            pid = int(path.read_text())
            members.append((pid, pid_start_ticks(pid) or 0))
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    ended = run_command(family(tmp_path), 90, stop=stop)
    watcher.join()
    assert (ended.code, "was stopped" in ended.said) == (None, True)
    assert len(members) == 3
    gone(members)


def test_one_that_is_late_leaves_no_grandchild(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    command = f"sh -c 'sleep 120 & echo $! $(cut -d\" \" -f22 /proc/$!/stat) > {file}; wait'"
    ended = run_command(["sh", "-c", f"{command}; true"], 3)
    assert (ended.code, "did not end within 3 s" in ended.said) == (None, True)
    pid, ticks = file.read_text().split()
    gone([(int(pid), int(ticks))])


def test_what_one_that_ended_leaves_running_is_its_own_affair(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)']).pid)"
    )
    ended = run_command([sys.executable, "-c", code], 60)
    pid = int(ended.said)
    ticks = pid_start_ticks(pid)
    try:
        assert ended.code == 0
        assert ticks is not None
        assert alive(pid, ticks)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_what_it_said_last_and_how_it_ended() -> None:
    ended = run_command(
        ["sh", "-c", "echo one; echo $TWO >&2; exit 7"], 30, environment={"TWO": "2"}
    )
    assert (ended.code, ended.said) == (7, "2")
    assert run_command(["true"], 30).said == "(no output)"
    assert run_command(["/no/such"], 30).code is None
    assert "cannot be run" in run_command(["a\0b"], 30).said


def test_an_output_without_end_is_read_from_its_end() -> None:
    ended = run_command(["sh", "-c", "head -c 3000000 /dev/zero; echo; echo last"], 30)
    assert ended.said == "last"
