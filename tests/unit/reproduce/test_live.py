"""A case as a short gate: what is tried, what is said of it, and what is written in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.golden.judge_writer import objective
from tests.golden.judge_writer import plan_of as made_up

from stormgate.model import Finding, Judgement, Objective, Plan, Verdict
from stormgate.reproduce.live import (
    WARMUP_S,
    Bench,
    hypothesis,
    looks_at,
    outcome,
    plan_of,
    was_stopped,
)
from stormgate.reproduce.recorded import Trial
from stormgate.reproduce.schedule import Segment, schedule_of
from stormgate.reproduce.shrink.case import Case
from stormgate.reproduce.shrink.decide import Trying

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def trial(name: str) -> Trial:
    segment = Segment(start_s=0.0, length_s=9.0, where="cache", mode="crash", fault="crash cache")
    return Trial(name=name, schedule=schedule_of([segment]), recovery_s=20.0)


def case(*trials: str, populations: tuple[str, ...] = ("london", "tokyo", "lima")) -> Case:
    made = tuple(trial(name) for name in trials)
    return Case(trials=made, populations=populations, rate_per_s=100.0)


def bench(plan: Plan, chosen: Objective) -> Bench:
    return Bench(
        plan=plan,
        objective=chosen,
        root=Path("/suite"),
        folder=Path("/suite/reproduced/r/tries"),
        until_s=0.0,
        alone_s=12.0,
    )


def tried(spec: dict[str, Any], one: Case, kind: str = "availability") -> Plan | None:
    chosen = objective(kind, **spec)
    plan = made_up([chosen, objective("latency", quantile=0.9, lte_ms=1.0)], faults=["a", "b"])
    return plan_of(bench(plan, chosen), one)


def test_a_try_is_as_short_as_its_objective_lets_it_be() -> None:
    plan = tried({"target": 0.99, "phases": ["fault"]}, case("a"))
    assert plan is not None
    assert (plan.warmup_s, plan.steady_s, plan.final_s) == (min(5.0, WARMUP_S), 0.0, 0.0)
    assert [(f.name, f.recovery_s) for f in plan.faults] == [("a", 1.0)]
    assert plan.faults[0].experiment.startswith("reproduced/r/tries/")
    assert [one.kind for one in plan.objectives] == ["availability"]
    assert (plan.load.rate_per_s, plan.guard.error_rate) == (pytest.approx(100.0), None)
    kept = tried({"target": 0.99, "phases": ["steady", "recovery"]}, case("a"))
    assert kept is not None
    assert (kept.steady_s, kept.faults[0].recovery_s) == (100.0, 20.0)
    over = tried({"lte_s": 5.0}, case("a"), "failover")
    assert over is not None
    assert over.faults[0].recovery_s == 20.0


def test_fewer_users_ask_as_often_as_they_did() -> None:
    plan = tried({"target": 0.99, "phases": ["fault"]}, case("a", populations=("tokyo", "lima")))
    assert plan is not None
    assert plan.load.rate_per_s == pytest.approx(50.0)
    shares = {one.name: one.share for one in plan.target.populations}
    assert shares == {"tokyo": pytest.approx(0.6), "lima": pytest.approx(0.4)}


def test_without_a_fault_the_same_users_are_watched_in_calm() -> None:
    plan = tried({"target": 0.99, "phases": ["fault"]}, case())
    assert plan is not None
    assert (plan.steady_s, plan.faults, plan.objectives[0].spec["phases"]) == (12.0, (), ["steady"])


@pytest.mark.parametrize(
    ("kind", "spec", "trials", "phases"),
    [
        ("availability", {"phases": ["fault[a]", "fault[b]"]}, ("b",), ["fault[b]"]),
        ("availability", {"phases": ["fault[a]", "steady"]}, ("b",), ["steady"]),
        ("availability", {"phases": ["fault[a]"]}, ("b",), None),
        ("availability", {"phases": ["fault"]}, ("b",), ["fault"]),
        ("failover", {"fault": "a"}, ("b",), None),
        ("failover", {"fault": None}, (), None),
    ],
)
def test_an_objective_looks_at_what_is_left(
    kind: str, spec: dict[str, Any], trials: tuple[str, ...], phases: list[str] | None
) -> None:
    found = looks_at(objective(kind, **spec), case(*trials))
    assert (None if found is None else found.spec.get("phases")) == phases


def judged(
    objective_says: Verdict, validity: Verdict = PASS, overall: Verdict = FAIL, why: str = "so"
) -> Judgement:
    def finding(name: str, verdict: Verdict, why: str) -> Finding:
        return Finding(
            name=name,
            kind="availability",
            verdict=verdict,
            value=None,
            bound=None,
            limit=None,
            unit="",
            samples=0,
            why=why,
        )

    return Judgement(
        gate="g",
        verdict=overall,
        exit_code=1,
        plan_digest="",
        objectives=(finding("it", objective_says, "so"), finding("other", FAIL, "so")),
        validity=(finding("course", validity, why),),
    )


@pytest.mark.parametrize(
    ("judgement", "said"),
    [
        (judged(FAIL), Trying.FAILS),
        (judged(PASS), Trying.HOLDS),
        (judged(UNSURE), Trying.HOLDS),
        (judged(FAIL, validity=UNSURE), Trying.UNDECIDED),
        (judged(PASS, validity=UNSURE), Trying.UNDECIDED),
        (judged(FAIL, overall=Verdict.DIRTY), Trying.UNDECIDED),
        (judged(PASS, overall=Verdict.ERROR), Trying.UNDECIDED),
        (replace(judged(FAIL), objectives=()), Trying.UNDECIDED),
    ],
)
def test_only_a_run_in_order_says_anything(judgement: Judgement, said: Trying) -> None:
    assert outcome(judgement, "it") is said


def test_a_run_that_was_stopped_says_nothing_of_its_case() -> None:
    stopped = judged(FAIL, validity=Verdict.ABORTED, why="aborted: stopped by SIGINT")
    assert was_stopped(stopped)
    assert not was_stopped(judged(FAIL))


def test_the_objective_is_a_probe_over_the_users_of_the_last_seconds() -> None:
    slow = objective("latency", quantile=0.95, lte_ms=100.0, coverage=1, where={"op": ["read"]})
    (probe,) = hypothesis(slow, 4.0)
    assert probe["tolerance"] == {"type": "range", "range": [0, 100.0]}
    assert probe["provider"]["func"] == "latency_percentile"
    assert probe["provider"]["arguments"] == {
        "window_s": 4.0,
        "where": {"op": "read"},
        "percentile": 95.0,
    }
    answered = objective("availability", target=0.99, within_ms=2000.0, claim="conditional")
    (probe,) = hypothesis(answered, 0.1)
    assert probe["provider"]["arguments"] == {"window_s": 1.0, "within_ms": 2000.0}
    some = {"population": ["london", "lima"], "op": ["read"]}
    probes = hypothesis(replace(slow, spec={**slow.spec, "where": some}), 4.0)
    assert [one["provider"]["arguments"]["where"] for one in probes] == [
        {"population": "london", "op": "read"},
        {"population": "lima", "op": "read"},
    ]
    assert hypothesis(objective("failover", lte_s=5.0), 1.0) == []
