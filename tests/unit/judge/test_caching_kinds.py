"""Caches: how much they answer, what they spare, and who goes to the origin at the same time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import RESET, Rows, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.model import Finding, Plan, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
HIT, MISS, NONE = 0, 1, -1


def judged(plan: Plan, rows: Rows) -> Finding:
    return judge(synthetic(plan, rows)).objectives[0]


def cached(plan: Plan, misses: float) -> Rows:
    """Half of the requests go through a cache; evenly, this share of those misses."""
    rows = rows_of(plan)
    through = np.arange(len(rows.cache)) % 2 == 0
    turn = np.arange(len(rows.cache)) // 2
    missed = through & (np.floor((turn + 1) * misses) > np.floor(turn * misses))
    rows.cache[through] = HIT
    rows.cache[missed] = MISS
    return rows


@pytest.mark.parametrize(("misses", "verdict"), [(0.02, PASS), (0.05, INCONCLUSIVE), (0.1, FAIL)])
def test_hit_ratio(misses: float, verdict: Verdict) -> None:
    plan = plan_of([objective("hitRatio", gte=0.95)])
    finding = judged(plan, cached(plan, misses))
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(1 - misses, abs=0.002)
    # What went through no cache is not among them.
    assert finding.samples == pytest.approx(20_000, rel=0.01)


def test_a_failure_is_no_hit_and_no_cache_is_no_ratio() -> None:
    plan = plan_of([objective("hitRatio", gte=0.95)])
    rows = cached(plan, 0.0)
    rows.outcome[::5] = RESET
    assert judged(plan, rows).verdict is FAIL
    assert judged(plan, rows_of(plan)).verdict is INCONCLUSIVE


@pytest.mark.parametrize(("misses", "verdict"), [(0.3, PASS), (0.5, FAIL)])
def test_origin_load(misses: float, verdict: Verdict) -> None:
    plan = plan_of([objective("originLoad", lte=0.4, label="cache", origins=["miss"])])
    rows = cached(plan, misses).select(np.arange(0, len(rows_of(plan).cache), 2))
    finding = judged(plan, rows)
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(misses, abs=0.01)


def test_an_answer_of_unknown_origin_may_have_cost_it() -> None:
    plan = plan_of([objective("originLoad", lte=0.4, label="cache", origins=["miss"])])
    rows = cached(plan, 0.0)
    rows.cache[::4] = NONE  # with the half that is without a label: three of four
    assert judged(plan, rows).verdict is FAIL


def bursts(plan: Plan, at_once: int, latency_ms: float = 50.0) -> Rows:
    """Every 2,000 requests so many miss within a millisecond of one another."""
    rows = rows_of(plan)
    rows.cache[:] = HIT
    rows.latency_ms[:] = latency_ms
    for at in range(4_000, len(rows.cache) - 100, 2_000):
        rows.cache[at : at + at_once] = MISS
        rows.intended_ns[at : at + at_once] = rows.intended_ns[at] + np.arange(at_once) * 1_000
    return rows


@pytest.mark.parametrize(("at_once", "verdict"), [(1, PASS), (2, FAIL), (7, FAIL)])
def test_stampede_counts_who_misses_at_the_same_time(at_once: int, verdict: Verdict) -> None:
    plan = plan_of([objective("stampede")])
    finding = judged(plan, bursts(plan, at_once))
    assert finding.verdict is verdict
    assert finding.value == at_once
    assert finding.limit == 1


def test_one_after_the_other_is_no_stampede() -> None:
    plan = plan_of([objective("stampede")])
    rows = bursts(plan, 1)
    missed = np.flatnonzero(rows.cache == MISS)
    rows.cache[missed + 30] = MISS  # some 75 ms later, where each takes 50
    assert judged(plan, rows).verdict is PASS
    rows.latency_ms[:] = 200.0
    assert judged(plan, rows).verdict is FAIL


def test_two_places_that_miss_at_once_are_no_stampede_of_one() -> None:
    plan = plan_of([objective("stampede", by=["population"])])
    rows = bursts(plan, 2)
    missed = np.flatnonzero(rows.cache == MISS)
    rows.population[missed] = 0
    assert judged(plan, rows).verdict is FAIL
    rows.population[missed[1::2]] = 1
    assert judged(plan, rows).verdict is PASS


@pytest.mark.parametrize("spec", [{}, {"min_misses": 1_000}])
def test_too_few_misses_show_nothing(spec: dict[str, Any]) -> None:
    plan = plan_of([objective("stampede", **spec)])
    rows = bursts(plan, 1)
    if not spec:
        rows.cache[:] = HIT
    finding = judged(plan, rows)
    assert finding.verdict is INCONCLUSIVE
    assert "wanted to show anything" in finding.why


def moving(plan: Plan, share: float, keys: int = 3) -> Rows:
    """The populations stand for keys; from half of the time on this share of their requests is
    answered by another shard.
    """
    rows = rows_of(plan)
    rows.shard[:] = 0
    later = rows.intended_ns > np.median(rows.intended_ns)
    rows.shard[later & (rows.population < share * keys)] = 1
    return rows


@pytest.mark.parametrize(
    ("share", "verdict", "said"),
    [(0.0, FAIL, "0 of 300"), (0.2, PASS, "60 of 300"), (0.8, FAIL, "240 of 300")],
)
def test_keys_moved(share: float, verdict: Verdict, said: str) -> None:
    people = [(f"key-{number}", 1 / 300) for number in range(300)]
    spec = {"lte": 0.3, "gte": 0.05, "key": "population", "label": "shard"}
    plan = plan_of([objective("keysMoved", **spec)], populations=people)
    finding = judged(plan, moving(plan, share, 300))
    assert finding.verdict is verdict
    assert said in finding.why


def test_a_key_that_was_not_asked_for_afterwards_says_nothing() -> None:
    people = [(f"key-{number}", 1 / 300) for number in range(300)]
    plan = plan_of(
        [objective("keysMoved", lte=0.3, key="population", label="shard")], populations=people
    )
    rows = moving(plan, 0.8, 300)
    early = rows.intended_ns < np.quantile(rows.intended_ns, 0.6)
    finding = judged(plan, rows.select(np.flatnonzero(early | (rows.population > 260))))
    assert finding.verdict is INCONCLUSIVE
    assert "39 keys were asked for before and after, 50 wanted" in finding.why
