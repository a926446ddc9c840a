"""How a command ends does not depend on who reads what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden.judge_writer import RESET, objective, plan_of, rows_of, synthetic, write_folder

PLAN = plan_of([objective("availability", target=0.99)], steady_s=30, rate=100)


@pytest.fixture(params=[0, 1], ids=["PASS", "FAIL"])
def judged(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    rows = rows_of(PLAN)
    if request.param:
        rows.outcome[::5] = RESET
    return write_folder(synthetic(PLAN, rows), tmp_path / "run"), request.param


def judge(folder: Path, stdout: int) -> int:
    argv = [sys.executable, "-m", "stormgate.cli", "judge", str(folder), "--no-write"]
    done = subprocess.run(argv, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return done.returncode


def test_a_pipe_that_nobody_reads_changes_no_verdict(judged: tuple[Path, int]) -> None:
    folder, code = judged
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert judge(folder, writing) == code
    finally:
        os.close(writing)


def test_a_full_disk_changes_no_verdict(judged: tuple[Path, int]) -> None:
    folder, code = judged
    with open("/dev/full", "wb") as full:
        assert judge(folder, full.fileno()) == code


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full", ">/dev/full"])
def test_a_closed_or_full_stream_is_no_verdict(closed: str, tmp_path: Path) -> None:
    def code(arguments: str) -> int:
        argv = f"{sys.executable} -m stormgate.cli {arguments} {closed}"
        return subprocess.run(["sh", "-c", argv], timeout=60, check=False).returncode

    assert code("--help") == 0
    assert code(f"judge {tmp_path}/absent") == 2
