"""Faults that stand together: whose window a moment is in, what is counted once, and what shows
nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import RESET, Rows, S, objective, phase_window, plan_of, rows_of
from tests.golden.judge_writer import synthetic as made

from stormgate.evidence.timeline import select
from stormgate.judge import judge
from stormgate.judge.planning import assess
from stormgate.judge.synthetic import MadePhase, MemoryRun, stretches_of
from stormgate.model import Event, Judgement, Plan, Verdict, expected_spans, groups

OBJECTIVES = (
    objective("availability", target=0.9, phases=("fault", "recovery")),
    objective("failover", lte_s=5),
)


def overlapping(after_s: float = 5.0, **more: Any) -> Plan:
    """A slow link (fault[slow] 20 s), and a kill that begins 5 s after it and outlasts it."""
    plan = plan_of(OBJECTIVES, steady_s=60, faults=["slow", "kill"])
    first, second = plan.faults
    second = dataclasses.replace(second, overlaps="slow", after_s=after_s, **more)
    return dataclasses.replace(plan, faults=(first, second)).sealed()


@pytest.fixture(scope="module")
def plan() -> Plan:
    return overlapping()


@pytest.fixture
def rows(plan: Plan) -> Rows:
    return rows_of(plan)


def found(judgement: Judgement, name: str) -> Any:
    return next(f for f in (*judgement.objectives, *judgement.validity) if f.name == name)


def at(run: MemoryRun, fault: str, event: Event) -> int:
    return next(r["at_ns"] for r in run.timeline if r.get("fault") == fault and r["event"] == event)


def down(plan: Plan, rows: Rows, begin_ns: int, length_s: float) -> MemoryRun:
    """London is down for so long."""
    hit = (rows.intended_ns >= begin_ns) & (rows.intended_ns < begin_ns + round(length_s * S))
    rows.outcome[hit & (rows.population == 0)] = RESET
    return made(plan, rows)


def test_a_fault_comes_with_all_that_overlap_it_after_the_one_it_overlaps(plan: Plan) -> None:
    slow, kill = plan.faults
    last = dataclasses.replace(kill, name="last", overlaps="kill")
    alone = dataclasses.replace(slow, name="alone")
    assert groups((last, alone, kill, slow)) == ((alone,), (slow, kill, last))


def test_phases_are_expected_where_the_supervisor_plays_them(plan: Plan) -> None:
    spans = {name: (begin, end) for name, begin, end in expected_spans(plan, 20.0)}
    begin = plan.warmup_s + plan.steady_s
    assert spans["fault[slow]"] == (begin, begin + 20)
    assert spans["fault[kill]"] == (begin + 5, begin + 25)
    assert spans["recovery[slow]"] == (begin + 20, begin + 40)
    assert spans["recovery[kill]"] == (begin + 25, begin + 45)
    assert spans["final"][0] == begin + 45


def test_a_fault_that_another_joins_late_is_expected_to_stand_until_then() -> None:
    spans = {n: (b, e) for n, b, e in expected_spans(overlapping(after_s=30.0), 20.0)}
    assert spans["fault[slow]"][1] > spans["fault[kill]"][0]


def test_no_moment_is_in_two_windows_and_each_is_named_by_all_it_belongs_to(plan: Plan) -> None:
    stretches = stretches_of(plan)
    both = select(["fault"], stretches, plan.faults)
    assert [(w.name, w.duration_s) for w in both.windows] == [
        ("fault[slow]", 5.0),
        ("fault[slow]+fault[kill]", 15.0),
        ("fault[kill]", 5.0),
    ]
    assert [w.first_block for w in both.windows] == [0, 5, 20]
    assert [(w.name, w.duration_s) for w in both.apart] == [
        ("fault[slow]", 20.0),
        ("fault[kill]", 20.0),
    ]
    (one,) = select(["fault[kill]"], stretches, plan.faults).windows
    assert (one.name, one.duration_s) == ("fault[kill]", 20.0)


def test_a_recovery_is_calm_only_when_nothing_else_stands(plan: Plan) -> None:
    stretches = stretches_of(plan)
    calm = select(["recovery"], stretches, plan.faults)
    # recovery[slow] has 20 s, of which the kill stands for 5.
    assert sum(w.duration_s for w in calm.windows) == 20.0
    assert not calm.missing
    (named,) = select(["recovery[slow]"], stretches, plan.faults).windows
    assert named.duration_s == 20.0


def test_a_healthy_run_passes_and_counts_each_request_once(plan: Plan, rows: Rows) -> None:
    run = made(plan, rows)
    judgement = judge(run)
    assert judgement.verdict is Verdict.PASS, judgement.why
    begin, _ = phase_window(run, "fault[slow]")
    _, end = phase_window(run, "recovery[kill]")
    inside = (rows.intended_ns >= begin) & (rows.intended_ns < end)
    assert found(judgement, "availability").samples == int(inside.sum())


def test_a_failover_that_goes_on_when_the_next_fault_comes_is_measured_whole(
    plan: Plan, rows: Rows
) -> None:
    came = at(made(plan, rows), "kill", Event.FAULT_REQUESTED)
    failover = found(judge(down(plan, rows, came - 2 * S, 4.0)), "failover")
    # The kill found london down, and that was no state of its own.
    assert failover.verdict is Verdict.PASS, failover.why
    assert failover.value <= 4.0 <= failover.bound
    failover = found(judge(down(plan, rows, came - 2 * S, 7.0)), "failover")
    assert failover.verdict is Verdict.FAIL
    assert {cell.name for cell in failover.cells if cell.verdict is Verdict.FAIL} == {
        "kill: london / read",
        "kill: london / write",
        "slow: london / read",
        "slow: london / write",
    }


def test_who_was_unwell_before_the_first_of_them_shows_nothing_of_either(
    plan: Plan, rows: Rows
) -> None:
    rows.outcome[np.random.default_rng(3).random(len(rows.outcome)) < 0.04] = RESET
    failover = found(judge(made(plan, rows)), "failover")
    assert failover.verdict is Verdict.INCONCLUSIVE
    assert all(c.verdict is not Verdict.PASS for c in failover.cells)


def test_an_outage_that_ended_with_the_undo_of_the_other_was_not_failed_over(rows: Rows) -> None:
    scoped = (objective("failover", lte_s=5, fault="kill"),)
    plan = dataclasses.replace(overlapping(), objectives=scoped).sealed()
    back = at(made(plan, rows), "slow", Event.CHAOS_ROLLBACK)
    failover = found(judge(down(plan, rows, back - 2 * S, 2.5)), "failover")
    assert failover.verdict is Verdict.INCONCLUSIVE
    assert "served again only because slow ended" in failover.why


def moved(run: MemoryRun, fault: str, by_s: float, *events: Event) -> MemoryRun:
    for row in run.timeline:
        if row.get("fault") == fault and row["event"] in (events or set(Event)):
            row["at_ns"] += round(by_s * S)
    run.timeline.sort(key=lambda row: row["at_ns"])
    return run


def test_faults_that_did_not_stand_together_are_another_trial(plan: Plan, rows: Rows) -> None:
    run = made(plan, rows)
    seen, over = (
        at(run, "kill", Event.FAULT_OBSERVED),
        at(run, "slow", Event.CHAOS_ROLLBACK),
    )
    late_s = (over - seen) / S + 0.4
    judgement = judge(moved(run, "kill", late_s, Event.FAULT_OBSERVED))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    why = found(judgement, "faults").why
    assert why == "kill was to overlap slow, and stood 0.4 s after that was taken back"


def test_a_fault_that_came_before_its_time_is_another_trial(rows: Rows) -> None:
    early = moved(made(overlapping(after_s=8.0), rows), "kill", -3.0, Event.FAULT_REQUESTED)
    assert "came 5.0 s after slow, and was planned for 8 s" in found(judge(early), "faults").why


@pytest.mark.parametrize("event", [Event.CHAOS_UNTRIGGERED, Event.CHAOS_SKIPPED])
def test_a_trial_that_never_came_is_inconclusive_with_its_reason(
    plan: Plan, rows: Rows, event: Event
) -> None:
    run = made(plan, rows)
    run.timeline = [r for r in run.timeline if "kill" not in str(r.get("fault") or r.get("phase"))]
    run.stretches = [s for s in run.stretches if "kill" not in s.name]
    why = "availability was not above 0.9 within 30 s: it said 0.5"
    run.timeline.append({"at_ns": run.timeline[0]["at_ns"], "event": event, "fault": "kill"})
    run.timeline[-1]["why"] = why
    run.journals.pop("kill", None)
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert found(judgement, "faults").why == f"kill: nothing was broken: {why}"
    assert found(judgement, "journals").verdict is Verdict.PASS
    assert found(judgement, "failover").verdict is Verdict.INCONCLUSIVE


def test_phases_that_nobody_planned_to_overlap_do_not(plan: Plan, rows: Rows) -> None:
    one_by_one = dataclasses.replace(
        plan, faults=tuple(dataclasses.replace(f, overlaps=None) for f in plan.faults)
    ).sealed()
    run = dataclasses.replace(made(plan, rows), plan=one_by_one)
    course = found(judge(run), "course")
    assert course.verdict is Verdict.INCONCLUSIVE
    assert "began 15.0 s before fault[slow] ended" in str(course.detail)


def test_the_calm_end_does_not_begin_while_one_of_them_is_watched(rows: Rows) -> None:
    run = made(dataclasses.replace(overlapping(), final_s=10.0).sealed(), rows)
    cut = [s for s in run.stretches if s.name != "final"]
    final = next(s for s in run.stretches if s.name == "final")
    cut.append(MadePhase("final", final.begin_ns - 3 * S, final.end_ns))
    course = found(judge(dataclasses.replace(run, stretches=cut)), "course")
    assert course.why.startswith("final began 3.0 s before recovery[kill] ended")


def test_a_plan_counts_what_overlaps_once(plan: Plan) -> None:
    assessment = assess(plan, 20.0)
    begin = plan.warmup_s + plan.steady_s
    assert assessment.seconds == begin + 45 + plan.final_s
    told = next(o for o in assessment.objectives if o.name == "availability")
    # fault and recovery are 45 s in all, and not 80.
    assert told.requests_expected == pytest.approx(45 * plan.load.rate_per_s, rel=0.01)
