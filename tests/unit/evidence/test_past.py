"""Earlier runs as their folders tell of them, and which of them may go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.golden.report_cases import CASES

from stormgate.evidence.past import Keep, PastRun, past_runs, run_folders, to_prune
from stormgate.model import Verdict
from stormgate.report import verdict_json

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def name(days: float, gate: str = "g", serial: int = 0) -> str:
    return f"{NOW - timedelta(days=days):%Y%m%dT%H%M%SZ}-{gate}-{serial:06x}"


def past(days: float, verdict: Verdict, gate: str = "g", serial: int = 0) -> PastRun:
    judgement = replace(CASES[verdict], gate=gate)
    return PastRun(Path(name(days, gate, serial)), NOW - timedelta(days=days), judgement)


def test_runs_are_read_oldest_first_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    for days, verdict in ((1, Verdict.PASS), (3, Verdict.FAIL)):
        folder = tmp_path / name(days)
        folder.mkdir()
        (folder / "verdict.json").write_text(verdict_json(CASES[verdict]))
    (tmp_path / name(2)).mkdir()
    (tmp_path / name(4)).mkdir()
    (tmp_path / name(4) / "verdict.json").write_text(json.dumps({"verdict": "GREEN"}))
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "notes").mkdir()
    (tmp_path / "latest").symlink_to(name(1))
    (tmp_path / name(9)).symlink_to(name(1))
    runs = past_runs(tmp_path)
    assert [run.name for run in runs] == [name(4), name(3), name(2), name(1)]
    assert [bool(run.problem) for run in runs] == [True, False, True, False]
    assert [run.passed for run in runs] == [False, False, False, True]
    assert [run.name for run in past_runs(tmp_path, "chenu-release")] == [name(3), name(1)]
    assert past_runs(tmp_path, "another") == []
    assert run_folders(tmp_path / "none") == []
    failover = runs[1].finding("failover")
    assert failover is not None
    assert failover.verdict is Verdict.FAIL


def test_what_the_rule_keeps() -> None:
    runs = [past(100, Verdict.PASS, serial=0), past(90, Verdict.PASS, serial=1)]
    runs += [past(40 + i, Verdict.FAIL, serial=10 + i) for i in range(3)]
    runs += [past(1, Verdict.FAIL, serial=20), past(200, Verdict.FAIL, "other", 30)]
    gone = to_prune(runs, Keep(days=30, runs=2), NOW)
    # Kept: the last two of each gate, the last PASS of 90 days ago, all of this month.
    assert [run.name for run in gone] == [name(100), name(42, serial=12), name(41, serial=11)]
    unreadable = PastRun(Path(name(400)), NOW - timedelta(days=400), None, "torn")
    assert to_prune([unreadable], Keep(days=0, runs=0), NOW) == []


@given(
    st.lists(st.tuples(st.floats(0, 300), st.sampled_from(list(Verdict)), st.sampled_from("ab"))),
    st.floats(0, 100),
    st.integers(0, 5),
)
def test_pruning_never_takes_the_last_proof_nor_what_is_young(
    drawn: list[tuple[float, Verdict, str]], days: float, kept: int
) -> None:
    runs = [past(d, v, gate, i) for i, (d, v, gate) in enumerate(drawn)]
    gone = to_prune(runs, Keep(days, kept), NOW)
    left = [run for run in runs if run not in gone]
    assert all(NOW - run.began > timedelta(days=days) for run in gone)
    for gate in "ab":
        assert any(r.passed for r in left if r.gate == gate) == any(
            r.passed for r in runs if r.gate == gate
        )
        assert len([r for r in left if r.gate == gate]) >= min(
            kept, len([r for r in runs if r.gate == gate])
        )


def test_a_short_try_that_passed_is_no_pass_of_the_gate() -> None:
    whole = past(1, Verdict.PASS)
    assert whole.passed
    assert whole.judgement is not None
    short = replace(whole.judgement, short=("phases.steady=20s",))
    assert not replace(whole, judgement=short).passed
