"""What a failed run's folder says was broken when; and each folder that cannot be played again."""

# ruff: noqa: E501 - tables read row by row

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stormgate.model import Fault, Finding, Judgement, Load, Plan, Target, Verdict, When
from stormgate.reproduce.recorded import NotReproducibleError, recorded

S = 1_000_000_000


@dataclass
class Folder:
    folder: Path = Path("reports/one")
    plan: Plan | None = None
    plan_is_sealed: bool = True
    timeline: list[dict[str, Any]] = field(default_factory=list)
    undo: list[dict[str, Any]] = field(default_factory=list)
    journals: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def plan(*faults: str) -> Plan:
    return Plan(
        gate="g",
        seed=1,
        confidence=0.95,
        target=Target(name="t"),
        load=Load(locustfile="loadtests/x.py", rate_per_s=10, users=10),
        warmup_s=1,
        steady_s=1,
        final_s=0,
        faults=tuple(Fault(name=f, experiment=f"{f}.yaml", recovery_s=5) for f in faults),
        objectives=(),
    ).sealed()


def judged(verdict: Verdict = Verdict.FAIL) -> Judgement:
    finding = Finding(
        name="answered",
        kind="availability",
        verdict=verdict,
        value=0.9,
        bound=0.91,
        limit=0.99,
        unit="share",
        samples=100,
        why="",
    )
    return Judgement(
        gate="g", verdict=verdict, exit_code=1, plan_digest="", objectives=(finding,), why="told"
    )


def broken(name: str, component: str, mode: str, at: tuple[float, ...], **more: Any) -> list[Any]:
    """The rows of one injection: requested, observed, and cleared where there is a third time."""
    events = ("fault.requested", "fault.observed", "fault.cleared")
    key = {"fault": name, "component": component, "mode": mode, "id": f"{component}@{at[0]}"}
    return [
        {"event": event, "at_ns": round(s * S), **key, **(more if event == events[0] else {})}
        for event, s in zip(events, at, strict=False)
    ]


def rollback(name: str, at_s: float) -> dict[str, Any]:
    return {"event": "chaos.rollback", "at_ns": round(at_s * S), "fault": name}


OURS = {"experiment": {"method": [{"type": "action", "name": "a", "provider": {"module": "stormgate.chaos.actions"}}]}}  # fmt: skip


def test_faults_that_overlap_flap_and_end_early_are_a_schedule() -> None:
    timeline = [
        {"event": "run.begin", "at_ns": 0, "lab_defect": "slow-failover"},
        *broken("f", "link:a->b", "slow", (10, 10.5), params={"latency_ms": 120, "jitter_ms": 0}),
        *broken("f", "cache", "crash", (12, 12.5, 14.5)),
        *broken("f", "cache", "crash", (15, 15.5, 17.0)),
        rollback("f", 20.5),
        *broken("f", "link:a->b", "slow", (99,))[1:],
    ]
    timeline += [{**timeline[1], "event": "fault.cleared", "at_ns": 22 * S}]
    run = recorded(Folder(plan=plan("f"), timeline=timeline, journals={"f": OURS}), judged())
    (trial,) = run.trials
    found = [
        (s.where, s.mode, s.start_s, s.length_s, s.fault, dict(s.params))
        for s in trial.schedule.segments
    ]
    assert found == [
        ("link:a->b", "slow", 0.0, 10.0, "slow link:a->b", {"latency_ms": 120, "jitter_ms": 0}),
        ("cache", "crash", 2.0, 2.0, "crash cache", {}),
        ("cache", "crash", 5.0, 1.5, "crash cache", {}),
    ]
    assert (run.lab_defect, run.gaps, trial.recovery_s) == ("slow-failover", (), 5)
    assert [finding.name for finding in run.failed] == ["answered"]
    assert run.places == ("link:a->b", "cache")


def test_a_partition_is_its_links_and_one_fault() -> None:
    rows = broken("f", "partition a | b", "blackhole", (1, 2, 5), parts=["link:a->b", "link:b->a"])
    run = recorded(Folder(plan=plan("f"), timeline=rows, journals={"f": OURS}), judged())
    segments = run.trials[0].schedule.segments
    assert [one.where for one in segments] == ["link:a->b", "link:b->a"]
    assert {one.fault for one in segments} == {"blackhole partition a | b"}


