"""What a request costs, and which of two ways is the better one: known truths, and what must never
be taken for one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.judge_writer import RESET, Rows, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.statistics.means import GroupedSums, log_ratio, same_mix_p
from stormgate.model import Finding, Plan, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
TIERS = ("edge", "regional", "core")
USD = {"edge": 0.0, "regional": 0.001, "core": 0.01}


def words(values: list[str | None]) -> tuple[np.ndarray, list[str]]:
    """A column of words as codes and names; None is null."""
    names = sorted({value for value in values if value is not None})
    return np.array([-1 if v is None else names.index(v) for v in values], np.int32), names


def calls(factor: float = 1.0, **change: Any) -> Any:
    """Calls of the assistant: 70 % edge, 25 % regional, 5 % core, on two fleets in turn, of which
    the second costs a fifth and takes half the time. `change` is what every so-many-th says.
    """

    def labels(rows: Rows) -> dict[str, Any]:
        rng = np.random.default_rng(5)
        tier = rng.choice(3, 1 << 20, p=(0.70, 0.25, 0.05))[rows.request]
        fleet = rows.request % 2
        table: dict[str, list[str | None]] = {"model": [], "fleet": [], "usd": [], "ms": []}
        for t, f in zip(tier, fleet, strict=True):
            table["model"].append(TIERS[t])
            table["fleet"].append(("gpu", "silicon")[f])
            table["usd"].append(f"{USD[TIERS[t]] * (0.2 if f else 1) * factor:g}")
            table["ms"].append(str((20, 120, 600)[t] // (2 if f else 1)))
        for column, (every, value) in change.items():
            for at in np.flatnonzero(rows.request % every == 0):
                table[column][at] = value
        return {name: words(values) for name, values in table.items()}

    return labels


def judged(plan: Plan, labels: Any, rows: Rows | None = None) -> Finding:
    made = rows_of(plan) if rows is None else rows
    return judge(synthetic(plan, made, labels_of=labels)).objectives[0]


def cost(lte: float, **spec: Any) -> Plan:
    return plan_of([objective("costPerRequest", label="usd", lte=lte, **spec)], steady_s=60)


# The mean of the mix is 0.00075 for the first fleet, and a fifth of that for the second.
@pytest.mark.parametrize(
    ("lte", "factor", "verdict"),
    [
        (0.0005, 1.0, PASS),
        (0.0004, 1.0, FAIL),
        (0.00045, 1.0, INCONCLUSIVE),
        (0.0005, 1.5, FAIL),
        (0.001, 0.0, PASS),
    ],
)
def test_the_mean_cost_with_its_bounds(lte: float, factor: float, verdict: Verdict) -> None:
    finding = judged(cost(lte), calls(factor))
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(0.00045 * factor, rel=0.1)
    assert finding.samples == pytest.approx(24_000, rel=0.01)


def test_an_answer_without_a_price_is_not_free() -> None:
    finding = judged(cost(0.0005), calls(usd=(997, None)))
    assert finding.verdict is INCONCLUSIVE
    assert "do not say in usd what they cost" in finding.why
    assert judged(cost(0.0005), calls(usd=(997, "nan"))).verdict is INCONCLUSIVE
    assert judged(cost(0.0005), calls(usd=(997, "-1"))).verdict is INCONCLUSIVE
    assert judged(cost(0.0005), calls(usd=(1, None))).verdict is INCONCLUSIVE
    # For a FAIL it counts as free, which can only help.
    assert judged(cost(0.0004), calls(usd=(997, None))).verdict is FAIL


def test_failures_neither_cost_nor_count_and_each_cell_is_judged() -> None:
    plan = cost(0.0005, by=["fleet"])
    rows = rows_of(plan)
    rows.outcome[::3] = RESET
    finding = judged(plan, calls(), rows)
    assert finding.verdict is FAIL, "the first fleet alone costs 0.00075"
    assert "gpu" in finding.why
    assert finding.detail["failed"] > 7_000
    nothing = rows_of(plan)
    nothing.outcome[:] = RESET
    assert judged(plan, calls(), nothing).verdict is INCONCLUSIVE


def ab(**spec: Any) -> Plan:
    full = {"label": "fleet", "a": "gpu", "b": "silicon", **spec}
    return plan_of([objective("abRatio", **full)], steady_s=60)


@pytest.mark.parametrize(
    ("spec", "verdict", "value"),
    [
        # Exactly a fifth in each stratum: the mix, which differs by chance, takes no part.
        ({"of": "usd", "lte": 0.2, "strata": ["model"]}, PASS, 0.2),
        ({"of": "usd", "lte": 0.19, "strata": ["model"]}, FAIL, 0.2),
        # Without strata chance decides which got more of the dear calls.
        ({"of": "usd", "lte": 0.2}, INCONCLUSIVE, 0.2),
        ({"of": "ms", "lte": 0.5, "strata": ["model"]}, PASS, 0.5),
        ({"of": "ms", "lte": 0.4, "strata": ["model"]}, FAIL, 0.5),
    ],
)
def test_b_against_a_by_a_number_that_answers_carry(
    spec: dict[str, Any], verdict: Verdict, value: float
) -> None:
    finding = judged(ab(**spec), calls())
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(value, rel=0.15)


def test_b_against_a_by_latency() -> None:
    plan = ab(quantile=0.5, lte=0.6)
    rows = rows_of(plan)
    rows.latency_ms = np.where(rows.request % 2, 10.0, 20.0) + rows.population
    assert judged(plan, calls(), rows).verdict is PASS
    rows.latency_ms = np.where(rows.request % 2, 18.0, 20.0) + rows.population
    assert judged(plan, calls(), rows).verdict is FAIL


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("in turns of a minute", "not served side by side"),
        ("one has all of a place", "did not get the same traffic"),
        ("one is never seen", "no request says fleet silicon"),
        ("half say nothing", "do not say fleet and ms"),
    ],
)
def test_what_was_not_served_side_by_side_is_no_comparison(how: str, says: str) -> None:
    plan = ab(of="ms", lte=0.6, strata=["model"])
    rows = rows_of(plan)
    middle = np.median(rows.intended_ns)

    def labels(some: Rows) -> dict[str, Any]:
        found = calls()(some)
        fleet = some.request % 2
        if how == "in turns of a minute":
            fleet = (some.intended_ns > middle).astype(int)
        elif how == "one has all of a place":
            fleet = np.where(some.population == 2, 1, fleet)
        elif how == "one is never seen":
            fleet = np.zeros(len(fleet), int)
        else:
            fleet = np.where(some.request % 4 > 1, -1, fleet)
        return {**found, "fleet": (fleet.astype(np.int32), ["gpu", "silicon"])}

    finding = judged(plan, labels, rows)
    assert finding.verdict is INCONCLUSIVE
    assert says in finding.why


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 20))
def test_stratified_ratios_do_not_depend_on_who_got_more_of_what(seed: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, (2, 10, 3)).astype(float)
    price = np.array([1.0, 7.0, 30.0])
    found = log_ratio((counts[0] * price, counts[0]), (counts[1] * price * ratio, counts[1]))
    assert found is not None
    assert math.exp(found.value) == pytest.approx(ratio)
    assert found.error < 1e-6


def test_a_mean_covers_the_truth_as_often_as_it_says() -> None:
    rng, misses = np.random.default_rng(11), 0
    for _ in range(400):
        sums = GroupedSums(40)
        values = rng.choice([0.0, 1.0, 10.0], 2000, p=(0.7, 0.25, 0.05))
        sums.add(rng.integers(0, 40, 2000), np.zeros(2000, int), values, 1)
        mean = sums.mean(0)
        assert mean is not None
        misses += mean.upper(0.05) < 0.75
    assert misses <= 32, "5 % of 400 are 20, and 3 sigma 13 more"


def test_the_same_mix_is_told_from_another() -> None:
    assert same_mix_p(np.array([100, 200, 50]), np.array([98, 205, 49])) > 0.5
    assert same_mix_p(np.array([100, 200, 50]), np.array([150, 150, 50])) < 0.001
    assert same_mix_p(np.array([100]), np.array([90])) == 1.0
