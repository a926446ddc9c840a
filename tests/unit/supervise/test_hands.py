"""Faults by hand without a process: the phases they make, how long and how far they may reach, and
the words they are given in.
"""

import click
import pytest
from pydantic import BaseModel, ConfigDict

from stormgate.commands.gameday.chosen import parameters
from stormgate.evidence.read import phases_of, read_ndjson
from stormgate.evidence.timeline import fault_windows
from stormgate.evidence.write import Timeline
from stormgate.judge.rules.phases import misplaced_phases
from stormgate.model import (
    LEFT_OUT,
    Component,
    Event,
    Fault,
    Guard,
    Load,
    Plan,
    Population,
    Region,
    Target,
)
from stormgate.supervise.hands.course import Course
from stormgate.supervise.hands.drive import driven_plan
from stormgate.supervise.hands.rules import (
    Bounds,
    Refused,
    hold_bounds,
    hold_production,
    stands_s,
)

S = 1_000_000_000


def plan(environment="laboratory", error_rate=None, faults=()):
    regions = tuple(Region(name=name, latitude=0, longitude=0) for name in ("north", "south"))
    edges = tuple(
        Component(name=f"{region.name}/edge", kind="edge", backend="command", region=region.name)
        for region in regions
    )
    populations = tuple(
        Population(name=name, share=share, latitude=0, longitude=0, edges=(f"{name}/edge",))
        for name, share in (("north", 0.8), ("south", 0.2))
    )
    target = Target(
        name="t",
        environment=environment,
        regions=regions,
        components=edges,
        populations=populations,
    )
    return Plan(
        gate="g",
        seed=1,
        confidence=0.95,
        target=target,
        load=Load(locustfile="u.py", rate_per_s=10, users=10),
        warmup_s=1,
        steady_s=60,
        final_s=20,
        faults=faults,
        objectives=(),
        guard=Guard(error_rate=error_rate, max_fault_s=60),
    )


def played(tmp_path, rows):
    """The phases that a course makes of these rows, (event, fault, second)."""
    course = Course(Timeline(tmp_path))
    course.begin("steady", 0)
    for event, fault, second in rows:
        row = {"at_ns": second * S, "event": str(event), "fault": fault, "id": fault}
        course.timeline.write(event, at_ns=row["at_ns"], fault=fault, id=fault)
        course.note(row)
    course.begin("final", 100 * S)
    course.end(110 * S)
    return course, read_ndjson(tmp_path / "timeline.ndjson")[0]


REQUESTED, ROLLBACK = Event.FAULT_REQUESTED, Event.CHAOS_ROLLBACK


