"""A fault on what nobody uses proves nothing: who testifies that it was in use, and who not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import RESET, Rows, S, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.model import Component, Finding, Observe, Plan, Population, Target, Verdict

USED = {"used": True, "saw": "3 connections"}
UNUSED = {"used": False, "saw": "no connection"}
UNKNOWN = {"used": None, "saw": "not on this machine"}
FAILOVER = objective("failover", lte_s=15)


def component(name: str = "made-up", **more: Any) -> Component:
    return Component(**{"name": name, "kind": "service", "backend": "process", **more})


def trial(*components: Component, **target: Any) -> tuple[Plan, Rows]:
    plan = plan_of([FAILOVER], steady_s=30, faults=["kill"])
    changed = replace(plan.target, components=components, **target)
    plan = replace(plan, target=changed).sealed()
    return plan, rows_of(plan)


def exposure(plan: Plan, rows: Rows, said: Any, **more: Any) -> Finding:
    run = synthetic(plan, rows)
    for row in run.timeline:
        if row["event"] == "fault.requested":
            row.update(exposure=said, **more)
            if said == "absent":
                del row["exposure"]
    judgement = judge(run)
    found = next(f for f in judgement.validity if f.name == "exposure")
    assert (judgement.verdict is Verdict.PASS) is (found.verdict is Verdict.PASS)
    return found


@pytest.mark.parametrize(
    ("said", "verdict", "words"),
    [
        (USED, Verdict.PASS, ""),
        (UNUSED, Verdict.INCONCLUSIVE, "nobody used it: no connection"),
        (UNKNOWN, Verdict.INCONCLUSIVE, "as far as anyone can tell: not on this machine"),
        (None, Verdict.INCONCLUSIVE, "nobody looked"),
        ("absent", Verdict.INCONCLUSIVE, "nobody looked"),
        ({"used": True, "saw": " "}, Verdict.INCONCLUSIVE, "does not say what was seen"),
        ({"used": 1, "saw": "x"}, Verdict.INCONCLUSIVE, "not true, false or null"),
        ({"saw": "x"}, Verdict.INCONCLUSIVE, "used: missing"),
        ([], Verdict.INCONCLUSIVE, "not {used, saw}"),
    ],
)
def test_what_the_backend_saw(said: Any, verdict: Verdict, words: str) -> None:
    found = exposure(*trial(), said)
    assert found.verdict is verdict
    assert words in found.why


@pytest.mark.parametrize(
    ("traffic", "said", "verdict"),
    [
        ("none", UNUSED, Verdict.PASS),
        ("none", "absent", Verdict.PASS),
        ("assured", UNKNOWN, Verdict.PASS),
        # A word does not stand against what was seen.
        ("assured", UNUSED, Verdict.INCONCLUSIVE),
        ("seen", UNUSED, Verdict.INCONCLUSIVE),
    ],
)
def test_what_the_target_declares(traffic: str, said: Any, verdict: Verdict) -> None:
    assert exposure(*trial(component(traffic=traffic)), said).verdict is verdict


def test_a_group_is_a_standby_only_when_all_of_it_is() -> None:
    one, two = component("one", traffic="none"), component("two")
    parts = {"component": "both", "parts": ["one", "two"]}
    assert exposure(*trial(one, two), UNUSED, **parts).verdict is Verdict.INCONCLUSIVE
    both = replace(two, traffic="none")
    assert exposure(*trial(one, both), UNUSED, **parts).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("broken", "verdict"),
    [
        (component("eu"), Verdict.PASS),  # served_by says its name
        (component("web", region="eu"), Verdict.PASS),
        (component("web", region="us"), Verdict.INCONCLUSIVE),
        (component("db", kind="database", attributes={"shard": "s1"}), Verdict.PASS),
        (component("db", kind="database", attributes={"shard": "s9"}), Verdict.INCONCLUSIVE),
        # Its facts are what counts: another shard of a region that serves is not in use.
        (
            component("db", kind="database", region="eu", attributes={"shard": "s9"}),
            Verdict.INCONCLUSIVE,
        ),
        # The region serves, and its cache was asked by nobody.
        (component("eu/cache", kind="cache", region="eu"), Verdict.INCONCLUSIVE),
        # That its region serves says nothing of one way there.
        (component("link", kind="link", region="eu"), Verdict.INCONCLUSIVE),
    ],
)
def test_labels_of_answers_testify(broken: Component, verdict: Verdict) -> None:
    plan, rows = trial(broken)
    rows.served_by[:] = 0
    found = exposure(plan, rows, UNUSED, component=broken.name)
    assert found.verdict is verdict
    if verdict is Verdict.PASS:
        assert "were served by" in found.detail["seen"][f"kill: {broken.name}"]


def test_a_cache_that_answered_was_in_use() -> None:
    plan, rows = trial(component("eu/cache", kind="cache", region="eu"))
    rows.served_by[:], rows.cache[:] = 0, 1
    assert exposure(plan, rows, UNUSED, component="eu/cache").verdict is Verdict.PASS


def test_only_answers_just_before_testify() -> None:
    plan, rows = trial(component("web", region="eu"))
    run = synthetic(plan, rows)
    at = next(r["at_ns"] for r in run.timeline if r["event"] == "fault.requested")
    rows.served_by[:] = np.where(rows.intended_ns < at - 11 * S, 0, 1)
    assert exposure(plan, rows, UNKNOWN, component="web").verdict is Verdict.INCONCLUSIVE
    rows.served_by[:] = np.where(rows.intended_ns > at, 0, 1)
    assert exposure(plan, rows, UNKNOWN, component="web").verdict is Verdict.INCONCLUSIVE


def test_a_fact_known_before_any_answer_says_nothing_of_who_answered() -> None:
    users = (
        Population(name="london", share=1, latitude=0, longitude=0, labels={"served_by": "eu"}),
    )
    plan, rows = trial(component("web", region="eu"), populations=users)
    rows.served_by[:] = 0
    assert exposure(plan, rows, UNKNOWN, component="web").verdict is Verdict.INCONCLUSIVE
    plan, rows = trial(
        component("web", region="eu"), populations=users, observe={"served_by": "x-region"}
    )
    rows.served_by[:] = 0
    assert exposure(plan, rows, UNKNOWN, component="web").verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("links", "verdict"),
    [
        ({"home": "http://10.0.0.5:80"}, Verdict.PASS),
        ({"home": "http://10.0.0.5:80/v1"}, Verdict.PASS),
        ({"home": "http://10.0.0.5:80", "away": "http://10.0.0.6:80"}, Verdict.INCONCLUSIVE),
        ({"home": "http://10.0.0.5:8080"}, Verdict.INCONCLUSIVE),
        ({}, Verdict.INCONCLUSIVE),
    ],
)
def test_users_who_have_only_one_address_to_dial(links: dict[str, str], verdict: Verdict) -> None:
    web = component("web", observe=Observe(protocol="http", address="10.0.0.5:80"))
    users = (Population(name="london", share=1, latitude=0, longitude=0, links=links),)
    plan, rows = trial(web, populations=users)
    assert exposure(plan, rows, UNKNOWN, component="web").verdict is verdict


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("absent", Verdict.PASS), (UNKNOWN, Verdict.PASS), (UNUSED, Verdict.PASS)],
)
def test_users_who_failed_when_it_broke_met_it(said: Any, verdict: Verdict) -> None:
    plan, rows = trial(component("web"))
    run = synthetic(plan, rows)
    at = next(r["at_ns"] for r in run.timeline if r["event"] == "fault.requested")
    rows.outcome[(rows.intended_ns >= at) & (rows.intended_ns < at + S)] = RESET
    found = exposure(plan, rows, said, component="web")
    assert found.verdict is verdict
    assert "failed while it stood" in found.detail["seen"]["kill: web"]


def test_errors_as_before_are_not_felt() -> None:
    plan, rows = trial(component("web"))
    rows.outcome[::400] = RESET
    assert exposure(plan, rows, UNKNOWN, component="web").verdict is Verdict.INCONCLUSIVE


def test_more_users_break_nothing() -> None:
    assert exposure(*trial(), "absent", mode="surge").verdict is Verdict.PASS


def test_without_faults_nothing_is_asked() -> None:
    plan = plan_of([objective("availability", target=0.99, phases=["steady"])], steady_s=30)
    judgement = judge(synthetic(plan, rows_of(plan)))
    assert next(f for f in judgement.validity if f.name == "exposure").verdict is Verdict.PASS
    assert Target(name="x").components == ()
