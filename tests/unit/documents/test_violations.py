"""What would be violated on which target, by what, and what nothing violates; a violated gate asks
the same of its objectives, in the phase of the violation.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.trial.given import Changes
from stormgate.documents.violations.derive import derive, experiment_of
from stormgate.documents.violations.planner import Proving, Violation, plan_violations
from stormgate.documents.violations.rewrite import Violated
from stormgate.judge.registry import kinds
from stormgate.model import VIOLATED, Component, Objective, Plan, Population, Target

ROOT = Path(__file__).parents[3]
LAB = ROOT / "slas" / "chenu-release.yaml"
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  environment: ENVIRONMENT
  allow: [127.0.0.0/8]
  regions: [{name: eu, latitude: 50, longitude: 8}, {name: us, latitude: 40, longitude: -74}]
  populations:
    - name: eu-users
      share: 60%
      latitude: 50
      longitude: 8
      edges: [eu]
      links: {eu: "http://127.0.0.1:18081"}
    - name: us-users
      share: 40%
      latitude: 40
      longitude: -74
      edges: [us]
      links: {us: "http://127.0.0.1:18082"}
"""
EDGE = """\
    - name: NAME/edge
      kind: edge
      region: NAME
      backend: process
      handle: {pidFile: run/NAME.pid, start: ["true"]}
      observe: {protocol: http, address: "127.0.0.1:PORT", path: /healthz}
"""
GATE = """\
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {name: first}
spec:
  target: ../targets/shop.yaml
  load: {locustfile: ../loadtests/users.py, ratePerS: 60}
  phases: {warmup: 20s, steady: 60s, final: 30s}
  faults:
    - {name: dead, experiment: ../experiments/dead.yaml, recovery: 10s, ratePerWindow: 2}
  objectives:
    - {name: availability, kind: availability, target: 0.99, phases: [steady, final]}
    - {name: p95, kind: latency, quantile: 95%, lte: 200ms, phases: [steady, "fault[dead]"]}
    - {name: failover, kind: failover, lte: 4s, within: 1s, fault: dead}
    - name: as-before
      kind: ratio
      quantile: 50%
      lte: 1.2
      phases: [recovery]
      versus: ["fault[dead]"]
    - {name: back, kind: failback, settle: 2s, labels: [outcome], fault: dead}
    - {name: honest, kind: deployLoss, where: {outcome: [wrong_body]}}
  abort: {errorRate: {gt: 10%, for: 2s}, maxFaultDuration: 40s}
  waivers: [{objective: p95, owner: me, reason: it is known and small, expires: 2099-01-01}]
"""


def suite(folder: Path, components: str, *, environment: str = "test", gate: str = GATE) -> Path:
    for name in ("targets", "slas", "loadtests", "experiments"):
        (folder / name).mkdir()
    target = TARGET.replace("ENVIRONMENT", environment) + components
    (folder / "targets" / "shop.yaml").write_text(target)
    (folder / "loadtests" / "users.py").write_text("from locust import HttpUser\n")
    (folder / "slas" / "first.yaml").write_text(gate)
    dead = experiment_of("dead", Violation(name="dead", told="dead", objectives=("x",)), False)
    surge = {"component": "eu/edge", "mode": "crash"}
    provider = {**dead["rollbacks"][0]["provider"], "func": "break_component", "arguments": surge}
    if "eu/edge" not in components:
        provider |= {"func": "load_surge", "arguments": {"factor": 2}}
    dead["method"] = [{"type": "action", "name": "x", "provider": provider}]
    hold = {**provider, "func": "hold", "arguments": {"seconds": 20}}
    dead["method"].append({"type": "action", "name": "hold", "provider": hold})
    (folder / "experiments" / "dead.yaml").write_text(json.dumps(dead))
    return folder / "slas" / "first.yaml"


def edges(*names: str) -> str:
    ports = {"eu": "18081", "us": "18082"}
    parts = [EDGE.replace("NAME", name).replace("PORT", ports[name]) for name in names]
    return "  components:\n" + "".join(parts)


def links(*names: str) -> str:
    ports = {"eu": "18081", "us": "18082"}
    rows = [f'{{from: {n}-users, to: {n}, upstream: "127.0.0.1:{ports[n]}"}}' for n in names]
    return "  links:\n" + "".join(f"    - {row}\n" for row in rows)


def planned(gate: Path, folder: Path, **more: Any) -> tuple[Proving, dict[str, Plan]]:
    plan, derived = load_gate(gate), {}

    def accept(violation: Violation) -> str | None:
        try:
            derived[violation.name] = derive(gate, plan, violation, folder)
        except DocumentErrors as errors:
            return str(errors)
        return None

    return plan_violations(plan, accept, **more), derived


def by_name(proving: Proving) -> dict[str, Violation]:
    return {one.name: one for one in proving.violations}


def broken(violation: Violation) -> list[tuple[Any, Any]]:
    assert violation.way is not None
    return [(a.get("component"), a.get("mode")) for _, a in violation.way.actions]