def test_each_fault_has_its_phases_to_the_nanosecond(tmp_path):
    rows = [
        (Event.CHAOS_BEGIN, "a", 8),  # not yet: it may still be refused
        (REQUESTED, "a", 10),
        (REQUESTED, "a", 10),  # its second part
        (ROLLBACK, "a", 20),
        (Event.CHAOS_END, "a", 22),
        (REQUESTED, "b", 40),
        (Event.CHAOS_END, "b", 45),  # withdrawn, never proven
    ]
    course, timeline = played(tmp_path, rows)
    phases = phases_of(timeline)
    assert [(p.name, p.begin_ns // S, p.end_ns // S) for p in phases] == [
        ("steady", 0, 10),
        ("fault[a]", 10, 20),
        ("recovery[a]", 20, 40),
        ("fault[b]", 40, 45),
        ("recovery[b]", 45, 100),
        ("final", 100, 110),
    ]
    faults = tuple(Fault(name=name, experiment="", recovery_s=1) for name in course.faults)
    windows = fault_windows(timeline, phases, faults)
    assert misplaced_phases(phases, windows, plan(faults=faults)) == []


def test_one_fault_within_another_makes_no_phase_of_its_own(tmp_path):
    rows = [(REQUESTED, "a", 10), (REQUESTED, "b", 12), (ROLLBACK, "b", 14), (ROLLBACK, "a", 20)]
    course, timeline = played(tmp_path, rows)
    assert course.faults == ["a", "b"], "it happened, and the judge will miss its phases"
    names = [phase.name for phase in phases_of(timeline)]
    assert names == ["steady", "fault[a]", "recovery[a]", "final"]


def test_a_load_by_hand_is_never_a_pass_of_its_gate():
    fault = Fault(name="f", experiment="e.yaml", recovery_s=9)
    driven = driven_plan(plan(faults=(fault,)), 100)
    assert driven.gate != "g"
    assert [told for told in driven.short if told.endswith(LEFT_OUT)]
    assert (driven.faults, driven.steady_s, driven.final_s) == ((), 90, 10)
    assert driven_plan(plan(), 1000).final_s == 20, "no longer than the gate's own"


@pytest.mark.parametrize(
    ("asked_s", "within_gate", "stands"),
    [(None, False, 600), (None, True, 48), (30, True, 30), (48, True, 48), (3600, False, 3600)],
)
def test_how_long_a_fault_may_stand(asked_s, within_gate, stands):
    assert stands_s(asked_s, plan() if within_gate else None) == stands


@pytest.mark.parametrize(
    ("asked_s", "within_gate"),
    [(0, False), (-1, False), (3601, False), (49, True), (float("nan"), 0)],
)
def test_and_how_long_not(asked_s, within_gate):
    with pytest.raises(Refused):
        stands_s(asked_s, plan() if within_gate else None)


def test_a_blast_radius_is_held_wherever_it_is_said():
    one = plan()
    chosen = [one.target.components[0]]
    hold_bounds(one.target, chosen, "crash", Bounds(max_regions=1, max_users=0.8))
    with pytest.raises(Refused, match="80% of the users"):
        hold_bounds(one.target, chosen, "crash", Bounds(max_users=0.5))
    with pytest.raises(Refused, match="1 regions"):
        hold_bounds(one.target, chosen, "crash", Bounds(max_regions=0))


FULL = {"allowed": True, "named": True, "timed": True}


@pytest.mark.parametrize(
    ("change", "error_rate", "bounds", "why"),
    [
        ({"allowed": False}, 0.1, Bounds(1, 0.1), "--allow-production"),
        ({}, None, Bounds(1, 0.1), "abort rule"),
        ({}, 0.1, Bounds(1, None), "blast radius"),
        ({}, 0.1, Bounds(), "blast radius"),
        ({"named": False}, 0.1, Bounds(1, 0.1), "named"),
        ({"timed": False}, 0.1, Bounds(1, 0.1), "for how long"),
        ({}, 0.1, Bounds(1, 0.1), None),
    ],
)
def test_production_wants_what_a_gate_wants(change, error_rate, bounds, why):
    one = plan("production", error_rate)
    if why is None:
        hold_production(one.target, one, bounds, **FULL)
        return
    with pytest.raises(Refused, match=why):
        hold_production(one.target, one, bounds, **{**FULL, **change})


class Slow(BaseModel):
    latency_ms: int
    jitter_ms: int = 0
    share: float = 1
    rate_kb_per_s: int = 1
    grace_s: float = 1


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(
    ("words", "model", "found"),
    [
        (["--latency", "150ms", "--jitter=20ms"], Slow, {"latency_ms": 150, "jitter_ms": 20}),
        (["--latency-ms", "150"], Slow, {"latency_ms": 150}),
        (["--latency", "1.5s", "--share", "20%"], Slow, {"latency_ms": 1500, "share": 0.2}),
        (["--rate-kb-per-s", "64", "--grace", "2s"], Slow, {"rate_kb_per_s": 64, "grace_s": 2}),
        (
            ["--level", "2", "--wait", "30ms", "--to", "x"],
            Anything,
            {"level": 2, "wait_ms": 30, "to": "x"},
        ),
        ([], Slow, {}),
    ],
)
def test_parameters_as_people_write_them(words, model, found):
    assert parameters(words, model) == found


@pytest.mark.parametrize(
    "words", [["--latncy", "1ms"], ["--latency"], ["--latency", "soon"], ["--latency", "1ms", "eu"]]
)
def test_a_slip_in_a_parameter_is_told(words):
    with pytest.raises(click.UsageError):
        parameters(words, Slow)


def test_a_lab_that_runs_is_driven_and_not_started_another_time(tmp_path, monkeypatch):
    import json

    from stormgate.commands.gameday.load import standing_target
    from stormgate.model import to_json

    lab = Target(name="lab", provision={"lab": {}}, populations=plan().target.populations)
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(to_json(lab)))
    shared, standing = standing_target(None, None, path)
    assert shared.provision is None
    assert standing is not None
    assert standing.target.provision is not None, "what is left of it is nothing once it is gone"
    monkeypatch.setenv("STORMGATE_TARGET", str(path))
    assert standing_target(None, None, None)[0].provision is None
