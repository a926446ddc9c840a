"""Cells that nobody visited: named, and nothing passes over them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.golden.judge_writer import Rows, objective, phase_window, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.model import Verdict

PLAN = plan_of([objective("availability", target=0.9)], steady_s=30)


def rows() -> Rows:
    return rows_of(PLAN)


@pytest.mark.parametrize(
    ("absent", "why"),
    [
        (lambda r: r.population == 2, "population 'lima' made no request in steady, about 2,400"),
        (lambda r: (r.population == 2) & (r.op == 1), "population 'lima' made no write in steady"),
    ],
)
def test_who_was_due_and_did_not_come_is_named(absent, why: str) -> None:
    everyone = rows()
    some = everyone.select(np.flatnonzero(~absent(everyone)))
    judgement = judge(synthetic(PLAN, some))
    workload = next(f for f in judgement.validity if f.name == "workload")
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert workload.verdict is Verdict.INCONCLUSIVE
    assert why in workload.why


def test_a_write_that_only_the_warmup_saw() -> None:
    everyone = rows()
    begin, _ = phase_window(synthetic(PLAN, everyone), "steady")
    gone = (everyone.op == 1) & (everyone.intended_ns >= begin)
    workload = next(
        f
        for f in judge(synthetic(PLAN, everyone.select(np.flatnonzero(~gone)))).validity
        if f.name == "workload"
    )
    assert "made no write in steady" in workload.why


def test_a_population_that_is_not_in_the_plan() -> None:
    run = synthetic(plan_of(PLAN.objectives, steady_s=30), rows())
    two = plan_of(PLAN.objectives, steady_s=30, populations=(("london", 0.6), ("tokyo", 0.4)))
    run.plan = two
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "population 'lima' is not one of the plan" in judgement.why


def test_so_few_were_due_that_none_may_be_chance() -> None:
    plan = plan_of(
        [objective("availability", target=0.9)],
        steady_s=30,
        populations=(("london", 0.999), ("tokyo", 0.001)),
    )
    everyone = rows_of(plan)
    some = everyone.select(np.flatnonzero(everyone.population == 0))
    assert judge(synthetic(plan, some)).verdict is Verdict.PASS
