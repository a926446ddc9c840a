"""Whether a second run shows what a first one did."""

from __future__ import annotations

import pytest

from stormgate.model import Finding, Judgement, Verdict
from stormgate.reproduce.answer import ReproductionAnswer, bounds, compare

FAIL, PASS, UNSURE = Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE


def finding(verdict: Verdict, value: float | None, name: str = "fail-over") -> Finding:
    """An outage in seconds, which has no interval beyond its own two ends."""
    return Finding(
        name=name,
        kind="deployLoss",
        verdict=verdict,
        value=value,
        bound=value,
        limit=5.0,
        unit="requests",
        samples=10,
        why="as it is",
    )


def judged(*findings: Finding, verdict: Verdict = FAIL) -> Judgement:
    return Judgement(
        gate="g", verdict=verdict, exit_code=1, plan_digest="", objectives=findings, why="so"
    )


@pytest.mark.parametrize(
    ("now", "verdict", "answer", "why"),
    [
        (finding(FAIL, 9.0), FAIL, ReproductionAnswer.REPRODUCED, "within the interval"),
        (finding(FAIL, 10.0), FAIL, ReproductionAnswer.REPRODUCED, "within the interval"),
        (finding(FAIL, 10.1), FAIL, ReproductionAnswer.NOT_REPRODUCED, "not between 8 and 10"),
        (finding(FAIL, 7.9), FAIL, ReproductionAnswer.NOT_REPRODUCED, "not between 8 and 10"),
        (finding(PASS, 4.0), PASS, ReproductionAnswer.NOT_REPRODUCED, "it holds here"),
        (finding(UNSURE, 9.0), UNSURE, ReproductionAnswer.INCONCLUSIVE, "as it is"),
        (finding(FAIL, None), FAIL, ReproductionAnswer.REPRODUCED, "no value"),
        (finding(FAIL, 9.0), Verdict.DIRTY, ReproductionAnswer.INCONCLUSIVE, "ended as DIRTY"),
        (finding(PASS, 4.0), Verdict.ERROR, ReproductionAnswer.INCONCLUSIVE, "ended as ERROR"),
        (finding(FAIL, 9.0, "another"), FAIL, ReproductionAnswer.INCONCLUSIVE, "not judged"),
    ],
)
def test_reproduced_is_the_same_objective_and_a_value_within_its_interval(
    now: Finding, verdict: Verdict, answer: ReproductionAnswer, why: str
) -> None:
    then = judged(finding(FAIL, 9.0), finding(PASS, 1.0, "other"))
    found = compare(then, judged(now, verdict=verdict), ("then", "now"))
    assert found.answer is answer
    assert why in found.why
    assert [row.objective for row in found.rows] == ["fail-over"]
    assert [row.objective for row in found.others] == ["other"]


def test_all_that_failed_have_to_fail_again() -> None:
    then = judged(finding(FAIL, 9.0), finding(FAIL, 9.0, "second"))
    now = judged(finding(FAIL, 9.0), finding(PASS, 1.0, "second"))
    assert compare(then, now, ("a", "b")).answer is ReproductionAnswer.NOT_REPRODUCED
    unsure = judged(finding(PASS, 1.0), finding(UNSURE, None, "second"))
    assert compare(then, unsure, ("a", "b")).answer is ReproductionAnswer.INCONCLUSIVE
    assert compare(then, then, ("a", "b")).answer is ReproductionAnswer.REPRODUCED


def test_nothing_failed_is_nothing_reproduced() -> None:
    passed = judged(finding(PASS, 1.0), verdict=PASS)
    assert compare(passed, passed, ("a", "b")).answer is ReproductionAnswer.INCONCLUSIVE


def test_the_bounds_hold_the_findings_own_interval() -> None:
    share = Finding(
        name="answered",
        kind="availability",
        verdict=FAIL,
        value=0.9,
        bound=0.92,
        limit=0.99,
        unit="share",
        samples=1000,
        why="",
        detail={"bad": 100},
    )
    low, high = bounds(share, 0.0)
    assert low is not None
    assert high is not None
    assert 0.87 < low < 0.9 < high < 0.93
    wide = bounds(share, 0.25)
    assert wide == (pytest.approx(low - 0.0225), pytest.approx(high + 0.0225))


def test_the_exit_codes_are_those_of_a_bisection() -> None:
    assert [one.exit_code for one in ReproductionAnswer] == [1, 0, 3]