def test_users_links_are_the_first_choice(tmp_path: Path) -> None:
    gate = suite(tmp_path, edges("eu", "us") + links("eu", "us"))
    proving, _ = planned(gate, tmp_path / "out")
    found = by_name(proving)
    names = ["link:eu-users->eu", "link:us-users->us"]
    assert set(found) == {"unanswered", "late"}
    assert broken(found["unanswered"]) == [(names, "blackhole")]
    assert broken(found["late"]) == [(names, "slow")]
    assert found["unanswered"].objectives == ("availability", "failover")
    assert found["late"].objectives == ("p95", "as-before")
    # Half as much again as the laxest limit; and what failover's smallest cell cannot see.
    assert found["late"].latency_ms == 950
    assert found["unanswered"].hold_s == pytest.approx(4 + 2 * 2 / (60 * 0.2) + 1, abs=0.1)
    assert found["unanswered"].within == found["late"].within == ()


def test_edges_are_broken_where_no_link_is_and_failures_are_late(tmp_path: Path) -> None:
    proving, _ = planned(suite(tmp_path, edges("eu", "us")), tmp_path / "out")
    (only,) = proving.violations
    assert broken(only) == [(["eu/edge", "us/edge"], "crash")]
    assert set(only.objectives) == {"availability", "failover", "p95", "as-before"}


def test_a_population_with_a_way_around_is_not_cut_off(tmp_path: Path) -> None:
    proving, _ = planned(suite(tmp_path, edges("us")), tmp_path / "out")
    (only,) = proving.violations
    assert broken(only) == [(["us/edge"], "crash")]
    assert only.way is not None
    assert only.way.populations == ("us-users",)
    # Four in ten meet it, so it stands the longer: the others are served meanwhile.
    whole = tmp_path / "whole"
    whole.mkdir()
    everybody, _ = planned(suite(whole, edges("eu", "us")), tmp_path / "out")
    assert only.hold_s > everybody.violations[0].hold_s
    assert only.within == ()


def test_a_blast_radius_leaves_one_population(tmp_path: Path) -> None:
    text = GATE.replace("  abort:", "  blastRadius: {maxRegions: 1, maxUsers: 100%}\n  abort:")
    proving, _ = planned(suite(tmp_path, edges("eu", "us"), gate=text), tmp_path / "out")
    (only,) = proving.violations
    assert broken(only) == [(["eu/edge"], "crash")]


def test_what_the_documents_forbid_is_told_as_they_tell_it(tmp_path: Path) -> None:
    text = GATE.replace("  abort:", "  blastRadius: {maxRegions: 1, maxUsers: 1%}\n  abort:")
    gate = suite(tmp_path, edges("eu", "us"), gate=text)
    plan = load_gate(_wide(tmp_path))

    def accept(violation: Violation) -> str | None:
        try:
            derive(gate, plan, violation, tmp_path / "out")
        except DocumentErrors as errors:
            return str(errors)
        return None

    proving = plan_violations(plan, accept)
    assert proving.violations == ()
    why = {one.objective: one.why for one in proving.unviolated}
    assert "blastRadius allows" in why["failover"]


def _wide(tmp_path: Path) -> Path:
    folder = tmp_path / "wide"
    folder.mkdir()
    return suite(folder, edges("eu", "us"))


def test_without_anything_to_break_there_is_a_crowd(tmp_path: Path) -> None:
    proving, _ = planned(suite(tmp_path, ""), tmp_path / "out")
    (only,) = proving.violations
    assert only.name == "crowded"
    assert only.way is not None
    assert only.way.actions == (("load_surge", {"factor": 20.0}),)
    assert set(only.objectives) == {"availability", "p95", "as-before"}
    why = {one.objective: one.why for one in proving.unviolated}
    assert "can be broken" in why["failover"]
    assert "stormgate wire" in why["failover"]


def test_what_no_broken_part_violates_is_listed_with_its_reason(tmp_path: Path) -> None:
    proving, _ = planned(suite(tmp_path, edges("eu", "us")), tmp_path / "out")
    why = {one.objective: one.why for one in proving.unviolated}
    assert set(why) == {"back", "honest"}
    assert "after a fault was taken back" in why["back"]
    assert "some outcomes alone" in why["honest"]
    assert all("--by" in one for one in why.values())


def test_every_kind_says_how_it_is_violated_or_why_not(tmp_path: Path) -> None:
    proving, _ = planned(LAB, tmp_path)
    assert {v.name: v.objectives for v in proving.violations} == {
        "late": ("read-p95", "write-p95"),
        "stale": ("fresh",),
        "unanswered": ("availability", "failover"),
    }
    stale = by_name(proving)["stale"]
    assert stale.hold_s >= 6 + 5, "what is read is too old only after 6 s, and then has to be read"
    listed = {one.objective for one in proving.unviolated}
    assert listed == {"no-loss", "eu-only", "converged", "honest-errors"}
    assert all(kind.breach for kind in kinds().values())


