"""`stormgate report` and `stormgate runs`, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.golden.report_cases import CASES, write_run

from stormgate.commands.finished.runs import flags
from stormgate.evidence.past import past_runs
from stormgate.model import Verdict
from stormgate.report import verdict_json

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC)


def stormgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stormgate.cli", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def run_folder(reports: Path, days: float, verdict: Verdict, serial: int = 0) -> Path:
    began = NOW - timedelta(days=days)
    folder = reports / f"{began:%Y%m%dT%H%M%SZ}-chenu-release-{serial:06x}"
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(verdict_json(CASES[verdict]))
    (folder / "timeline.ndjson").write_text('{"at_ns": 1, "event": "run.end"}\n')
    return folder


def test_the_runs_are_listed_with_what_is_wrong_with_their_gate(tmp_path: Path) -> None:
    run_folder(tmp_path, 40, Verdict.PASS)
    run_folder(tmp_path, 1, Verdict.INCONCLUSIVE)
    listed = stormgate("runs", "--reports", tmp_path)
    assert listed.returncode == 0
    assert "chenu-release last passed 40 days ago: that proof is old" in listed.stdout
    assert listed.stdout.index("PASS") < listed.stdout.index("INCONCLUSIVE")
    data = json.loads(stormgate("runs", "--reports", tmp_path, "--json").stdout)
    assert [run["verdict"] for run in data["runs"]] == ["PASS", "INCONCLUSIVE"]
    assert data["runs"][0]["objectives"][2]["value"] == 3.412
    for serial in range(4):
        run_folder(tmp_path, 2, Verdict.PASS, serial)
    told = flags(past_runs(tmp_path), NOW)
    assert told == [
        "chenu-release has not failed once in 6 runs: see that it can (stormgate prove)"
    ]
    run_folder(tmp_path, 0.5, Verdict.FAIL, 9)
    assert flags(past_runs(tmp_path), NOW) == []
    assert stormgate("runs", "--reports", tmp_path / "none").returncode == 2


def test_prune_touches_nothing_without_yes_and_never_what_is_needed(tmp_path: Path) -> None:
    old = [run_folder(tmp_path, 100 - n, Verdict.FAIL, n) for n in range(4)]
    proof = run_folder(tmp_path, 90, Verdict.PASS, 10)
    young = run_folder(tmp_path, 1, Verdict.FAIL, 11)
    entry = {"step": "intent", "id": "1", "at_ns": 1, "fault": "f", "component": "c"}
    (old[0] / "undo.ndjson").write_text(json.dumps(entry) + "\n")
    (old[1] / "timeline.ndjson").write_text('{"at_ns": 1, "event": "run.begin"}\n')
    (tmp_path / "notes").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    shown = stormgate("runs", "prune", "--reports", tmp_path, "--keep", "1")
    assert shown.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert f"would go {old[2].name}" in shown.stdout
    done = stormgate("runs", "prune", "--reports", tmp_path, "--keep", "1", "--yes")
    assert done.returncode == 0, done.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {old[0].name, old[1].name, proof.name, young.name, "notes"}, done.stdout
    assert "its run did not end" in done.stdout


@pytest.mark.parametrize(
    ("form", "begin"),
    [("html", "<!doctype html>"), ("md", "# "), ("junit", "<?xml"), ("json", "{")],
)
def test_any_report_again_from_the_evidence(tmp_path: Path, form: str, begin: str) -> None:
    run = write_run(tmp_path / "run", seconds=42)
    (run / "verdict.json").write_text(verdict_json(CASES[Verdict.PASS]))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    out = tmp_path / "report"
    made = stormgate("report", run, "--format", form, "-o", out)
    assert made.returncode == 0, made.stderr
    assert out.read_text().startswith(begin)
    # The evidence does not say what that verdict.json says, and so neither does the report.
    assert "is not what the evidence comes to now" in made.stderr
    assert "INCONCLUSIVE" in out.read_text()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert stormgate("report", run, "-o", tmp_path / "no" / "x").returncode == 2
