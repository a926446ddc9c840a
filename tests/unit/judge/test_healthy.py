"""Healthy services are not accused: runs with the errors, slow answers and failovers that their
gate allows, again and again.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
from tests.golden.judge_writer import (
    BAD,
    RESET,
    S,
    objective,
    phase_window,
    plan_of,
    rows_of,
    synthetic,
)

from stormgate.judge import judge
from stormgate.model import Verdict

RUNS = 300
FAULT_S = 12.0
PLAN = plan_of(
    [
        objective("availability", target=0.99),
        objective("latency", quantile=0.95, lte_ms=50),
        objective("failover", lte_s=5),
        objective("budgetSpend", target=0.9999, lte=0.02),
        objective("availability", "afterwards", target=0.98, phases=["recovery"]),
    ],
    steady_s=40,
    rate=120,
    faults=["kill"],
    recovery_s=20,
)


def one(seed: int) -> tuple[Verdict, str]:
    """A run of a service at a third of the badness allowed, with a failover of 1 to 3 s."""
    rng = np.random.default_rng([int(os.environ.get("STORMGATE_SEED", "1")), seed])
    rows = rows_of(PLAN, seed=int(rng.integers(1 << 30)), fault_s=FAULT_S)
    n = len(rows.intended_ns)
    rows.latency_ms = 20.0 * rng.lognormal(0.0, 0.42, n)
    run = synthetic(PLAN, rows, fault_s=FAULT_S)
    steady = phase_window(run, "steady")
    begin = phase_window(run, "fault[kill]")[0] + round(rng.uniform(1.3, 2.0) * S)
    calm = (rows.intended_ns >= steady[0]) & (rows.intended_ns < steady[1])
    rows.outcome[calm & (rng.random(n) < 0.0033)] = BAD
    down = (rows.intended_ns >= begin) & (rows.intended_ns < begin + round(rng.uniform(1, 3) * S))
    rows.outcome[down & (rows.population == rng.integers(0, 3))] = RESET
    judgement = judge(synthetic(PLAN, rows, fault_s=FAULT_S))
    return judgement.verdict, judgement.why


def test_three_hundred_healthy_runs_have_no_fail_and_few_doubts() -> None:
    found = [one(seed) for seed in range(RUNS)]
    counts = Counter(verdict for verdict, _ in found)
    doubts = Counter(why[:80] for verdict, why in found if verdict is not Verdict.PASS)
    assert counts[Verdict.FAIL] == 0, doubts
    assert counts[Verdict.PASS] >= 0.95 * RUNS, doubts
