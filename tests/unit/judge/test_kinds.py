"""Each objective kind on runs made to pass, to fail, and to leave it undecided."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tests.golden.judge_writer import (
    RESET,
    Rows,
    S,
    objective,
    phase_window,
    plan_of,
    rows_of,
    synthetic,
)

from stormgate.judge import judge
from stormgate.judge.baseline import with_baselines
from stormgate.judge.canary import Proof, canary_problems, prove
from stormgate.judge.registry import Canary, Kind, Need, Result, kinds
from stormgate.judge.synthetic import MemoryRun
from stormgate.model import Event, Finding, Objective, Plan, Sampling, Verdict, to_json

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def judged(plan: Plan, rows: Rows, change: Any = None) -> Finding:
    run = synthetic(plan, rows)
    if change is not None:
        change(run)
    return judge(run).objectives[0]


def within(plan: Plan, rows: Rows, phase: str, begin_s: float, length_s: float) -> np.ndarray:
    begin, _ = phase_window(synthetic(plan, rows.select(np.arange(1))), phase)
    at = begin + round(begin_s * S)
    return (rows.intended_ns >= at) & (rows.intended_ns < at + round(length_s * S))


def test_every_kind_is_registered() -> None:
    assert set(kinds()) == {
        "availability",
        "latency",
        "failover",
        "failback",
        "budgetSpend",
        "projectedAvailability",
        "share",
        "reading",
        "ratio",
        "nonInferiority",
        "deployLoss",
        "ackedWrites",
        "staleness",
        "monotonicReads",
        "readYourWrites",
        "convergence",
        "residency",
        "splitBrain",
        "bank",
        "counter",
        "costPerRequest",
        "abRatio",
        "metricTrue",
        "alertFired",
        "hitRatio",
        "originLoad",
        "stampede",
        "keysMoved",
        "tracesWhole",
        "scaledBefore",
        "knee",
    }
    assert all(kind.spec is kind.spec_model for kind in kinds().values())


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("availability", {"target": 0}),
        ("availability", {"target": 0.99, "within": 3}),
        ("latency", {"quantile": 1.0, "lte_ms": 5}),
        ("latency", {"quantile": 0.9, "lte_ms": 5, "coverage": 0}),
        ("failover", {"lte_s": 0}),
        ("share", {"label": "cache", "values": ["hit"]}),
        ("share", {"label": "cache", "values": ["hit"], "gte": 0.1, "lte": 0.2}),
        ("reading", {"probe": "p"}),
        ("reading", {"probe": "p", "gte": 2, "lte": 1}),
        ("budgetSpend", {"target": 1.0, "lte": 0.02}),
    ],
)
def test_specifications_refuse_nonsense(kind: str, spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kinds()[kind].spec_model.model_validate(spec)


def test_exactly_a_hundred_percent() -> None:
    plan = plan_of([objective("availability", target=1.0, min_samples=1000)], steady_s=20)
    rows = rows_of(plan)
    assert judged(plan, rows).verdict is PASS
    rows.outcome[within(plan, rows, "steady", 3, 0.004)] = RESET
    assert judged(plan, rows).verdict is FAIL


@pytest.mark.parametrize("target", [1.0, 0.5])
def test_too_few_to_tell_says_how_many_it_wants(target: float) -> None:
    """A bound within its limit beside INCONCLUSIVE would be a riddle."""
    plan = plan_of([objective("availability", target=target, min_samples=100_000)], steady_s=20)
    finding = judged(plan, rows_of(plan))
    assert finding.verdict is INCONCLUSIVE
    told = "bad, which is too few to tell: 100,000 are wanted (minSamples)"
    assert finding.cells[0].why.endswith(told)


@pytest.mark.parametrize(("outage_s", "verdict"), [(4.5, PASS), (5.2, INCONCLUSIVE), (6.5, FAIL)])
def test_budget_spend(outage_s: float, verdict: Verdict) -> None:
    # 2 % of 30 days at 99.99 % is 5.184 s.
    plan = plan_of(
        [objective("budgetSpend", target=0.9999, lte=0.02)], steady_s=10, faults=["kill"]
    )
    rows = rows_of(plan)
    rows.outcome[within(plan, rows, "fault[kill]", 3, outage_s)] = RESET
    finding = judged(plan, rows)
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(outage_s / 259.2, rel=0.02)
    assert finding.detail["budget_s"] == pytest.approx(259.2)


def test_a_five_second_failover_spends_the_published_share() -> None:
    assert pytest.approx(0.0193, abs=5e-5) == 5 / (30 * 86400 * 1e-4)


def test_silent_seconds_may_all_be_bad() -> None:
    plan = plan_of(
        [objective("budgetSpend", target=0.9999, lte=0.02)], steady_s=10, faults=["kill"]
    )
    rows = rows_of(plan)
    finding = judged(plan, rows.select(~within(plan, rows, "fault[kill]", 3, 7)))
    assert finding.verdict is INCONCLUSIVE
    assert finding.bound is not None
    assert finding.bound * 259.2 >= 6


@pytest.mark.parametrize(
    ("rate", "cap_s", "target", "verdict"),
    [(1.0, 6.0, 0.999, PASS), (200.0, 6.0, 0.9999, FAIL), (1.0, 3.0, 0.999, INCONCLUSIVE)],
)
def test_projected_availability(rate: float, cap_s: float, target: float, verdict: Verdict) -> None:
    names = [f"kill{i}" for i in range(10)]
    plan = plan_of(
        [objective("projectedAvailability", target=target, cap_s=cap_s)],
        faults=names,
        recovery_s=5,
        rate=200,
        steady_s=60,
    )
    faults = tuple(replace(f, experiment="kill.yaml", rate_per_window=rate) for f in plan.faults)
    plan = replace(plan, faults=faults).sealed()
    rows = rows_of(plan)
    for name in names:
        rows.outcome[within(plan, rows, f"fault[{name}]", 3, 5)] = RESET
    finding = judged(plan, rows)
    assert finding.verdict is verdict
    assert "cap" in finding.why if verdict is INCONCLUSIVE else "projected" in finding.why
    undeclared = replace(
        plan, faults=tuple(replace(f, rate_per_window=None) for f in faults)
    ).sealed()
    assert "ratePerWindow" in judged(undeclared, rows).why


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        ({"gte": 0.25}, PASS),
        ({"gte": 0.4}, FAIL),
        ({"lte": 0.4}, PASS),
        ({"lte": 0.3}, FAIL),
        ({"gte": 0.333}, INCONCLUSIVE),
    ],
)
def test_share_of_a_label(limit: dict[str, float], verdict: Verdict) -> None:
    plan = plan_of([objective("share", label="shard", values=["s1"], **limit)])
    finding = judged(plan, rows_of(plan))
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("limit", [{"gte": 0.25}, {"lte": 0.4}])
def test_failures_never_help_a_share(limit: dict[str, float]) -> None:
    plan = plan_of([objective("share", label="shard", values=["s1"], **limit)])
    rows = rows_of(plan)
    rows.outcome[::3] = RESET
    assert judged(plan, rows).verdict is FAIL


def _readings(values: list[float | None]) -> Any:
    def change(run: MemoryRun) -> None:
        begin, _ = phase_window(run, "steady")
        run.readings = [
            {
                "at_ns": begin + (i + 1) * S,
                "probe": "lag",
                "value": v,
                "error": None if v is not None else "refused",
            }
            for i, v in enumerate(values)
        ]
        run.readings.append({"at_ns": begin - S, "probe": "lag", "value": 1e9, "error": None})

    return change


@pytest.mark.parametrize(
    ("values", "spec", "verdict", "value"),
    [
        ([1, 2, 3], {"lte": 3}, PASS, 3),
        ([1, 9, 3], {"lte": 3}, FAIL, 9),
        ([1, 9, 3], {"gte": 2}, FAIL, 1),
        ([1, None, 3], {"lte": 3}, INCONCLUSIVE, 3),
        ([9, None, 3], {"lte": 3}, FAIL, 9),
        ([], {"lte": 3}, INCONCLUSIVE, None),
        ([1, 9, 2], {"lte": 4, "aggregate": "mean"}, PASS, 4),
        ([1, 9, 2], {"lte": 2, "aggregate": "last"}, PASS, 2),
        ([5, 6, 9], {"lte": 4, "gte": 4, "aggregate": "increase"}, PASS, 4),
        ([5], {"lte": 4, "aggregate": "increase"}, INCONCLUSIVE, None),
        ([1, 1], {"lte": 3, "min_samples": 3}, INCONCLUSIVE, 1),
    ],
)
def test_readings(
    values: list[float | None], spec: dict[str, Any], verdict: Verdict, value: float | None
) -> None:
    plan = plan_of([objective("reading", probe="lag", **spec)], steady_s=20)
    finding = judged(plan, rows_of(plan), _readings(values))
    assert (finding.verdict, finding.value) == (verdict, value)


@pytest.mark.parametrize(
    ("seconds", "verdict", "says"),
    [
        (range(1, 20), PASS, "every of 19"),
        (range(1, 12), INCONCLUSIVE, "no reading of lag for 9.0 s"),
        ([*range(1, 8), *range(12, 20)], INCONCLUSIVE, "no reading of lag for 5.0 s"),
        (range(6, 20), INCONCLUSIVE, "no reading of lag for 6.0 s"),
    ],
)
def test_readings_that_stopped_are_stale(seconds: Any, verdict: Verdict, says: str) -> None:
    schedule = Sampling(name="lag", module="m", func="f", every_s=1.0, within_s=1.0)
    plan = plan_of([objective("reading", probe="lag", lte=3)], steady_s=20)
    plan = replace(plan, readings=(schedule,)).sealed()

    def change(run: MemoryRun) -> None:
        begin, _ = phase_window(run, "steady")
        run.readings = [{"at_ns": begin + s * S, "probe": "lag", "value": 1} for s in seconds]

    finding = judged(plan, rows_of(plan), change)
    assert finding.verdict is verdict
    assert says in finding.why


@pytest.mark.parametrize(("factor", "verdict"), [(1.05, PASS), (1.3, FAIL), (1.1, INCONCLUSIVE)])
def test_ratio_of_two_phases(factor: float, verdict: Verdict) -> None:
    plan = plan_of(
        [objective("ratio", quantile=0.95, lte=1.1, phases=["recovery"])],
        faults=["kill"],
        rate=1000,
        recovery_s=60,
    )
    rows = rows_of(plan)
    rows.latency_ms = np.random.default_rng(2).lognormal(3, 0.3, len(rows.latency_ms))
    rows.latency_ms[within(plan, rows, "recovery[kill]", 0, 60)] *= factor
    finding = judged(plan, rows)
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(factor, rel=0.02)


def test_ratio_knows_that_bursts_are_few() -> None:
    # The slow tenth comes in one burst, before and after: ten times the requests would not make the
    # p95 surer.
    plan = plan_of(
        [objective("ratio", quantile=0.95, lte=1.1, phases=["recovery"])],
        faults=["kill"],
        rate=1000,
        recovery_s=60,
    )
    rows = rows_of(plan)
    rng = np.random.default_rng(2)
    rows.latency_ms = rng.lognormal(3, 0.3, len(rows.latency_ms))
    rows.latency_ms[within(plan, rows, "recovery[kill]", 10, 6)] *= 4
    rows.latency_ms[within(plan, rows, "steady", 10, 10)] *= 4
    finding = judged(plan, rows)
    assert finding.verdict is INCONCLUSIVE
    assert finding.detail["ratio_high"] / finding.detail["ratio_low"] > 1.5


def test_a_phase_whose_quantile_is_a_failure_is_infinitely_slower() -> None:
    plan = plan_of(
        [objective("ratio", quantile=0.95, lte=1.1, phases=["recovery"])], faults=["kill"]
    )
    rows = rows_of(plan)
    rows.outcome[np.flatnonzero(within(plan, rows, "recovery[kill]", 0, 60))[::5]] = RESET
    assert judged(plan, rows).verdict is FAIL


def test_non_inferiority_needs_and_becomes_a_baseline(tmp_path: Path) -> None:
    plan = plan_of([objective("nonInferiority", quantile=0.95, margin=0.1)], steady_s=60, rate=1000)
    rng = np.random.default_rng(4)

    def run_of(factor: float, name: str) -> Finding:
        this = with_baselines(plan, tmp_path).sealed()
        rows = rows_of(this)
        rows.latency_ms = rng.lognormal(3, 0.3, len(rows.latency_ms)) * factor
        judgement = judge(synthetic(this, rows))
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text(json.dumps(to_json(this)))
        (tmp_path / name / "verdict.json").write_text(json.dumps(to_json(judgement)))
        return judgement.objectives[0]

    assert run_of(1.0, "20261124T100000Z-test-a").verdict is INCONCLUSIVE
    second = run_of(1.02, "20261124T110000Z-test-b")
    assert (second.verdict, "20261124T100000Z-test-a" in second.why) == (PASS, True)
    third = run_of(1.3, "20261124T120000Z-test-c")
    assert (third.verdict, "20261124T110000Z-test-b" in third.why) == (FAIL, True)
    fourth = run_of(1.0, "20261124T130000Z-test-d")  # a failed run is no baseline
    assert "20261124T110000Z-test-b" in fourth.why
    other = replace(plan, objectives=(objective("nonInferiority", quantile=0.99, margin=0.1),))
    assert with_baselines(other, tmp_path).objectives[0].spec["baseline"] is None


def test_deploy_loss_is_a_count() -> None:
    plan = plan_of([objective("deployLoss")], faults=["roll"], steady_s=5)
    rows = rows_of(plan)
    assert judged(plan, rows).verdict is PASS
    few = replace(plan, objectives=(objective("deployLoss", min_samples=100_000),)).sealed()
    assert judged(few, rows).verdict is INCONCLUSIVE
    rows.outcome[np.flatnonzero(within(plan, rows, "fault[roll]", 5, 1))[:1]] = RESET
    finding = judged(plan, rows)
    assert (finding.verdict, finding.value) == (FAIL, 1)
    two = replace(plan, objectives=(objective("deployLoss", max_bad=1),)).sealed()
    assert judged(two, rows).verdict is PASS


def _failback(**spec: Any) -> Plan:
    return plan_of(
        [objective("failback", settle_s=5, labels=["shard"], **spec)],
        faults=["kill"],
        recovery_s=40,
        steady_s=60,
        rate=1000,
    )


def test_failback_home_again() -> None:
    plan = _failback()
    rows = rows_of(plan)
    away = within(plan, rows, "fault[kill]", 2, 21)  # until 4 s after the clearing
    rows.shard[away] = 0
    assert judged(plan, rows).verdict is PASS


@pytest.mark.parametrize("how", ["elsewhere", "errors"])
def test_failback_that_never_came(how: str) -> None:
    plan = _failback()
    rows = rows_of(plan)
    late = within(plan, rows, "recovery[kill]", 0, 40) & (rows.population == 1)
    if how == "elsewhere":
        rows.shard[late] = 0
    else:
        rows.outcome[np.flatnonzero(late)[::20]] = RESET
    finding = judged(plan, rows)
    assert finding.verdict is FAIL
    assert "tokyo" in finding.why


def test_failback_without_enough_to_see_or_a_fault_unseen() -> None:
    plan = _failback(tolerance=0.01)
    assert judged(plan, rows_of(plan)).verdict is INCONCLUSIVE
    plan = _failback()

    def unproven(run: MemoryRun) -> None:
        run.timeline = [r for r in run.timeline if r["event"] != Event.FAULT_OBSERVED]

    assert judged(plan, rows_of(plan), unproven).verdict is INCONCLUSIVE
    missing = replace(plan, objectives=(objective("failback", settle_s=5),)).sealed()
    assert "served_by" in judged(missing, rows_of(missing)).why  # never recorded in these runs


EVERY = [
    objective("availability", target=0.999),
    objective("availability", "none lost", target=1.0, where={"op": ["read"], "route": ["a"]}),
    objective("latency", quantile=0.95, lte_ms=50, by=["population", "op"]),
    objective("latency", "covered", quantile=0.95, lte_ms=50, coverage=0.9),
    objective("failover", lte_s=5, by=["population", "shard", "op"]),
    objective("failback", settle_s=5),
    objective("budgetSpend", target=0.9999, lte=0.02),
    objective("projectedAvailability", target=0.999),
    objective("share", label="cache", values=["hit"], gte=0.9),
    objective("share", "core", label="tier", values=["core"], lte=0.05),
    objective("reading", probe="p", lte=5, gte=-5, min_samples=3),
    objective("reading", "rise", probe="p", gte=5, aggregate="increase"),
    objective("ratio", quantile=0.95, lte=1.1),
    objective("nonInferiority", margin=0.1),
    objective("deployLoss"),
    objective("ackedWrites"),
    objective("ackedWrites", "some", lost=2, stores=["eu", "us"], keys="note-*"),
    objective("staleness", lte_ms=2000),
    objective("staleness", "never", lte_ms=2000, quantile=1.0, by="region"),
    objective("monotonicReads"),
    objective("readYourWrites", max_bad=3),
    objective("convergence", within_s=10),
    objective("convergence", "named", within_s=10, stores=["eu", "us"]),
    objective("residency", data_class="eu", allow=["eu"]),
    objective("residency", "listed", data_class="eu", allow=["eu"], scan=["us/log"]),
    objective("splitBrain"),
    objective("splitBrain", "shards", by="shard", keys="doc-?"),
    objective("bank", total=200, initial=100),
    objective("counter", initial=5),
    objective("hitRatio", gte=0.95),
    objective("originLoad", lte=0.4),
    objective("stampede"),
    objective("keysMoved", lte=0.3),
    objective("keysMoved", "some", lte=0.3, gte=0.05, key="id", label="served_by"),
    objective("stampede", "three", lte=3, by=["population"], label="tier", misses=["origin"]),
    objective("costPerRequest", label="usd", lte=0.001, where={"route": ["assistant"]}),
    objective("abRatio", label="fleet", a="old", b="new", of="usd", lte=0.2, strata=["tier"]),
    objective("metricTrue", probe="requests", tolerance=0.05),
    objective("metricTrue", "errors", probe="errors", counts="failed", phases=["fault"]),
    objective("alertFired", alert="ErrorRateHigh", within_s=10),
    objective("tracesWhole", label="trace_id"),
    objective("knee", step_s=5, within_ms=200, gte=100),
    objective("scaledBefore", probe="capacity", lead_s=1),
    objective("scaledBefore", "here", probe="capacity", where={"population": ["london"]}, over_s=5),
    objective("abRatio", "slow", label="fleet", a="old", b="new", quantile=0.5, lte=1.5),
]


def test_every_kind_fails_its_canaries_and_passes_nothing_on_nothing() -> None:
    plan = plan_of(EVERY, faults=["kill"])
    assert {o.kind for o in EVERY} == set(kinds())
    proofs = prove(plan)
    assert [(p.objective, p.violation, p.empty) for p in proofs] == [
        (o.name, FAIL, INCONCLUSIVE) for o in EVERY
    ]
    assert canary_problems(plan) == []
    assert all(p.can_fail for p in proofs)


def test_a_rule_that_cannot_fail_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Green:
        def __init__(self, task: Any) -> None:
            self.task = task

        def add(self, block: Any) -> None: ...

        def finish(self) -> Result:
            return Result(self.task.finding(PASS, "always"))

    spec = kinds()["deployLoss"].spec_model
    rotten = Kind("rotten", spec, Green, lambda s: (Canary(),), lambda s, p: Need(1), timing=False)
    monkeypatch.setitem(kinds(), "rotten", rotten)
    plan = plan_of(
        [Objective(name="never red", kind="rotten", spec={}, source="slas/x.yaml:12")],
        faults=["kill"],
    )
    (problem,) = canary_problems(plan)
    assert problem.startswith("slas/x.yaml:12: objective 'never red'")
    assert "no evidence" in (Proof("a", "", FAIL, PASS, "").problem or "")
