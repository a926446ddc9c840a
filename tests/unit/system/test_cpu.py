"""Whose the processors were: /proc read and told apart."""

import json
import os
import subprocess
import sys
import time

import pytest

from stormgate.supervise.machine import Look, MachineWatch, row_of
from stormgate.system.cpu import MachineCpu, ProcessTree, TreeCpu, machine_cpu

STAT = """cpu  1000 200 300 5000 50 10 40 600 70 80
cpu0 500 100 150 2500 25 5 20 300 0 0
cpu1 500 100 150 2500 25 5 20 300 0 0
intr 1 2 3
"""
BUSY = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"


def test_the_machines_line_is_read_and_guests_are_not_counted_twice():
    found = machine_cpu(STAT)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert found == MachineCpu(2, pytest.approx(1550 * tick), pytest.approx(600 * tick))


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "intr 1\n"])
def test_a_machine_that_says_nothing_is_no_idle_one(text):
    with pytest.raises(ValueError, match="/proc/stat"):
        machine_cpu(text)


def test_a_row_is_what_lies_between_two_looks():
    before = Look(10**9, MachineCpu(2, 10.0, 1.0), TreeCpu(4.0, {(1, 1): 1.0, (2, 2): 5.0}), 3.0)
    now = Look(3 * 10**9, MachineCpu(2, 13.0, 1.5), TreeCpu(5.0, {(1, 1): 1.6, (3, 3): 0.4}), 4.0)
    assert row_of(before, now) == {
        "at_ns": 3 * 10**9, "window_s": 2.0, "cores": 2, "own": 0.5, "others": 1.0,
        "steal": 0.25, "waited": 0.5, "pressure": 0.5,
    }  # fmt: skip
    assert row_of(before, Look(3 * 10**9, now.machine, now.tree, None))["pressure"] is None


@pytest.fixture
def python():
    """Starts Python processes, which end with the test."""
    started = []

    def start(code):
        started.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_child_used_stays_with_its_parent_and_an_orphan_with_its_tree(python):
    burn = "import time\nt=time.process_time()\nwhile time.process_time()-t<.2: pass"
    parent = python(
        "import subprocess,sys,time\n"
        f"subprocess.run([sys.executable,'-c',{burn!r}])\n"
        "between=subprocess.Popen([sys.executable,'-c','import subprocess,sys;"
        'subprocess.Popen([sys.executable,"-c","import time;time.sleep(60)"]);'
        "sys.stdin.read()'],stdin=subprocess.PIPE)\n"
        "print(between.pid,flush=True)\nbetween.wait()\ntime.sleep(60)"
    )
    tree = ProcessTree(parent.pid)
    between = int(parent.stdout.readline())
    assert tree.cpu().used_s >= 0.2

    def living():
        return {pid for pid, _ in tree.cpu().waits_s}

    deadline = time.monotonic() + 60
    while len(living()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (orphan,) = living() - {parent.pid, between}
    os.kill(between, 9)
    while living() != {parent.pid, orphan}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(orphan, 9)


def test_two_busy_loops_on_one_processor_wait_for_each_other(tmp_path, python):
    """One is the run's own, one a stranger's; whatever else the machine does."""
    one = min(os.sched_getaffinity(0))
    own = python(BUSY % one)
    python(BUSY % one)
    watch = MachineWatch(tmp_path, own.pid)
    watch.start()
    rows = []
    try:
        deadline = time.monotonic() + 60
        while not any(row["waited"] > 0.1 and row["others"] > 0.1 for row in rows):
            assert time.monotonic() < deadline, rows
            time.sleep(0.1)
            file = tmp_path / "machine.ndjson"
            lines = file.read_text().splitlines() if file.exists() else []
            rows = [json.loads(line) for line in lines]
    finally:
        watch.stop()
    assert all(row["cores"] >= 1 and row["own"] >= 0 for row in rows)
