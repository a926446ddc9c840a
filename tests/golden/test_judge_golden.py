"""Verdicts of fixed runs, byte for byte. After a deliberate change run it with STORMGATE_REGOLD=1,
and read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tests.golden.judge_writer import (
    BAD,
    RESET,
    Rows,
    S,
    objective,
    phase_window,
    plan_of,
    rows_of,
    synthetic,
    write_folder,
)

from stormgate.evidence import open_run
from stormgate.judge import judge
from stormgate.model import Plan, to_json

HERE = Path(__file__).parent / "judge"

OBJECTIVES = [
    objective("availability", target=0.999, min_samples=2995),
    objective("latency", quantile=0.95, lte_ms=50, by=["population", "op"]),
    objective("latency", "covered", quantile=0.95, lte_ms=50, coverage=0.7),
    objective("failover", lte_s=5),
    objective("failback", settle_s=3, labels=["shard"], tolerance=0.1),
    objective("budgetSpend", target=0.9999, lte=0.02),
    objective("projectedAvailability", target=0.999),
    objective("share", label="shard", values=["s0", "s1"], gte=0.6),
    objective("ratio", quantile=0.9, lte=1.2),
    objective("deployLoss", max_bad=2000),
]


def healthy(rows: Rows, plan: Plan) -> None:
    """Nothing happens."""


def outage(rows: Rows, plan: Plan) -> None:
    """London loses 6.4 s."""
    begin, _ = phase_window(synthetic(plan, rows.select(np.arange(1))), "fault[kill]")
    hit = (rows.intended_ns >= begin + 2_500_000_000) & (rows.intended_ns < begin + 8_900_000_000)
    rows.outcome[hit & (rows.population == 0)] = RESET


def wear(rows: Rows, plan: Plan) -> None:
    """Scattered errors in the steady phase, two bursts of them, and lima slow."""
    begin, end = phase_window(synthetic(plan, rows.select(np.arange(1))), "steady")
    steady = np.flatnonzero((rows.intended_ns >= begin) & (rows.intended_ns < end))
    rows.outcome[steady[::700]] = BAD
    for second in (10, 31):
        at = begin + second * S
        rows.outcome[(rows.intended_ns >= at) & (rows.intended_ns < at + S // 5)] = RESET
    rows.latency_ms[rows.population == 2] = 75.0


@pytest.mark.parametrize("case", [healthy, outage, wear])
def test_golden(case: object, tmp_path: Path) -> None:
    assert callable(case)
    plan = plan_of(OBJECTIVES, steady_s=60, faults=["kill"])
    rows = rows_of(plan)
    case(rows, plan)
    judgement = judge(open_run(write_folder(synthetic(plan, rows), tmp_path)))
    text = json.dumps(to_json(judgement), indent=1, sort_keys=True) + "\n"
    golden = HERE / f"{case.__name__}.json"  # type: ignore[attr-defined]
    if os.environ.get("STORMGATE_REGOLD"):
        HERE.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
