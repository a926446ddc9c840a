"""From a red gate to its cause on the lab, as docs/reproduce.md walks it: minutes, so not part of
make test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.suite import causes

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(1500)]
NAME = "slow-valkey"


def stormgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stormgate.cli", *map(str, arguments)]
    return subprocess.run(
        argv, cwd=causes.ROOT, capture_output=True, text=True, check=False, timeout=1300
    )


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a gate that failed by a slow Valkey link, among five decoys."""
    reports = tmp_path_factory.mktemp("red")
    gate = causes.write(NAME, causes.CAUSES[NAME])
    try:
        run = causes.run_gate(gate, reports)
        assert run is not None, "the gate did not fail"
        yield run
    finally:
        shutil.rmtree(gate.parent, ignore_errors=True)


def test_a_red_gate_is_reproduced_with_both_runs_side_by_side(red: Path, tmp_path: Path) -> None:
    done = stormgate("reproduce", red, "--target", "targets/lab.yaml", "--out", tmp_path / "again")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "reproduced: eu-reads" in done.stdout
    answer = json.loads((tmp_path / "again" / "reproduction.json").read_text())
    (row,) = answer["rows"]
    assert row["verdicts"] == ["FAIL", "FAIL"]
    assert row["low"] <= row["values"][1] <= row["high"]
    assert "| eu-reads |" in (tmp_path / "again" / "reproduction.md").read_text()


def test_it_is_shrunk_to_the_planted_cause_which_fails_alone(red: Path, tmp_path: Path) -> None:
    out = tmp_path / "shrunk"
    done = stormgate(
        "reproduce", red, "--shrink", "--target", "targets/lab.yaml", "--out", out, "--minutes", 15
    )
    found = json.loads((out / "shrunk.json").read_text())
    assert {one["fault"] for one in found["segments"]} == {causes.CAUSES[NAME].needed[0]}
    assert found["confirmed"], done.stdout
    assert done.returncode == 1
    assert stormgate("gate", out / "cause" / "gate.yaml").returncode == 1
