"""Proofs are kept for later runs, grow old, and are not made twice; what decided nothing displaces
nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stormgate.documents import load_gate
from stormgate.documents.violations.planner import Violation
from stormgate.model import (
    NO_WAY,
    PASSED_OVER,
    PROVED,
    UNDECIDED,
    VIOLATED,
    KnownProof,
    ObjectiveProof,
    Plan,
)
from stormgate.report.verdict import not_judged_yet
from stormgate.report.words import proved, told_of_run
from stormgate.supervise.proving.play import Provable, left, limits
from stormgate.supervise.proving.record import (
    keep,
    objective_digest,
    read_proofs,
    record_of,
    target_digest,
    with_proofs,
)

GATE = Path(__file__).parents[3] / "slas" / "chenu-release.yaml"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return replace(load_gate(GATE), started_utc=NOW.isoformat(timespec="seconds"))


def proof(plan: Plan, name: str, state: str = PROVED, *, days: float = 3.0) -> ObjectiveProof:
    objective = next(one for one in plan.objectives if one.name == name)
    return ObjectiveProof(
        objective=name,
        state=state,
        utc=(NOW - timedelta(days=days)).isoformat(timespec="seconds"),
        target=plan.target.name,
        run="reports/prove/x",
        key="k",
        objective_digest=objective_digest(objective),
        target_digest=target_digest(plan.target),
    )


def test_what_is_kept_is_found_and_the_newest_answer_counts(plan: Plan, tmp_path: Path) -> None:
    assert read_proofs(tmp_path, plan.gate) == []
    keep(tmp_path, plan.gate, [proof(plan, "failover", PASSED_OVER, days=9)])
    keep(tmp_path, plan.gate, [proof(plan, "failover"), proof(plan, "read-p95")])
    found = {one.objective: one.state for one in read_proofs(tmp_path, plan.gate)}
    assert found == {"failover": PROVED, "read-p95": PROVED}
    keep(tmp_path, plan.gate, [proof(plan, "failover", PASSED_OVER, days=0)])
    found = {one.objective: one.state for one in read_proofs(tmp_path, plan.gate)}
    assert found["failover"] == PASSED_OVER


@pytest.mark.parametrize("state", [UNDECIDED, NO_WAY])
def test_what_decided_nothing_displaces_nothing(plan: Plan, tmp_path: Path, state: str) -> None:
    keep(tmp_path, plan.gate, [proof(plan, "failover")])
    keep(tmp_path, plan.gate, [proof(plan, "failover", state, days=0)])
    assert [one.state for one in read_proofs(tmp_path, plan.gate)] == [PROVED]


def test_each_target_has_its_own(plan: Plan, tmp_path: Path) -> None:
    other = replace(plan, target=replace(plan.target, name="staging"))
    keep(tmp_path, plan.gate, [proof(plan, "failover"), proof(other, "failover", PASSED_OVER)])
    assert len(read_proofs(tmp_path, plan.gate)) == 2
    known = with_proofs(plan, tmp_path).proofs
    assert known is not None
    assert [(one.objective, one.state) for one in known] == [("failover", PROVED)]


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "x"}', '{"schema": "stormgate.proofs/1"}'])
def test_a_record_that_cannot_be_read_is_said_to_be_none(
    plan: Plan, tmp_path: Path, text: str
) -> None:
    path = record_of(tmp_path, plan.gate)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=plan.gate):
        read_proofs(tmp_path, plan.gate)
    assert with_proofs(plan, tmp_path).proofs == ()


def test_a_later_run_knows_the_age_and_what_has_changed(plan: Plan, tmp_path: Path) -> None:
    names = ("failover", "read-p95", "availability")
    keep(tmp_path, plan.gate, [proof(plan, name) for name in names])
    objectives = tuple(
        replace(one, spec={**one.spec, "lte_s": 60.0}) if one.name == "failover" else one
        for one in plan.objectives
    )
    changed = with_proofs(replace(plan, objectives=objectives), tmp_path).proofs
    assert changed is not None
    assert {one.objective: (one.days, one.changed) for one in changed} == {
        "failover": (3, "objective"),
        "read-p95": (3, ""),
        "availability": (3, ""),
    }
    target = replace(plan.target, allow=("127.0.0.1/32",))
    moved = with_proofs(replace(plan, target=target), tmp_path).proofs
    assert moved is not None
    assert {one.changed for one in moved} == {"target"}


def test_a_violation_says_nothing_of_proofs(plan: Plan, tmp_path: Path) -> None:
    keep(tmp_path, plan.gate, [proof(plan, "failover")])
    violated = replace(plan, short=(f"{VIOLATED} by x: y",))
    assert with_proofs(violated, tmp_path).proofs is None


def words(*proofs: KnownProof) -> list[str]:
    judgement = not_judged_yet(replace(load_gate(GATE), proofs=proofs))
    assert told_of_run(judgement)[-len(proved(judgement)) :] == proved(judgement)
    return proved(judgement)


def known(name: str, days: int, *, state: str = PROVED, changed: str = "") -> KnownProof:
    return KnownProof(
        objective=name, state=state, days=days, utc="x", changed=changed, run="reports/prove/x"
    )


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (known("a", 0), "a: proved today."),
        (known("a", 1), "a: proved yesterday."),
        (known("a", 3), "a: proved 3 days ago."),
        (known("a", 30), "a: proved 30 days ago."),
        (known("a", 31), "a: proved 31 days ago, over 30 days: prove it again."),
        (
            known("a", 3, changed="objective"),
            "a: proved 3 days ago, and the objective has changed since.",
        ),
        (
            known("a", 2, state=PASSED_OVER),
            "a passed over a violation 2 days ago: it can say nothing (reports/prove/x).",
        ),
        (
            known("a", 2, state=NO_WAY),
            "No objective has been proved able to fail on this target (stormgate prove).",
        ),
    ],
)
def test_the_age_in_words(one: KnownProof, says: str) -> None:
    assert words(one) == [says]


def test_objectives_of_one_age_share_a_line_and_none_says_so_once() -> None:
    assert words(known("a", 3), known("b", 3), known("c", 40)) == [
        "a, b: proved 3 days ago.",
        "c: proved 40 days ago, over 30 days: prove it again.",
    ]
    assert len(words()) == 1
    assert proved(not_judged_yet(load_gate(GATE))) == []


def test_a_stopped_proof_goes_on_where_it_stood(plan: Plan) -> None:
    def trial(key: str, *objectives: str) -> Provable:
        violation = Violation(name=key, told="", objectives=objectives)
        return Provable(violation, plan, plan, key)

    trials = [trial("k", "failover", "availability"), trial("other", "read-p95")]
    now = datetime.now(UTC).isoformat()
    both = [replace(proof(plan, n), utc=now) for n in ("failover", "availability")]
    assert left(trials, both) == trials[1:]
    assert left(trials, both[:1]) == trials
    # Another gate, target or violation has another key; an undecided answer is none; 30 days.
    assert left(trials, [replace(one, key="z") for one in both]) == trials
    assert left(trials, [replace(one, state=UNDECIDED) for one in both]) == trials
    old = (datetime.now(UTC) - timedelta(days=32)).isoformat()
    assert left(trials, [replace(one, utc=old) for one in both]) == trials
    assert left(trials, [replace(one, state=PASSED_OVER) for one in both]) == trials[1:]


def test_why_no_harsher_violation_is_made() -> None:
    slow = Violation(name="late", told="", objectives=("a", "b"), latency_ms=10_000, within=("a",))
    assert limits(slow) == {"a": "its limit allows even 10000 ms more"}
    long = Violation(name="unanswered", told="", objectives=("a",), hold_s=50, within=("a",))
    assert "allows even 50 s of this" in limits(long)["a"]


def test_the_record_is_for_people_too(plan: Plan, tmp_path: Path) -> None:
    keep(tmp_path, plan.gate, [proof(plan, "failover")])
    data = json.loads(record_of(tmp_path, plan.gate).read_text())
    assert data["schema"] == "stormgate.proofs/1"
    assert data["proofs"][0]["objective"] == "failover"