def test_parameters_of_older_runs_are_those_of_the_ledger() -> None:
    rows = broken("f", "link:a->b", "slow", (1, 2, 5)) + broken("f", "load", "surge", (2, 3, 4))
    undo = [
        {
            "step": "intent",
            "id": "1",
            "entry": {"instance": "link:a->b@1", "record": {"params": {"latency_ms": 80}}},
        },
        {
            "step": "intent",
            "id": "2",
            "entry": {
                "instance": "load@2",
                "mode": "surge",
                "record": {"factor": 3.0, "population": None, "folder": "/x"},
            },
        },
    ]
    run = recorded(Folder(plan=plan("f"), timeline=rows, undo=undo, journals={"f": OURS}), judged())
    assert [dict(s.params) for s in run.trials[0].schedule.segments] == [
        {"latency_ms": 80},
        {"factor": 3.0},
    ]
    assert run.places == ("link:a->b",)


def test_what_cannot_be_played_is_a_gap_and_never_left_out_in_silence() -> None:
    foreign = {"experiment": {"method": [{"type": "action", "name": "drain", "provider": {"module": "chaosk8s.node"}}]}}  # fmt: skip
    rows = [*broken("f", "cache", "crash", (1, 2, 5)), *broken("f", "web", "freeze", (3,))]
    run = recorded(
        Folder(plan=plan("f", "g", "h"), timeline=rows, journals={"f": foreign, "g": OURS}),
        judged(),
    )
    assert [one.name for one in run.trials] == ["f"]
    assert [(gap.what, gap.why) for gap in run.gaps] == [
        ("freeze web", "it was never seen to act, and taken back"),
        ("action 'drain' of f", "not an action of ours, not played"),
        ("g", "nothing was broken"),
        ("h", "no journal: actions that are not ours would not be known"),
        ("h", "nothing was broken"),
    ]


SHOWN = broken("f", "cache", "crash", (1, 2, 5))


@pytest.mark.parametrize(
    ("folder", "judgement", "where", "what"),
    [
        (Folder(problems=["plan.json: missing"]), judged(), "reports/one", "plan.json: missing"),
        (Folder(plan=plan("f"), plan_is_sealed=False, timeline=SHOWN), judged(), "plan.json", "not as it was sealed"),
        (Folder(plan=plan("f")), judged(), "timeline.ndjson", "no timeline"),
        (Folder(plan=plan("f"), timeline=SHOWN, problems=["timeline.ndjson:9: the last row is torn"]), judged(), "reports/one", "row is torn"),
        (Folder(plan=plan("f"), timeline=SHOWN), judged(Verdict.PASS), "reports/one", "this run passed"),
        (Folder(plan=plan("f"), timeline=SHOWN), judged(Verdict.INCONCLUSIVE), "reports/one", "no objective failed"),
        (Folder(plan=plan("f"), timeline=SHOWN[:2]), judged(), "fault 'f'", "nobody says when crash cache ended"),
        (Folder(plan=plan("f"), timeline=broken("f", "l", "slow", (1, 2, 5))), judged(), "fault 'f'", "nobody wrote down latency_ms"),
        (Folder(plan=plan("f"), timeline=[{"event": "run.begin", "at_ns": 0}]), judged(), "timeline.ndjson", "shows no fault"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_played_says_what_is_missing_and_where(
    folder: Folder, judgement: Judgement, where: str, what: str
) -> None:
    with pytest.raises(NotReproducibleError) as caught:
        recorded(folder, judgement)
    assert any(where in one[0] and what in one[1] for one in caught.value.problems)
    assert all(fix for *_, fix in caught.value.problems)


def test_a_run_without_faults_is_load_alone() -> None:
    timeline = [{"event": "run.begin", "at_ns": 0}]
    assert recorded(Folder(plan=plan(), timeline=timeline), judged()).trials == ()


def test_a_trial_that_overlapped_another_does_so_again_as_long_after_it_as_it_went() -> None:
    made = plan("slow", "kill")
    first, second = made.faults
    when = When(module="m", func="availability", tolerance=0.5, within_s=30)
    second = dataclasses.replace(second, overlaps="slow", after_s=2.0, when=when)
    timeline = [
        *broken("slow", "link:a->b", "slow", (10, 10.5), params={"latency_ms": 120}),
        {"event": "chaos.begin", "at_ns": 12 * S, "fault": "kill"},
        {"event": "chaos.triggered", "at_ns": 15 * S, "fault": "kill"},
        *broken("kill", "cache", "crash", (16, 16.5, 18)),
        rollback("slow", 20),
        rollback("kill", 18),
    ]
    folder = Folder(
        plan=dataclasses.replace(made, faults=(first, second)).sealed(),
        timeline=timeline,
        journals={"slow": OURS, "kill": OURS},
    )
    found = recorded(folder, judged())
    assert [(one.name, one.overlaps, one.after_s) for one in found.trials] == [
        ("slow", None, 0.0),
        ("kill", "slow", 5.0),
    ]
    (gap,) = found.gaps
    assert (gap.what, gap.why) == (
        "kill",
        "it waited for availability; it comes in its place, or at its time",
    )
