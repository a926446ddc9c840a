"""A stopped matrix goes on where it stood; other gates' results and torn lines are left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormgate.commands.detect import _as_asked, command
from stormgate.documents import load_gate
from stormgate.judge.statistics.detection import HEALTHY, DetectionTrial
from stormgate.supervise import detect
from stormgate.supervise.detect import RESULTS, Results, gate_key, missing

GATE = Path(__file__).parents[3] / "slas" / "chenu-release.yaml"


def trial(defect: str, seed: int, verdict: str = "FAIL", *failed: str) -> DetectionTrial:
    return DetectionTrial(defect=defect, seed=seed, verdict=verdict, failed=failed)


def test_what_is_written_is_read_and_the_last_word_counts(tmp_path: Path) -> None:
    results = Results(tmp_path / "r", "key")
    assert results.read() == []
    results.add(trial("a", 1, "ERROR"))
    results.add(trial("a", 1, "FAIL", "failover"))
    results.add(trial("b", 1))
    Results(tmp_path / "r", "other").add(trial("c", 1))
    assert {(t.defect, t.verdict) for t in results.read()} == {("a", "FAIL"), ("b", "FAIL")}


def test_a_line_cut_off_by_a_kill_costs_itself_alone(tmp_path: Path) -> None:
    results = Results(tmp_path, "key")
    results.add(trial("a", 1))
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"key": "key", "defe')
    results.add(trial("b", 1))
    assert [t.defect for t in results.read()] == ["a", "b"]


@pytest.mark.parametrize("row", ["[]", "7", '{"key": "key", "seed": "x"}', '{"key": "key"}'])
def test_strange_lines_are_none(tmp_path: Path, row: str) -> None:
    (tmp_path / RESULTS).write_text(row + "\n")
    assert Results(tmp_path, "key").read() == []


def test_a_run_that_broke_is_played_again() -> None:
    there = [trial("a", 1, "ERROR"), trial("a", 2, "INCONCLUSIVE"), trial("b", 1, "REFUSED")]
    there.append(replace(trial("a", 3, "FAIL", "failover"), measured=False))
    cases = [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]
    assert missing(cases, there) == [("a", 1), ("a", 3), ("b", 1), ("b", 2)]


def test_the_key_is_of_what_is_asked_not_of_a_run() -> None:
    plan = load_gate(GATE)
    assert gate_key(replace(plan, seed=7, started_utc="2026-01-01")) == gate_key(plan)
    assert gate_key(replace(plan, steady_s=7)) != gate_key(plan)


def test_the_matrix_is_played_kept_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a gate that answers by rote, in the place of the real one's process."""
    fake = tmp_path / "gate.py"
    fake.write_text(
        "import json, pathlib, sys\n"
        "a = sys.argv\n"
        "defect = a[a.index('--lab-defect') + 1] if '--lab-defect' in a else None\n"
        "run = pathlib.Path(a[a.index('--reports') + 1]) / ('run-' + a[a.index('--seed') + 1])\n"
        "if defect == 'eu-spill': sys.exit(2)\n"
        "run.mkdir()\n"
        "bad = [{'kind': 'failover', 'verdict': 'FAIL'}] if defect == 'slow-failover' else []\n"
        "word = 'FAIL' if bad else 'PASS'\n"
        "text = json.dumps({'verdict': word, 'objectives': bad})\n"
        "(run / 'verdict.json').write_text(text)\n"
        "sys.exit(len(bad))\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 3\nexec python3 {fake} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(detect.sys, "executable", str(python))
    reports, page = tmp_path / "detect", tmp_path / "page.md"
    argv = [str(GATE), "--defects", "slow-failover,eu-spill,stale-cache", "--seeds", "2"]
    argv += ["--healthy", "1", "--jobs", "2", "--reports", str(reports), "--write", str(page)]
    first = CliRunner().invoke(command, argv, standalone_mode=False)
    assert first.exception is None, first.output
    assert first.return_value == 1
    assert "slow-failover, seed 2: FAIL by failover" in first.output
    assert "eu-spill, seed 1: REFUSED: exit 2, no run folder" in first.output
    missed = "stale-cache: found by its own objective in 0 of 2 (at least 0 %), missed in 2"
    assert missed in first.output
    assert "healthy: 0 FAIL of 1" in first.output
    assert "| `slow-failover` | failover | 2 | 2 |" in page.read_text()
    assert page.with_suffix(".svg").read_text().startswith("<svg")
    again = CliRunner().invoke(command, argv, standalone_mode=False)
    assert again.output.startswith("7 runs, 5 of them there already\n")
    rows = [json.loads(line) for line in (reports / RESULTS).read_text().splitlines()]
    assert [row["defect"] for row in rows[-2:]] == ["eu-spill", "eu-spill"]
    assert sum(row["defect"] == HEALTHY for row in rows) == 1


def test_an_unknown_defect_is_refused_before_anything_runs(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(GATE), "--defects", "nope", "--reports", str(tmp_path)])
    assert done.exit_code != 0
    assert "there is no defect 'nope'" in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_page_tells_the_command_without_the_places_of_a_machine() -> None:
    asked = ["slas/x.yaml", "--seeds", "3", "--reports", "/home/me/r", "--write=/home/me/p.md"]
    assert _as_asked([*asked, "--defects", "a,b"]) == [*asked[:3], "--defects", "a,b"]
