"""What a plan can decide before it runs, how two runs compare, and when a run may end early."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.golden.judge_writer import (
    BAD,
    RESET,
    S,
    objective,
    phase_window,
    plan_of,
    rows_of,
    synthetic,
    write_folder,
)

from stormgate.commands.finished.compare import command as compare_command
from stormgate.commands.plan import render, streams_of
from stormgate.judge import judge
from stormgate.judge.compare import compare
from stormgate.judge.decide import certain
from stormgate.judge.engine import judge_objective
from stormgate.judge.planning import ObjectivePlan, assess, cell_shares, covered_chance
from stormgate.judge.synthetic import MemoryRun
from stormgate.model import Objective, Plan, Verdict


def assessed(objectives: list[Objective], **plan: Any) -> ObjectivePlan:
    return assess(plan_of(objectives, **plan)).objectives[0]


def test_four_nines_need_what_the_table_says() -> None:
    enough = assessed([objective("availability", target=0.9999)], steady_s=80, rate=400)
    assert (enough.requests_needed, enough.requests_expected, enough.contradictions) == (
        29_956,
        32_000,
        (),
    )
    assert enough.chances is not None
    assert enough.chances.at_target <= 0.05
    assert enough.chances.twice < enough.chances.at_target < enough.chances.half
    few = assessed([objective("availability", target=0.9999)], steady_s=70, rate=400)
    assert "29,956 requests are needed, about 28,000 are expected" in few.contradictions[0]


def test_the_planned_chance_is_the_simulated_one() -> None:
    planned = assessed([objective("availability", target=0.99)], steady_s=10, rate=100)
    assert planned.chances is not None
    rng = np.random.default_rng(3)
    from stormgate.judge.statistics.bounds import upper_bound

    passed = float(np.mean(upper_bound(rng.binomial(1000, 0.005, 4000), 1000, 0.05) <= 0.01))
    assert planned.chances.half == pytest.approx(passed, abs=0.03)


def test_an_outage_that_is_allowed_and_an_availability_that_forbids_it() -> None:
    plan = plan_of(
        [
            objective("availability", target=0.9999, phases=["fault", "recovery"]),
            objective("failover", lte_s=5),
        ],
        faults=["kill"],
        recovery_s=100,
        rate=2000,
    )
    told = assess(plan).objectives[0].contradictions
    assert told == (
        "0.9999 inside a 120 s window with a 5 s outage cannot pass (it forgives 0.012 s, and "
        "would need 13.9 h): "
        "judge steady phases, or use budgetSpend",
    )


@pytest.mark.parametrize(
    ("spec", "plan", "words"),
    [
        (
            objective("failover", lte_s=5, by=["population", "op"]),
            {"faults": ["kill"], "rate": 10},
            "silences up to",
        ),
        (
            objective("failover", lte_s=5),
            {"faults": ["kill"], "recovery_s": 0.5, "rate": 4000},
            "cannot show",
        ),
        (objective("failover", lte_s=5), {}, "does not exist"),
        (objective("availability", target=0.9, phases=["fault"]), {}, "does not exist"),
        (objective("failover", lte_s=60), {"faults": ["kill"], "rate": 4000}, "cannot fail"),
        (objective("failback", settle_s=30), {"faults": ["kill"]}, "recovery is over"),
        (
            objective("projectedAvailability", target=0.99999, cap_s=30),
            {"faults": ["kill"]},
            "so few trials",
        ),
    ],
)
def test_contradictions(spec: Objective, plan: dict[str, Any], words: str) -> None:
    assessment = assess(plan_of([spec], **plan))
    assert any(words in told for told in assessment.objectives[0].contradictions), (
        assessment.objectives[0].contradictions
    )
    assert not assessment.decidable


def test_a_sound_plan_is_decidable() -> None:
    objectives = [
        objective("availability", target=0.999),
        objective("latency", quantile=0.95, lte_ms=50, coverage=0.9),
        objective("failover", lte_s=5),
        objective("budgetSpend", target=0.9999, lte=0.01),
    ]
    plan = plan_of(objectives, faults=["kill"], rate=1000)
    assessment = assess(plan)
    assert assessment.decidable, [o.contradictions for o in assessment.objectives]
    assert (assessment.seconds, assessment.requests) == (145.0, 145_000)
    failover = assessment.objectives[2]
    assert failover.widest_outage_s == 39
    assert failover.resolution_s == pytest.approx(2 / (1000 * 0.2 / 2))
    assert "1.93%" in assessment.objectives[3].note
    assert json.loads(json.dumps(assessment.to_json()))["decidable"] is True
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(plan, assessment))
    console.file.close()
    assert "every objective can pass, and was shown a violation and failed" in console.export_text()


def _poisson_run(
    plan: Plan, rng: np.random.Generator, outage_s: float, fault_s: float
) -> MemoryRun:
    """A run whose users come at random, all of them down for `outage_s` after the fault."""
    rows = rows_of(plan, fault_s=fault_s, seed=int(rng.integers(1 << 30)))
    begin, end = int(rows.intended_ns.min()), int(rows.intended_ns.max())
    count = min(rng.poisson(len(rows.intended_ns)), len(rows.intended_ns) * 2)
    rows = rows.select(rng.integers(0, len(rows.intended_ns), count))
    rows.intended_ns = np.sort(rng.integers(begin, end, count))
    rows.request = np.arange(count, dtype=np.uint64)
    fault = phase_window(synthetic(plan, rows, fault_s=fault_s), "fault[kill]")[0]
    down = fault + round((0.1 * fault_s + rng.uniform(0.3, 2)) * S)
    struck = (rows.intended_ns >= down) & (rows.intended_ns < down + round(outage_s * S))
    rows.outcome[struck] = RESET
    return synthetic(plan, rows, fault_s=fault_s)


@pytest.mark.parametrize("rate", [4.0, 7.0, 11.0, 20.0])
def test_the_planned_chance_of_a_failover_is_the_simulated_one(rate: float) -> None:
    fault_s, runs = 20.0, 300
    plan = plan_of(
        [objective("failover", lte_s=5, by=["population"])],
        steady_s=15, rate=rate, faults=["kill"], recovery_s=15,
        populations=(("london", 0.6), ("lima", 0.4)),
    )  # fmt: skip
    told = assess(plan, fault_s).objectives[0]
    assert told.chances is not None
    rng = np.random.default_rng(5)
    verdicts = [
        judge_objective(_poisson_run(plan, rng, 2.5, fault_s), plan, plan.objectives[0]).verdict
        for _ in range(runs)
    ]
    passed = verdicts.count(Verdict.PASS) / runs
    assert Verdict.FAIL not in verdicts
    assert told.chances.half == pytest.approx(passed, abs=0.05)
    assert bool(told.contradictions) == (told.chances.half < 0.5)
    assert (told.chances.at_target, told.chances.twice) == (0.0, 0.0)


def test_what_a_cell_needs_for_failover_is_enough() -> None:
    plan = plan_of([objective("failover", lte_s=5)], rate=1, faults=["kill"])
    told = assess(plan).objectives[0]
    # The smallest of six cells is a tenth of all requests, watched for 40 s.
    rate = told.requests_needed / 40 / 0.1
    enough = assess(replace(plan, load=replace(plan.load, rate_per_s=rate))).objectives[0]
    assert told.contradictions
    assert not enough.contradictions
    assert enough.chances is not None
    assert enough.chances.half >= 0.8


def _many_populations(users: int) -> Plan:
    """183 places of very different size, as a world has them."""
    weights = 1.0 / np.arange(1, 184) ** 0.9
    shares = weights / weights.sum()
    places = tuple((f"p{n:03}", float(s)) for n, s in enumerate(shares))
    plan = plan_of(
        [objective("latency", quantile=0.95, lte_ms=50, coverage=0.9)],
        steady_s=60, rate=1500, populations=places,
    )  # fmt: skip
    return replace(plan, load=replace(plan.load, users=users)).sealed()


def test_under_coverage_the_plan_and_the_judge_take_the_same_cells() -> None:
    plan = _many_populations(2000)
    told = assess(plan, streams=streams_of(plan)).objectives[0]
    # The smallest place could never show its p95; it does not have to.
    smallest = min(p.share for p in plan.target.populations) * 60 * 1500
    assert smallest < told.requests_needed <= told.requests_expected
    assert told.contradictions == ()
    rows = rows_of(plan)
    rows.latency_ms[:] = 20.0
    finding = judge(synthetic(plan, rows)).objectives[0]
    assert finding.verdict is Verdict.PASS
    few = assess(replace(plan, load=replace(plan.load, rate_per_s=200.0)))
    assert "cannot pass" in few.objectives[0].contradictions[0]
    assert "make up 90.0%" in few.objectives[0].contradictions[0]


@pytest.mark.parametrize("half", [0.9, 0.97, 1.0])
def test_the_planned_chance_of_a_coverage_is_the_simulated_one(half: float) -> None:
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.ones(120))
    passed = (rng.random((4000, 120)) < half) @ weights >= 0.93
    planned = covered_chance([half] * 120, weights.tolist(), 0.93)
    assert planned == pytest.approx(passed.mean(), abs=0.03)


def test_populations_that_no_stream_is_dealt_to_are_named() -> None:
    plan = _many_populations(60)
    assessment = assess(plan, streams=streams_of(plan))
    assert assessment.unserved
    assert assessment.missed
    assert not assessment.decidable
    console = Console(record=True, width=300, file=io.StringIO())
    console.print(render(plan, assessment))
    text = console.export_text()
    assert f"no stream is dealt to {assessment.unserved[0]}, " in text
    assert "60 streams over 183 populations; the judge will miss them" in text
    enough = _many_populations(20_000)
    assert assess(enough, streams=streams_of(enough)).unserved == ()


def test_cells_as_the_plan_knows_them() -> None:
    plan = plan_of([])
    assert sorted(cell_shares(plan, ["population"], {}).shares) == [0.2, 0.3, 0.5]
    assert len(cell_shares(plan, ["population", "op"], {}).shares) == 6
    assert cell_shares(plan, [], {"population": ["lima"]}).shares == (0.2,)
    assert cell_shares(plan, ["op"], {"op": ["read"]}).shares == (0.5,)
    assert cell_shares(plan, ["shard"], {}).unknown == ("shard",)
    labelled = replace(plan.target.populations[0], labels={"shard": "eu"})
    plan = replace(
        plan, target=replace(plan.target, populations=(labelled, *plan.target.populations[1:]))
    )
    assert sorted(cell_shares(plan, ["shard"], {}).shares) == [0.5, 0.5]


def test_curtailment_is_certain_or_nothing() -> None:
    assert certain(100_000, 1e-4, 0.05, seen=20_000, bad=15) is None
    assert certain(100_000, 1e-4, 0.05, seen=20_000, bad=16) is Verdict.FAIL
    assert certain(100_000, 1e-4, 0.05, seen=99_995, bad=0) is None
    assert certain(100_000, 1e-4, 0.05, seen=99_996, bad=0) is Verdict.PASS
    assert certain(100, 1e-4, 0.05, seen=100, bad=0) is None
    with pytest.raises(ValueError, match="101 requests seen"):
        certain(100, 1e-4, 0.05, seen=101, bad=0)


def _two(tmp_path: Path | None = None) -> tuple[Plan, Any, Any]:
    plan = plan_of(
        [
            objective("availability", target=0.99),
            objective("latency", quantile=0.95, lte_ms=50),
            objective("failover", lte_s=5),
        ],
        faults=["kill"],
    )
    rows = rows_of(plan)
    worse = rows_of(plan, seed=8)
    worse.latency_ms *= 2
    worse.outcome[::200] = BAD
    return plan, synthetic(plan, rows), synthetic(plan, worse)


def test_compare_shows_what_differs() -> None:
    _, a, b = _two()
    comparison = compare(judge(a), judge(b))
    by = {row.name: row for row in comparison.rows}
    assert comparison.same_plan
    assert by["availability"].difference == pytest.approx(-0.005, abs=1e-3)
    assert by["availability"].high is not None
    assert by["availability"].high < 0
    assert by["latency"].low is not None
    assert by["latency"].low > 15
    assert by["failover"].telling in ("differs", "no difference shown")
    assert by["failover"].low is not None
    same = compare(judge(a), judge(a))
    assert all(
        row.difference == 0
        and row.low is not None
        and row.high is not None
        and row.low <= 0 <= row.high
        for row in same.rows
    )


def test_compare_of_what_is_not_there() -> None:
    _, a, _ = _two()
    one, other = (
        judge(a),
        judge(a, plan_of([objective("availability", "another", target=0.9)], faults=["kill"])),
    )
    rows = {row.name: row.telling for row in compare(one, other).rows}
    assert rows["availability"] == "only in A"
    assert rows["another"] == "only in B"


def test_compare_command(tmp_path: Path) -> None:
    _, a, b = _two()
    write_folder(a, tmp_path / "a")
    write_folder(b, tmp_path / "b")
    result = CliRunner().invoke(
        compare_command, [str(tmp_path / "a"), str(tmp_path / "b"), "--json"], standalone_mode=False
    )
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.output)["rows"]) == 3
    result = CliRunner().invoke(
        compare_command, [str(tmp_path / "a"), str(tmp_path / "b")], standalone_mode=False
    )
    assert "differs" in result.output


def test_a_year_is_planned_as_quickly_as_an_hour() -> None:
    """A canary lays out every second of a plan: of a year that would take minutes and gigabytes."""
    import time

    objectives = [objective("availability", target=0.98), objective("failover", lte_s=2)]
    year = plan_of(objectives, steady_s=366 * 86400.0, faults=["kill"], recovery_s=86400.0)
    begun = time.process_time()
    found = assess(year)
    assert time.process_time() - begun < 10
    assert [one.shown_violation for one in found.objectives] == ["FAIL", "FAIL"]
