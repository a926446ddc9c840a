"""Capacity before load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import S, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.model import Finding, Plan, Sampling, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
# In the middle third of the steady phase all come, at its ends one in four.
LOW, HIGH = 100, 400


def scaled(**spec: Any) -> Plan:
    one = objective("scaledBefore", probe="n", **spec)
    schedule = Sampling(name="n", module="m", func="f", every_s=1.0, within_s=1.0)
    return replace(plan_of([one], steady_s=60, rate=HIGH), readings=(schedule,)).sealed()


def judged(plan: Plan, capacity: Any, change: Any = None, surge: bool = True) -> Finding:
    """Readings each second, of what `capacity` has then; the load rises at 20 s, falls at 40 s."""
    rows = rows_of(plan)
    steady = next(p for p in synthetic(plan, rows).stretches if p.name == "steady")
    at_s = (rows.intended_ns - steady.begin_ns) / S
    turn = np.arange(len(at_s)) % (HIGH // LOW) == 0
    rows = rows.select(np.flatnonzero(turn | (surge & (at_s >= 20) & (at_s < 40))))
    run = synthetic(plan, rows)
    run.readings = [
        {
            "at_ns": steady.begin_ns + second * S + 300_000_000,
            "probe": "n",
            "value": float(capacity(second)),
            "duration_ms": 200.0,
            "error": None,
        }
        for second in range(60)
    ]
    if change is not None:
        change(run.readings)
    return judge(run).objectives[0]


def after(ready_s: float, until_s: float = 60) -> Any:
    return lambda second: 500 if ready_s <= second + 0.3 < until_s else 150


# The mean over 3 s is above 150/s from the second 18 on, which looks at 18 to 21 (200/s).
@pytest.mark.parametrize(
    ("ready_s", "verdict", "lead"),
    [(10, PASS, 7.5), (16, PASS, 1.5), (17, PASS, 0.5), (18, INCONCLUSIVE, -0.5), (19, FAIL, -0.3)],
)
def test_the_lead_lies_between_two_readings(ready_s: float, verdict: Verdict, lead: float) -> None:
    finding = judged(scaled(), after(ready_s))
    assert finding.verdict is verdict, finding.why
    assert finding.value == pytest.approx(lead)


def test_a_lead_can_be_asked_for() -> None:
    assert judged(scaled(lead_s=5), after(10)).verdict is PASS
    assert judged(scaled(lead_s=5), after(16)).verdict is FAIL


def test_capacity_that_never_comes_or_does_not_stay() -> None:
    finding = judged(scaled(), after(99))
    assert finding.verdict is FAIL
    assert "never there was capacity" in finding.why
    assert judged(scaled(), after(10, until_s=30)).verdict is FAIL
    assert judged(scaled(), after(10, until_s=45)).verdict is PASS, "it may go with the load"


def test_too_little_more_is_not_enough() -> None:
    assert judged(scaled(), lambda second: 350 if second > 5 else 150).verdict is FAIL


@pytest.mark.parametrize("surge", [True, False])
def test_where_nothing_had_to_be_scaled_nothing_was_shown(surge: bool) -> None:
    finding = judged(scaled(), lambda second: 1000, surge=surge)
    assert finding.verdict is INCONCLUSIVE
    assert "nothing had to be scaled" in finding.why


def test_what_was_not_read_decides_nothing_but_a_fail_stands() -> None:
    def lost(readings: list[dict[str, Any]]) -> None:
        readings[30] |= {"value": None, "error": "refused"}

    finding = judged(scaled(), after(10), lost)
    assert finding.verdict is INCONCLUSIVE
    assert "1 of 60 readings of n failed: refused" in finding.why
    assert judged(scaled(), after(25), lost).verdict is FAIL
    stale = judged(scaled(), after(10), lambda readings: readings.__delitem__(slice(25, 35)))
    assert stale.verdict is INCONCLUSIVE
    assert "stale" in stale.why
    ended = judged(scaled(), after(10), lambda readings: readings.__delitem__(slice(5, 60)))
    assert ended.verdict is INCONCLUSIVE
    assert judged(scaled(), after(10), lambda readings: readings.clear()).verdict is INCONCLUSIVE
