"""A cell that the plan or the workload promises and nobody asked in leaves its objective
undecided, by name, however few requests were due.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import Rows, S, objective, phase_window, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.model import Finding, Plan, Verdict

FEW = (("london", 0.6), ("tokyo", 0.399), ("lima", 0.001))
BY_WHOM = {"by": ["population"]}
BY_BOTH = {"by": ["population", "op"]}
AVAILABILITY = {"target": 0.5, "phases": ["steady"]}
FAILOVER = {"lte_s": 18}
LIMA = 2


def plan(kind: str, labels: dict[str, dict[str, str]] | None = None, **spec: Any) -> Plan:
    made = plan_of([objective(kind, **spec)], steady_s=30, faults=["kill"], populations=FEW)
    people = tuple(
        replace(p, labels=(labels or {}).get(p.name, {})) for p in made.target.populations
    )
    return replace(made, target=replace(made.target, populations=people)).sealed()


def without(rows: Rows, gone: np.ndarray) -> Rows:
    return rows.select(np.flatnonzero(~gone))


def judged(made: Plan, rows: Rows) -> Finding:
    (found,) = judge(synthetic(made, rows)).objectives
    return found


def seen(made: Plan) -> Rows:
    """Everybody, often enough to be judged: two thirds of lima's requests are another's."""
    rows = rows_of(made)
    rows.population[::20] = LIMA
    return rows


@pytest.mark.parametrize("spec", [BY_WHOM, BY_BOTH])
def test_everybody_was_there(spec: dict[str, Any]) -> None:
    made = plan("availability", **AVAILABILITY, **spec)
    assert judged(made, seen(made)).verdict is Verdict.PASS


@pytest.mark.parametrize("spec", [BY_WHOM, BY_BOTH])
def test_a_population_of_a_few_requests_that_made_none(spec: dict[str, Any]) -> None:
    made = plan("availability", **AVAILABILITY, **spec)
    rows = seen(made)
    found = judged(made, without(rows, rows.population == LIMA))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "lima" in found.why
    assert "nobody asked in steady" in found.why
    assert found.detail["without_them"] == "PASS"


def test_an_operation_that_a_population_does_elsewhere() -> None:
    made = plan("availability", **AVAILABILITY, **BY_BOTH)
    rows = seen(made)
    begin, end = phase_window(synthetic(made, rows), "steady")
    inside = (rows.intended_ns >= begin) & (rows.intended_ns < end)
    found = judged(made, without(rows, inside & (rows.population == LIMA) & (rows.op == 1)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.why == "lima / write: nobody asked in steady"


def test_an_operation_that_a_population_never_does_is_not_its() -> None:
    made = plan("availability", **AVAILABILITY, **BY_BOTH)
    rows = seen(made)
    rows.op[rows.population == LIMA] = 0
    assert judged(made, rows).verdict is Verdict.PASS


def test_who_the_objective_is_not_about() -> None:
    where = {"where": {"population": ["london", "tokyo"]}}
    made = plan("availability", **AVAILABILITY, **BY_WHOM, **where)
    rows = seen(made)
    assert judged(made, without(rows, rows.population == LIMA)).verdict is Verdict.PASS
    made = plan("availability", **AVAILABILITY)  # one cell of all
    rows = seen(made)
    assert judged(made, without(rows, rows.population == LIMA)).verdict is Verdict.PASS


def test_facts_of_populations_make_cells_too() -> None:
    labels = {"london": {"shard": "s0"}, "tokyo": {"shard": "s1"}, "lima": {"shard": "s2"}}
    made = plan("availability", labels, **AVAILABILITY, by=["shard"])
    rows = seen(made)
    rows.shard[:] = rows.population
    assert judged(made, rows).verdict is Verdict.PASS
    found = judged(made, without(rows, rows.population == LIMA))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.why == "s2: nobody asked in steady"


def test_each_fault_must_be_seen_by_each_cell() -> None:
    made = plan("failover", **FAILOVER)
    rows = seen(made)
    assert judged(made, rows).verdict is Verdict.PASS
    run = synthetic(made, rows)
    at = phase_window(run, "fault[kill]")[0] - S
    gone = (rows.intended_ns >= at) & (rows.population == LIMA) & (rows.op == 1)
    found = judged(made, without(rows, gone))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "lima / write" in found.why


def test_a_cell_that_is_not_covered_need_not_be_measured() -> None:
    made = plan("latency", quantile=0.5, lte_ms=50, phases=["steady"], coverage=0.9, **BY_WHOM)
    rows = seen(made)
    found = judged(made, without(rows, rows.population == LIMA))
    assert found.verdict is Verdict.PASS
    found = judged(made, without(rows, rows.population == 1))
    assert found.verdict is not Verdict.PASS


def test_a_fail_stays_a_fail() -> None:
    made = plan("availability", target=0.9999, phases=["steady"], **BY_WHOM)
    rows = seen(made)
    rows.outcome[::3] = 1
    assert judged(made, without(rows, rows.population == LIMA)).verdict is Verdict.FAIL
