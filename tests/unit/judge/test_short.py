"""A run that would pass is none when its plan left something out, and says whose run it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.golden.judge_writer import Rows, synthetic
from tests.unit.judge.test_verdicts import judge, plan, rows

from stormgate.model import LEFT_OUT, Attempt, Plan, Release, Verdict

__all__ = ["plan", "rows"]


@pytest.mark.parametrize(
    ("short", "verdict"),
    [
        ((), Verdict.PASS),
        (("phases.steady=20s",), Verdict.PASS),
        (("phases.steady=20s", f"fault other {LEFT_OUT}"), Verdict.INCONCLUSIVE),
    ],
)
def test_what_was_left_out_keeps_a_run_from_passing(
    plan: Plan, rows: Rows, short: tuple[str, ...], verdict: Verdict
) -> None:
    judgement = judge(synthetic(replace(plan, short=short).sealed(), rows))
    assert judgement.verdict is verdict, judgement.why
    assert judgement.short == short
    assert any(f.name == "whole gate" for f in judgement.validity) is bool(short)


def test_the_judgement_says_which_release_and_which_attempt(plan: Plan, rows: Rows) -> None:
    release = Release(name="1.2", commit="abc")
    attempts = (Attempt(folder="run-1", verdict="INCONCLUSIVE", why="generator late"),)
    told = replace(plan, release=release, attempts=attempts).sealed()
    judgement = judge(synthetic(told, rows))
    assert (judgement.release, judgement.attempts) == (release, attempts)