def test_an_experiment_of_ones_own_stands_for_its_objective(tmp_path: Path) -> None:
    gate = suite(tmp_path, edges("eu", "us"))
    own = str(tmp_path / "experiments" / "dead.yaml")
    proving, derived = planned(gate, tmp_path / "out", only=("back",), by={"back": own})
    (one,) = proving.violations
    assert (one.name, one.objectives, one.experiment) == ("by-back", ("back",), own)
    assert derived["by-back"].faults[0].experiment == "experiments/dead.yaml"


def test_only_those_named_are_violated(tmp_path: Path) -> None:
    gate = suite(tmp_path, edges("eu", "us"))
    proving, _ = planned(gate, tmp_path / "out", only=("failover",))
    assert [v.objectives for v in proving.violations] == [("failover",)]
    assert proving.unviolated == ()


def test_a_limit_that_no_fault_of_the_gate_exceeds_is_told() -> None:
    budget = {"target": 0.99, "lte": 0.5}
    plan = _plan(Objective(name="spend", kind="budgetSpend", spec=budget))
    proving = plan_violations(plan, lambda violation: None)
    (only,) = proving.violations
    assert only.within == ("spend",)
    assert only.hold_s == plan.guard.max_fault_s - 10


def test_an_objective_over_users_that_nothing_reaches_is_told() -> None:
    where = {"population": ["them"]}
    plan = _plan(Objective(name="a", kind="availability", spec={"target": 0.9, "where": where}))
    proving = plan_violations(plan, lambda violation: None)
    assert proving.violations[0].way is not None
    # Their edge is no component: all parts of a kind are broken, and who is reached is not known.
    assert proving.violations[0].way.populations == ()


def _plan(objective: Objective) -> Plan:
    edge = Component(name="eu", kind="edge", backend="process", region="eu")
    people = (
        Population(name="us", share=0.5, latitude=0, longitude=0, edges=("eu",)),
        Population(name="them", share=0.5, latitude=0, longitude=0, edges=("elsewhere",)),
    )
    plan = load_gate(LAB)
    target = Target(name="t", components=(edge,), populations=people)
    return replace(plan, target=target, objectives=(objective,))


def test_a_violated_gate_asks_the_same_in_the_phase_of_the_violation(tmp_path: Path) -> None:
    gate = suite(tmp_path, edges("eu", "us"))
    plan = load_gate(gate)
    _, derived = planned(gate, tmp_path / "out")
    violated = derived["unanswered"]
    assert [f.name for f in violated.faults] == ["unanswered"]
    assert violated.faults[0].rate_per_window == 2
    assert (violated.warmup_s, violated.steady_s, violated.final_s) == (3, 6, 1)
    assert violated.short[0].startswith(VIOLATED)
    assert violated.waivers == ()
    assert violated.guard.error_rate is None
    assert violated.guard.max_fault_s == plan.guard.max_fault_s
    asked = {one.name: one for one in violated.objectives}
    assert set(asked) == {"availability", "failover", "p95", "as-before"}
    moved = {"phases", "versus", "fault"}
    for one in plan.objectives:
        if one.name in asked:
            spec = asked[one.name].spec
            assert {k: v for k, v in spec.items() if k not in moved} == {
                k: v for k, v in one.spec.items() if k not in moved
            }
            assert asked[one.name].source == one.source
    assert list(asked["availability"].spec["phases"]) == ["fault"]
    assert list(asked["as-before"].spec["versus"]) == ["steady"]
    assert asked["failover"].spec["fault"] == "unanswered"


def test_in_production_the_guard_over_errors_stays(tmp_path: Path) -> None:
    text = GATE.replace("  abort:", "  blastRadius: {maxRegions: 2, maxUsers: 100%}\n  abort:")
    gate = suite(tmp_path, edges("eu", "us"), environment="production", gate=text)
    plan = load_gate(gate, allow_production=True)
    seen: list[Plan] = []

    def accept(violation: Violation) -> str | None:
        with pytest.raises(DocumentErrors, match="allow-production"):
            derive(gate, plan, violation, tmp_path / "out")
        out = tmp_path / "out"
        seen.append(derive(gate, plan, violation, out, allow_production=True))
        return None

    plan_violations(plan, accept)
    assert seen[0].guard.error_rate == 0.1


def test_a_gate_without_a_spec_is_told_as_any_other(tmp_path: Path) -> None:
    gate = suite(tmp_path, edges("eu", "us"), gate=GATE.replace("spec:", "spek:"))
    phases = {"warmup": 1.0, "steady": 1.0, "final": 1.0}
    violated = Violated(
        fault="x",
        told="x",
        experiment=tmp_path / "no.json",
        objectives=(),
        phases=phases,
        recovery_s=1,
    )
    with pytest.raises(DocumentErrors, match="spek"):
        load_gate(gate, changes=Changes(violated=violated))
