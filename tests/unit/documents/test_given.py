"""A short try changes how long and how much, never what must hold, and says what it left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.trial.given import parse_changes
from stormgate.judge.rules.short import check_short
from stormgate.model import Verdict

ROOT = Path(__file__).parents[3]
GATE = ROOT / "slas" / "chenu-release.yaml"


def test_values_are_read_as_yaml_reads_them() -> None:
    changes = parse_changes(
        ["phases.steady=20s", "load.workers=2", "spec.stop=certain"], 50.0, ["a"]
    )
    assert changes.values == (
        ("phases.steady", "20s"),
        ("load.workers", 2),
        ("stop", "certain"),
        ("load.ratePerS", 50.0),
    )
    assert changes.only_faults == ("a",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("phases.steady", "PATH=VALUE"),
        ("=3", "PATH=VALUE"),
        ("phases.steady= ", "PATH=VALUE"),
        ("objectives.0.target=1", "cannot be changed for a try"),
        ("validity.maxCpu=100%", "cannot be changed for a try"),
        ("waivers=x", "cannot be changed for a try"),
        ("confidence=0.6", "cannot be changed for a try"),
        ("load.locustfile=other.py", "cannot be changed for a try"),
        ("load.tags=[read]", "cannot be changed for a try"),
    ],
)
def test_what_must_hold_stays(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_changes([text], None, [])


def test_the_plan_is_changed_and_says_so() -> None:
    changes = parse_changes(["phases.steady=20s"], 50.0, [])
    plan = load_gate(GATE, changes=changes)
    assert (plan.steady_s, plan.load.rate_per_s) == (20.0, 50.0)
    assert plan.short == ("phases.steady=20s", "load.ratePerS=50")
    assert plan.digest == plan.sealed().digest
    found = check_short(plan)
    assert found is not None
    assert (found.verdict, found.why) == (
        Verdict.PASS,
        "a short try: phases.steady=20s, load.ratePerS=50",
    )


def test_a_fault_left_out_is_never_a_pass(tmp_path: Path) -> None:
    lay_out(tmp_path, "shop")
    gate = tmp_path / "slas" / "release.yaml"
    name = load_gate(gate).faults[0].name
    documents = list(YAML(typ="safe").load_all(gate.read_text()))
    spec = next(d["spec"] for d in documents if d["kind"] == "ReleaseGate")
    spec["faults"].append({**spec["faults"][0], "name": "again"})
    gate.write_text("\n---\n".join(json.dumps(document) for document in documents))
    assert [f.name for f in load_gate(gate).faults] == [name, "again"]
    plan = load_gate(gate, changes=parse_changes([], None, [name]))
    assert [f.name for f in plan.faults] == [name]
    found = check_short(plan)
    assert found is not None
    assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, "fault again was left out")


@pytest.mark.parametrize("phase", ["steady", "final"])
def test_a_judged_phase_of_no_length_is_never_a_pass(phase: str) -> None:
    plan = load_gate(GATE, changes=parse_changes([f"phases.{phase}=0s"], None, []))
    found = check_short(plan)
    assert found is not None
    assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, f"phases.{phase} was left out")


def test_a_whole_gate_has_no_such_rule() -> None:
    plan = load_gate(GATE)
    assert plan.short == ()
    assert check_short(plan) is None


@pytest.mark.parametrize(
    ("assignment", "faults", "says"),
    [
        ("phases.steady=soon", (), "steady"),
        ("phases.stedy=20s", (), "stedy"),
        ("phases.steady.more=1", (), "has no keys below it"),
        ("load.ratePerS=-1", (), "ratePerS"),
        ("phases.steady=20s", ("nope",), "the gate has no fault 'nope'"),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, faults: tuple[str, ...], says: str) -> None:
    with pytest.raises(DocumentErrors, match=says):
        load_gate(GATE, changes=parse_changes([assignment], None, faults))
