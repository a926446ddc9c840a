"""Which processes of a container a signal reaches, and what the end of a command says. Pure."""

from __future__ import annotations

import subprocess

import pytest

from stormgate.faults.backends.kubernetes.inside.command import Ran, ended
from stormgate.faults.backends.kubernetes.inside.processes import (
    LIST,
    parsed,
    reachable,
    sent,
    short,
    signal_lines,
)


def line(pid, name, parent, began, state="S", where="same"):
    fields = [state, str(parent), *["0"] * 17, str(began), "0"]
    return f"{where} {pid} ({name}) {' '.join(fields)}"


def listed(*lines, shell=99):
    own = line(shell, "sh", 0, 900)
    return parsed("\n".join([*lines, own, f"end {shell}"]) + "\n")


@pytest.mark.parametrize(
    ("lines", "name", "pids"),
    [
        ([line(1, "java", 0, 1)], None, []),
        ([line(1, "tini", 0, 1), line(7, "java", 1, 2)], None, [7]),
        ([line(1, "tini", 0, 1), line(7, "java", 1, 2), line(8, "sh", 7, 3)], None, [7, 8]),
        ([line(1, "nginx", 0, 1), line(7, "nginx", 1, 2, "Z")], None, []),
        # A probe's process, and what it started, came in from outside.
        ([line(1, "tini", 0, 1), line(40, "probe", 0, 50), line(41, "curl", 40, 51)], None, []),
        # Processes shared in the pod: PID 1 is the pause, of another container.
        (
            [
                line(1, "pause", 0, 1, where="other"),
                line(7, "java", 0, 2),
                line(9, "envoy", 0, 3, where="other"),
                line(12, "worker", 7, 4),
            ],
            None,
            [7, 12],
        ),
        ([line(1, "tini", 0, 1), line(7, "a (b) c", 1, 2), line(8, "java", 1, 2)], "a (b) c", [7]),
        ([line(1, "tini", 0, 1), line(7, "java", 1, 2)], "node", []),
    ],
)
def test_a_signal_reaches_what_runs_in_the_container_but_pid_1(lines, name, pids):
    assert [one.pid for one in reachable(listed(*lines), name)] == pids


def test_a_list_that_was_cut_short_is_none():
    with pytest.raises(ValueError, match="does not end"):
        parsed(line(1, "tini", 0, 1))
    with pytest.raises(ValueError, match="does not end"):
        parsed("")


def test_the_lines_find_this_very_shell_s_neighbours():
    """Any POSIX shell runs them; on this machine they list, and signal nothing."""
    done = subprocess.run(["sh", "-c", LIST], capture_output=True, text=True, check=True)
    assert any(one.pid == 1 for one in parsed(done.stdout))


def test_only_the_very_process_is_signalled():
    child = subprocess.Popen(["sleep", "60"])
    try:
        done = subprocess.run(["sh", "-c", LIST], capture_output=True, text=True, check=True)
        [found] = [one for one in parsed(done.stdout) if one.pid == child.pid]
        another = {**found.noted(), "began": found.began + 1}
        for noted, count in ((another, 0), (found.noted(), 1)):
            lines = signal_lines("TERM", [noted])
            done = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, check=False)
            assert (done.returncode, sent(done.stdout)) == (0, count)
        assert child.wait(5) == -15
    finally:
        child.kill()
        child.wait()


def test_a_name_is_as_the_kernel_keeps_it():
    assert short("a-very-long-program-name") == "a-very-long-pro"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"status":"Success"}', 0),
        (b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}', 3),
        (b'{"status":"Failure","message":"no such file","reason":"InternalError"}', None),
        (b"", None),
        (b"[]", None),
        (b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode"}]}}', None),
    ],
)
def test_an_end_that_nobody_told_is_no_success(status, code):
    assert ended(status)[0] == code
    assert "nobody told" in str(Ran("", "", None, "gone"))
