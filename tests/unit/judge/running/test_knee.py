"""The knee of a load that rises in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import BAD, S, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.kinds.running.knee import LoadStep, knee
from stormgate.model import Finding, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
MOST = 400


def judged(bad: dict[int, float], late: dict[int, float] | None = None, **spec: Any) -> Finding:
    """Five steps of 10 s: 80, 160, ... 400/s; of each that share fails, or is late."""
    asked = {"step_s": 10, "within_ms": 300, "gte": 200, **spec}
    plan = plan_of([objective("knee", **asked)], steady_s=50, rate=MOST)
    rows = rows_of(plan)
    steady = next(p for p in synthetic(plan, rows).stretches if p.name == "steady")
    step = (rows.intended_ns - steady.begin_ns) // (10 * S)
    turn = np.arange(len(step)) % 5
    rows = rows.select(np.flatnonzero((step < 0) | (step > 4) | (turn <= step)))
    step = (rows.intended_ns - steady.begin_ns) // (10 * S)
    order = np.arange(len(step)) % 100
    for number, share in bad.items():
        rows.outcome[(step == number) & (order < share * 100)] = BAD
    for number, share in (late or {}).items():
        rows.latency_ms[(step == number) & (order < share * 100)] = 900.0
    return judge(synthetic(plan, rows)).objectives[0]


def test_it_lies_between_the_last_step_that_was_borne_and_the_first_that_was_not() -> None:
    finding = judged({4: 0.5}, {3: 0.3}, project_rate=34_722)
    assert finding.verdict is PASS, finding.why
    assert finding.value == pytest.approx(240, abs=2)
    assert finding.detail["knee_high_per_s"] == pytest.approx(320, abs=2)
    assert "reckoned, not tried" in finding.why
    assert finding.detail["projected"] == -(-34_722 // finding.value)


def test_a_knee_below_what_is_wanted_fails() -> None:
    assert judged({1: 0.5}).verdict is FAIL
    assert judged({0: 1.0, 1: 1.0}).value == 0.0
    assert judged(dict.fromkeys(range(5), 1.0), gte=1).verdict is FAIL, "whatever was tried"
    # Between 160 and 240 is where 200 lies.
    assert judged({2: 0.5}).verdict is INCONCLUSIVE


def test_what_was_never_reached_is_no_knee() -> None:
    finding = judged({})
    assert finding.verdict is PASS
    assert finding.detail["knee_high_per_s"] is None
    assert "nothing was found that is not" in finding.why
    assert judged({}, gte=1000).verdict is INCONCLUSIVE, "nobody tried so much"


def test_one_step_is_no_rise() -> None:
    assert judged({}, step_s=40).verdict is INCONCLUSIVE


def test_a_step_that_is_not_decided_ends_what_was_borne_and_breaks_nothing() -> None:
    steps = [LoadStep(10, 0, 99, True), LoadStep(20, 5, 99, None), LoadStep(30, 0, 99, True)]
    assert knee(steps) == (10, None)
    assert knee([*steps, LoadStep(40, 90, 99, False)]) == (10, 40)
    assert knee([LoadStep(10, 9, 9, False)]) == (0.0, 10)
