"""`stormgate lab` as a person types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormgate.lab.defects import names
from stormgate.system import processes

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


def stormgate(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stormgate.cli", "lab", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose lab, should there be one still, is ended."""
    folder = tmp_path / "lab"
    yield folder
    if (folder / "daemon.json").exists():
        facts = json.loads((folder / "daemon.json").read_text())
        processes.signal_if_same(facts["pid"], facts["start_ticks"], signal.SIGTERM)


def test_up_status_down(state: Path) -> None:
    where = ("--state", str(state))
    assert stormgate("status", *where).returncode != 0
    up = stormgate("up", *where)
    assert (up.returncode, up.stderr) == (0, "")
    assert f"files in {state}" in up.stdout.replace("\n", "")
    status = stormgate("status", *where)
    assert status.returncode == 0, status.stdout
    assert status.stdout.count(" primary ") == status.stdout.count(" standby ") == 2
    assert ": whole" in status.stdout
    again = stormgate("up", *where)
    assert again.returncode == 4
    assert "a lab runs in" in again.stderr
    assert stormgate("down", *where).returncode == 0
    assert not (state / "daemon.json").exists()
    down = stormgate("down", *where)
    assert (down.returncode != 0, "no lab runs in" in down.stderr) == (True, True)


def test_wrong_words_are_usage_errors(state: Path) -> None:
    for arguments, said in (
        (("--defect", "nope"), "no lab defect 'nope'; there are: "),
        (("--target", "nope.yaml"), "nope.yaml"),
    ):
        wrong = stormgate("up", "--state", str(state), *arguments)
        assert wrong.returncode == 2
        assert said in wrong.stderr
    assert not state.exists()


def test_defects_are_listed_with_what_they_do() -> None:
    told = dict(line.split(maxsplit=1) for line in stormgate("defects").stdout.splitlines())
    assert list(told) == names()
    assert "8 s" in told["slow-failover"]
