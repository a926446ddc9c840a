"""What users met is counted apart from any objective; an objective that passed is worth nothing
only if they met the violation.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.golden.judge_writer import RESET, phase_window, plan_of, rows_of, synthetic

from stormgate.judge.violations.breach import SLOW, STALE, UNSERVED
from stormgate.judge.violations.harm import Harm, felt, harm_of, proof_of
from stormgate.model import (
    PASSED_OVER,
    PROVED,
    UNDECIDED,
    Finding,
    Judgement,
    Verdict,
)

HURT = Harm(requests=100, bad_share=1.0, median_ms=float("inf"))
WELL = Harm(requests=100, bad_share=0.0, median_ms=12.0)


@pytest.mark.parametrize(
    ("way", "harm", "met"),
    [
        (UNSERVED, HURT, True),
        (UNSERVED, WELL, False),
        (UNSERVED, replace(WELL, bad_share=0.49), False),
        (UNSERVED, Harm(), False),
        (SLOW, replace(WELL, median_ms=320.0), True),
        (SLOW, replace(WELL, median_ms=319.0), False),
        (SLOW, HURT, True),
        (STALE, WELL, None),
        (STALE, Harm(), False),
    ],
)
def test_whether_users_met_it(way: str, harm: Harm, met: bool | None) -> None:
    assert felt(way, harm, 400.0) is met


def finding(name: str, verdict: Verdict) -> Finding:
    return Finding(
        name=name,
        kind="x",
        verdict=verdict,
        value=None,
        bound=None,
        limit=None,
        unit="",
        samples=0,
        why="said so",
    )


def judged(objective: Verdict, faults: Verdict = Verdict.PASS) -> Judgement:
    return Judgement(
        gate="g",
        verdict=objective,
        exit_code=0,
        plan_digest="",
        objectives=(finding("a", objective),),
        validity=(finding("faults", faults),),
    )


@pytest.mark.parametrize(
    ("judgement", "met", "state"),
    [
        (judged(Verdict.FAIL), True, PROVED),
        # Whatever else was felt: it failed while a proven violation stood.
        (judged(Verdict.FAIL), False, PROVED),
        (judged(Verdict.PASS), True, PASSED_OVER),
        (judged(Verdict.PASS), False, UNDECIDED),
        (judged(Verdict.PASS), None, UNDECIDED),
        (judged(Verdict.INCONCLUSIVE), True, UNDECIDED),
        # A violation that nobody saw from outside proves nothing, either way.
        (judged(Verdict.FAIL, Verdict.INCONCLUSIVE), True, UNDECIDED),
        (judged(Verdict.PASS, Verdict.INCONCLUSIVE), True, UNDECIDED),
        (replace(judged(Verdict.FAIL), validity=()), True, UNDECIDED),
        (replace(judged(Verdict.FAIL), objectives=()), True, UNDECIDED),
    ],
)
def test_what_a_run_proves(judgement: Judgement, met: bool | None, state: str) -> None:
    found, why = proof_of(judgement, "a", met=met, harm=HURT, limit={"a": "it is wide"})
    assert found == state
    assert why
    assert ("it is wide" in why) == (state == PASSED_OVER)


def test_the_population_that_fared_worst_counts_and_only_while_it_stood() -> None:
    plan = plan_of(faults=["v"], steady_s=10, recovery_s=5, rate=100)
    rows = rows_of(plan)
    begin, end = phase_window(synthetic(plan, rows), "fault[v]")
    tokyo, lima = rows.population == 1, rows.population == 2
    # All of it, the seconds before the fault was seen and after it was taken back included.
    rows.outcome[tokyo] = RESET
    inside = (rows.intended_ns >= begin) & (rows.intended_ns < end)
    rows.latency_ms[lima] = 500.0
    harm = harm_of(synthetic(plan, rows), plan.faults[0])
    assert harm.bad_share == 1.0
    assert harm.median_ms == float("inf")
    assert 0.7 * inside.sum() < harm.requests < 0.9 * inside.sum()
    rows.outcome[tokyo] = 0
    harm = harm_of(synthetic(plan, rows), plan.faults[0])
    assert (harm.bad_share, harm.median_ms) == (0.0, 500.0)
    outside = ~inside
    rows.outcome[outside] = RESET
    assert harm_of(synthetic(plan, rows), plan.faults[0]).bad_share == 0.0


def test_a_fault_that_was_never_seen_hurt_nobody() -> None:
    plan = plan_of(faults=["v"], steady_s=10)
    run = synthetic(plan, rows_of(plan))
    run.timeline = [row for row in run.timeline if row["event"] != "fault.observed"]
    harm = harm_of(run, plan.faults[0])
    assert harm == Harm()
    assert "nobody asked" in harm.text
