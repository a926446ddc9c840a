"""The judge over whole synthetic runs: what passes, what fails, and what must never be green."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import (
    BAD,
    NOT_SENT,
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
from stormgate.judge.synthetic import MemoryRun
from stormgate.model import Event, Judgement, Plan, Validity, Verdict, Waiver

AVAILABILITY = objective("availability", target=0.999)
LATENCY = objective("latency", quantile=0.95, lte_ms=50)
FAILOVER = objective("failover", lte_s=5)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of([AVAILABILITY, LATENCY, FAILOVER], steady_s=60, faults=["kill"])


@pytest.fixture
def rows(plan: Plan) -> Rows:
    return rows_of(plan)


def fault_rows(
    plan: Plan, rows: Rows, begin_s: float, length_s: float, population: int | None = None
) -> np.ndarray:
    """Rows intended within `length_s` from `begin_s` after the fault was requested."""
    begin, end = phase_window(synthetic(plan, rows.select(np.arange(1))), "fault[kill]")
    at = begin + round(0.1 * (end - begin)) + round(begin_s * S)
    hit = (rows.intended_ns >= at) & (rows.intended_ns < at + round(length_s * S))
    return hit if population is None else hit & (rows.population == population)


def steady(plan: Plan, rows: Rows) -> np.ndarray:
    begin, end = phase_window(synthetic(plan, rows.select(np.arange(1))), "steady")
    return np.flatnonzero((rows.intended_ns >= begin) & (rows.intended_ns < end))


def found(judgement: Judgement, name: str) -> Any:
    return next(f for f in (*judgement.objectives, *judgement.validity) if f.name == name)


def test_a_healthy_run_passes(plan: Plan, rows: Rows) -> None:
    judgement = judge(synthetic(plan, rows))
    assert (judgement.verdict, judgement.exit_code) == (Verdict.PASS, 0)
    assert judgement.plan_digest == plan.digest
    assert all(f.samples > 0 for f in judgement.objectives)


def test_errors_spread_over_a_steady_phase_fail(plan: Plan, rows: Rows) -> None:
    rows.outcome[steady(plan, rows)[::100]] = BAD
    judgement = judge(synthetic(plan, rows))
    assert found(judgement, "availability").verdict is Verdict.FAIL
    assert found(judgement, "availability").value == pytest.approx(0.99, abs=1e-3)
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAIL, 1)


def test_slow_requests_fail_latency_but_not_availability(plan: Plan, rows: Rows) -> None:
    rows.latency_ms[steady(plan, rows)[::10]] = 80.0
    judgement = judge(synthetic(plan, rows))
    assert found(judgement, "availability").verdict is Verdict.PASS
    latency = found(judgement, "latency")
    assert latency.verdict is Verdict.FAIL
    assert latency.value == pytest.approx(80, rel=0.01)


def test_quick_errors_do_not_make_a_service_fast(plan: Plan, rows: Rows) -> None:
    hit = steady(plan, rows)[::10]
    rows.outcome[hit], rows.latency_ms[hit] = BAD, 1.0
    latency = found(judge(synthetic(plan, rows)), "latency")
    assert latency.verdict is Verdict.FAIL
    assert latency.value is None  # the 95th percentile is a failure


@pytest.mark.parametrize(
    ("length_s", "verdict"), [(4.5, Verdict.PASS), (5.0, Verdict.INCONCLUSIVE), (5.6, Verdict.FAIL)]
)
def test_failover_by_the_slowest_cell(
    plan: Plan, rows: Rows, length_s: float, verdict: Verdict
) -> None:
    rows.outcome[fault_rows(plan, rows, 0.5, 1.0)] = RESET
    rows.outcome[fault_rows(plan, rows, 0.5, length_s, population=1)] = RESET
    finding = found(judge(synthetic(plan, rows)), "failover")
    assert finding.verdict is verdict
    assert "tokyo" in finding.why
    assert finding.value <= length_s <= finding.bound


def test_late_answers_are_an_outage_too(plan: Plan, rows: Rows) -> None:
    rows.latency_ms[fault_rows(plan, rows, 0.5, 6.0)] = 4_900.0
    assert found(judge(synthetic(plan, rows)), "failover").verdict is Verdict.FAIL


def test_a_busy_generator_widens_an_outage_by_how_late_it_was(plan: Plan, rows: Rows) -> None:
    rows.outcome[fault_rows(plan, rows, 0.5, 4.5, population=1)] = RESET
    run = synthetic(plan, rows)
    quiet = found(judge(run), "failover")
    begin, _ = phase_window(run, "recovery[kill]")
    for row in run.generator:
        if begin < row["at_ns"] <= begin + 4 * S:
            row.update(send_lag_p99_ms=100.0, send_lag_max_ms=600.0)
    busy = judge(run)
    assert quiet.verdict is Verdict.PASS
    assert found(busy, "failover").verdict is Verdict.INCONCLUSIVE
    assert found(busy, "failover").bound == pytest.approx(quiet.bound + 0.599)
    assert found(busy, "failover").value == pytest.approx(quiet.value - 0.599)
    assert (
        found(busy, "availability").verdict is Verdict.PASS
    )  # no objective rests its timing on the recovery
    assert found(busy, "generator").detail["saturated_s"]
    run.generator = [r for r in run.generator if not begin < r["at_ns"] <= begin + 4 * S]
    assert "generator not observed" in found(judge(run), "failover").why


def test_the_stages_of_a_failover(plan: Plan, rows: Rows) -> None:
    rng = np.random.default_rng(9)
    rows.served_by[:] = rows.population == 1  # tokyo at home in us, the others in eu
    rows.cache[:] = rng.random(len(rows.cache)) < 0.1
    down = fault_rows(plan, rows, 0.5, 3.0, population=1)
    rows.outcome[down] = RESET
    rows.served_by[fault_rows(plan, rows, 0.5, 1e3, population=1)] = 0
    rows.cache[fault_rows(plan, rows, 0.5, 6.2)] = 1
    rows.served_by[down], rows.cache[down] = -1, -1
    stages = found(judge(synthetic(plan, rows)), "failover").detail["stages"]["kill"]
    assert stages["noticed_s"] == pytest.approx(0.5, abs=0.05)
    assert stages["rerouted_s"] == pytest.approx(3.5, abs=0.05)
    assert stages["recovered_s"] == pytest.approx(3.5, abs=0.15)
    assert stages["warm_s"] == 8.0
    rows.served_by[:] = -1
    rows.cache[:] = -1
    assert set(found(judge(synthetic(plan, rows)), "failover").detail["stages"]["kill"]) == {
        "noticed_s",
        "recovered_s",
    }


def test_a_cell_that_never_recovers_fails(plan: Plan, rows: Rows) -> None:
    rows.outcome[fault_rows(plan, rows, 1.0, 1e3, population=2)] = RESET
    finding = found(judge(synthetic(plan, rows)), "failover")
    assert finding.verdict is Verdict.FAIL
    assert finding.bound is None


def test_a_silent_cell_is_not_an_available_one(plan: Plan, rows: Rows) -> None:
    judgement = judge(synthetic(plan, rows.select(~fault_rows(plan, rows, 1.0, 6.0, population=2))))
    assert found(judgement, "failover").verdict is Verdict.INCONCLUSIVE


def test_a_population_that_sent_nothing_is_missed(plan: Plan, rows: Rows) -> None:
    judgement = judge(synthetic(plan, rows.select(rows.population != 2)))
    assert found(judgement, "failover").verdict is Verdict.INCONCLUSIVE
    assert "lima" in found(judgement, "failover").why


def test_flaps_are_counted_and_each_is_held_to_the_limit(plan: Plan, rows: Rows) -> None:
    rows.outcome[fault_rows(plan, rows, 0.5, 1.0, population=0)] = RESET
    rows.outcome[fault_rows(plan, rows, 5.0, 5.7, population=0)] = RESET
    finding = found(judge(synthetic(plan, rows)), "failover")
    assert finding.verdict is Verdict.FAIL
    assert finding.detail["flaps"] == 2  # one in each of london's two cells


@pytest.mark.parametrize(
    "event", [Event.FAULT_REQUESTED, Event.FAULT_ACKNOWLEDGED, Event.FAULT_OBSERVED]
)
def test_an_unproven_fault_never_passes(plan: Plan, rows: Rows, event: Event) -> None:
    run = synthetic(plan, rows)
    run.timeline = [r for r in run.timeline if r["event"] != event]
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert found(judgement, "failover").verdict is Verdict.INCONCLUSIVE
    assert "fault not" in judgement.why


def test_an_unproven_fault_may_still_fail(plan: Plan, rows: Rows) -> None:
    rows.outcome[fault_rows(plan, rows, 0.5, 7.0)] = RESET
    run = synthetic(plan, rows)
    run.timeline = [r for r in run.timeline if r["event"] != Event.FAULT_OBSERVED]
    assert judge(run).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ({"event": "abort", "why": "a person", "by": "person"}, Verdict.ABORTED),
        ({"event": "error", "why": "disk full"}, Verdict.ERROR),
        ({"event": "fault.undo_failed", "fault": "kill", "why": "no answer"}, Verdict.DIRTY),
        ({"event": "fault.undo_failed", "fault": "stranger", "why": "no answer"}, Verdict.DIRTY),
        (
            {"event": "fault.unproven", "fault": "kill", "why": "no proof in 5 s"},
            Verdict.INCONCLUSIVE,
        ),
        ({"event": "load.lost", "worker": "worker-1", "why": "killed"}, Verdict.INCONCLUSIVE),
        ({"event": "fault.requested", "fault": "kill", "id": "second"}, Verdict.DIRTY),
    ],
)
def test_what_the_timeline_says_overrules_the_numbers(
    plan: Plan, rows: Rows, row: dict[str, Any], verdict: Verdict
) -> None:
    run = synthetic(plan, rows)
    run.timeline.insert(5, {"at_ns": run.timeline[5]["at_ns"], **row})
    assert judge(run).verdict is verdict


def test_a_later_clearing_makes_a_failed_undo_good(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    cleared = next(r for r in run.timeline if r["event"] == Event.FAULT_CLEARED)
    failed = {
        **cleared,
        "event": "fault.undo_failed",
        "why": "no answer",
        "at_ns": cleared["at_ns"] - 1,
    }
    run.timeline.insert(0, failed)
    assert judge(run).verdict is Verdict.PASS
    run.timeline[0] = {**failed, "at_ns": cleared["at_ns"] + 1}
    assert judge(run).verdict is Verdict.DIRTY
    run.timeline[0] = {**failed, "id": "another"}
    assert judge(run).verdict is Verdict.DIRTY


def test_requests_sent_in_the_next_second_are_no_shortfall(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    mine = [r for r in run.generator if r["worker"] == "worker-0"]
    for late, made_up in zip(mine[10:40:2], mine[11:41:2], strict=True):
        late["sent"] -= 8
        made_up["sent"] += 8
    assert judge(run).verdict is Verdict.PASS
    for row in mine[10:40]:
        row["sent"] = row["planned"] - 8
    assert judge(run).why.startswith("generator saturated")


def test_an_open_undo_is_dirty(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    run.undo += [
        {"step": "intent", "id": "a"},
        {"step": "intent", "id": "b"},
        {"step": "undone", "id": "a"},
    ]
    judgement = judge(run)
    assert (judgement.verdict, judgement.exit_code) == (Verdict.DIRTY, 6)
    assert "b" in judgement.why


def test_a_plan_changed_after_sealing_is_not_trusted(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    run.plan = dataclasses.replace(plan, seed=2)
    assert judge(run).verdict is Verdict.INCONCLUSIVE


def test_a_dirty_journal_counts(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    run.journals["kill"]["run"][0].update(status="failed", exception=["boom"])
    assert judge(run).verdict is Verdict.ERROR
    run.journals = {}
    assert judge(run).verdict is not Verdict.PASS


@pytest.mark.parametrize(
    "change",
    [
        {"send_lag_p99_ms": 11.0},
        {"cpu": 0.95},
        {"not_sent": 1},
        {"sent": 150},
        {"clock_error_ms": 6.0},
        {"send_lag_p99_ms": "?"},
    ],
)
@pytest.mark.parametrize("broken", [False, True])
def test_a_saturated_generator_decides_nothing(
    plan: Plan, rows: Rows, change: dict[str, Any], broken: bool
) -> None:
    if broken:
        rows.outcome[steady(plan, rows)[::50]] = BAD
    run = synthetic(plan, rows)
    begin, _ = phase_window(run, "steady")
    for row in run.generator:
        if begin + 5 * S < row["at_ns"] <= begin + 10 * S and row["worker"] == "worker-1":
            row.update(change)
    judgement = judge(run)
    assert found(judgement, "availability").verdict is Verdict.INCONCLUSIVE
    assert found(judgement, "latency").verdict is Verdict.INCONCLUSIVE
    failover = found(judgement, "failover")  # its own seconds were fit
    if failover.verdict is not Verdict.PASS:
        assert broken
        assert "was not well before the fault" in failover.why
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.why.startswith("generator")
    assert found(judgement, "generator").detail["saturated_s"]["steady"] == [5, 6, 7, 8, 9]


def test_a_few_saturated_seconds_are_allowed(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    begin, _ = phase_window(run, "steady")
    for row in run.generator:
        if begin + 5 * S < row["at_ns"] <= begin + 8 * S:
            row["cpu"] = 0.95
    assert judge(run).verdict is Verdict.PASS
    run.plan = dataclasses.replace(plan, validity=Validity(max_saturated_share=0.02)).sealed()
    assert judge(run).verdict is Verdict.INCONCLUSIVE


def test_a_worker_that_fell_silent_or_was_cut(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    begin, _ = phase_window(run, "steady")
    run.generator = [
        r
        for r in run.generator
        if not (r["worker"] == "worker-0" and begin < r["at_ns"] < begin + 9 * S)
    ]
    assert "did not report" in judge(run).why
    run = synthetic(plan, rows)
    run.blocks = run.blocks[:-1]
    assert "rows read" in judge(run).why
    run = synthetic(plan, rows)
    run.generator = [r for r in run.generator if not (r["worker"] == "worker-0" and r["final"])]
    assert judge(run).verdict is Verdict.INCONCLUSIVE
    run.generator = []
    assert judge(run).verdict is Verdict.INCONCLUSIVE


def test_load_below_the_plan_is_not_the_load_on_trial(plan: Plan, rows: Rows) -> None:
    rng = np.random.default_rng(1)
    judgement = judge(synthetic(plan, rows.select(rng.random(len(rows.intended_ns)) < 0.9)))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.why.startswith("generator planned")


def test_closed_loop_latency_is_not_gated(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    for row in run.generator:
        row["model"] = "closed"
    judgement = judge(run)
    assert found(judgement, "latency").verdict is Verdict.INCONCLUSIVE
    assert found(judgement, "availability").verdict is Verdict.PASS


def beside(run: MemoryRun) -> None:
    """One idle worker of users that pace themselves, beside the streams."""
    idle = dict.fromkeys(("planned", "sent", "completed", "not_sent", "rows"), 0)
    run.generator = [
        *run.generator,
        *(
            row | idle | {"worker": "worker-9", "model": "closed", "in_flight": 0}
            for row in run.generator
            if row["worker"] == "worker-0"
        ),
    ]


def test_users_that_pace_themselves_excuse_no_stream_beside_them(plan: Plan, rows: Rows) -> None:
    run = synthetic(plan, rows)
    beside(run)
    assert found(judge(run), "availability").verdict is Verdict.PASS
    late = synthetic(plan, rows)
    for row in late.generator:
        row["send_lag_p99_ms"] = 500.0
    beside(late)
    judgement = judge(late)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "send lag" in str(judgement.validity)
    few = synthetic(plan, rows.select(np.random.default_rng(1).random(len(rows.intended_ns)) < 0.9))
    beside(few)
    assert "generator planned" in str([f.why for f in judge(few).validity])


def test_retries_are_judged_by_their_last_attempt(plan: Plan, rows: Rows) -> None:
    hit = steady(plan, rows)[::50]
    rows.outcome[hit] = RESET
    again = copy.deepcopy(rows.select(hit))
    again.attempt[:] = 2
    again.outcome[:] = 0
    again.intended_ns += 30_000_000
    judgement = judge(synthetic(plan, rows.append(again)))
    assert judgement.verdict is Verdict.PASS
    assert found(judgement, "availability").detail["bad"] == 0
    # ... but their users waited since the first one.
    slow = judge(
        synthetic(
            dataclasses.replace(
                plan, objectives=(objective("latency", quantile=0.99, lte_ms=45),)
            ).sealed(),
            rows.append(again),
        )
    )
    assert slow.objectives[0].verdict is Verdict.FAIL


def test_a_retry_that_was_never_sent_saves_nothing(plan: Plan, rows: Rows) -> None:
    hit = steady(plan, rows)[::50]
    rows.outcome[hit] = RESET
    again = copy.deepcopy(rows.select(hit))
    again.attempt[:] = 2
    again.outcome[:] = NOT_SENT
    assert found(judge(synthetic(plan, rows.append(again))), "availability").verdict is Verdict.FAIL


def test_coverage_lets_the_promised_share_be_slow() -> None:
    covered = [
        objective("latency", quantile=0.95, lte_ms=50, coverage=c, name=f"c{c}")
        for c in (0.75, 0.85)
    ]
    plan = plan_of(covered, steady_s=60)
    rows = rows_of(plan)
    rows.latency_ms[rows.population == 2] = 90.0  # a fifth of the users
    judgement = judge(synthetic(plan, rows))
    assert [f.verdict for f in judgement.objectives] == [Verdict.PASS, Verdict.FAIL]
    # What is shown is the latency of the promised share: 75 % are fast, 85 % are not.
    fast, slow = judgement.objectives
    assert fast.value == pytest.approx(20, rel=0.01)
    assert slow.value == pytest.approx(90, rel=0.01)
    assert fast.bound is not None
    assert fast.bound <= 50


def test_phases_that_are_not_there() -> None:
    plan = plan_of(
        [objective("availability", target=0.99, phases=["fault"]), objective("failover", lte_s=5)]
    )
    judgement = judge(synthetic(plan, rows_of(plan)))
    assert [f.verdict for f in judgement.objectives] == [Verdict.INCONCLUSIVE] * 2
    nothing = plan_of([])
    assert judge(synthetic(nothing, rows_of(nothing))).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("expires", "owner", "exit_code"),
    [
        ("2026-11-24", "ana", 0),
        ("2026-11-23", "ana", 1),
        ("soon", "ana", 1),
        ("2026-12-01", " ", 1),
    ],
)
def test_waivers(expires: str, owner: str, exit_code: int) -> None:
    waiver = Waiver(objective="availability", owner=owner, reason="known", expires=expires)
    plan = plan_of([AVAILABILITY, LATENCY], steady_s=60, waivers=(waiver,))
    rows = rows_of(plan)
    rows.outcome[steady(plan, rows)[::100]] = BAD
    judgement = judge(synthetic(plan, rows))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.exit_code == exit_code
    assert bool(found(judgement, "availability").waived) is (exit_code == 0)


def test_a_waiver_covers_nothing_else() -> None:
    waiver = Waiver(objective="availability", owner="ana", reason="known", expires="2030-01-01")
    plan = plan_of([AVAILABILITY, LATENCY], steady_s=60, waivers=(waiver,))
    rows = rows_of(plan)
    hit = steady(plan, rows)
    rows.outcome[hit[::100]] = BAD
    rows.latency_ms[hit[1::10]] = 80.0
    assert judge(synthetic(plan, rows)).exit_code == 1


def _fault_events(plan: Plan, rows: Rows) -> dict[str, int]:
    return {r["event"]: r["at_ns"] for r in synthetic(plan, rows).timeline if "fault" in r}


def test_an_outage_after_the_return_is_held_to_the_same_limit(plan: Plan, rows: Rows) -> None:
    at = _fault_events(plan, rows)
    back = at["fault.cleared"] + S
    hit = (rows.intended_ns >= back) & (rows.intended_ns < back + 8 * S)
    rows.outcome[hit & (rows.population == 0)] = RESET
    failover = found(judge(synthetic(plan, rows)), "failover")
    assert failover.verdict is Verdict.FAIL
    assert "from the return" in failover.why


@pytest.mark.parametrize(("down_s", "verdict"), [(3, Verdict.INCONCLUSIVE), (9, Verdict.FAIL)])
def test_who_is_served_only_by_the_undo_was_not_failed_over(
    plan: Plan, rows: Rows, down_s: int, verdict: Verdict
) -> None:
    at = _fault_events(plan, rows)
    end = at["chaos.rollback"] + S // 2
    hit = (rows.intended_ns >= end - down_s * S) & (rows.intended_ns < end)
    rows.outcome[hit & (rows.population == 0)] = RESET
    failover = found(judge(synthetic(plan, rows)), "failover")
    assert failover.verdict is verdict
    if verdict is Verdict.INCONCLUSIVE:
        assert "served again only because the fault ended" in failover.why


def test_a_later_outage_that_only_the_undo_ends_was_not_failed_over(plan: Plan, rows: Rows) -> None:
    at = _fault_events(plan, rows)
    first, end = at["fault.requested"], at["chaos.rollback"] + S // 2
    mine = rows.population == 0
    rows.outcome[mine & (rows.intended_ns >= first) & (rows.intended_ns < first + S)] = RESET
    served = found(judge(synthetic(plan, rows)), "failover")
    assert served.verdict is Verdict.PASS
    rows.outcome[mine & (rows.intended_ns >= end - 3 * S) & (rows.intended_ns < end)] = RESET
    failover = found(judge(synthetic(plan, rows)), "failover")
    assert failover.verdict is Verdict.INCONCLUSIVE
    assert "served again only because the fault ended" in failover.why


def test_a_cell_that_was_unwell_before_shows_no_failover(plan: Plan, rows: Rows) -> None:
    rows.outcome[np.random.default_rng(3).random(len(rows.outcome)) < 0.04] = BAD
    failover = found(judge(synthetic(plan, rows)), "failover")
    assert failover.verdict is Verdict.INCONCLUSIVE
    assert "was not well before the fault" in failover.why


def test_an_engine_that_plans_nothing_is_dead_not_idle(plan: Plan, rows: Rows) -> None:
    """What a dead engine books at its end is no failure of the target."""
    rows.outcome[steady(plan, rows)] = RESET
    run = synthetic(plan, rows)
    begin, end = phase_window(run, "steady")
    for row in run.generator:
        if begin < row["at_ns"] <= end:
            row.update(planned=0, sent=0, completed=0)
    availability = found(judge(run), "availability")
    assert availability.verdict is Verdict.INCONCLUSIVE
    assert "streams planned nothing" in availability.why


def test_a_cell_that_sent_nothing_before_the_fault_was_not_seen_well(
    plan: Plan, rows: Rows
) -> None:
    at = _fault_events(plan, rows)["fault.requested"]
    gone = (rows.population == 2) & (rows.intended_ns < at)
    cells = found(judge(synthetic(plan, rows.select(np.flatnonzero(~gone)))), "failover").cells
    lima = [cell for cell in cells if "lima" in cell.name]
    assert lima
    assert all("nobody asked before the fault" in cell.why for cell in lima)


@pytest.mark.parametrize(("answered_s", "verdict"), [(0.5, Verdict.PASS), (-0.4, None)])
def test_what_was_under_way_when_the_fault_came_says_nothing_of_before(
    plan: Plan, rows: Rows, answered_s: float, verdict: Verdict | None
) -> None:
    """Requests of a service that takes its time fail with it, although they were sent before."""
    came = _fault_events(plan, rows)["fault.requested"]
    mine = rows.population == 0
    hit = mine & (rows.intended_ns >= came - 1.5 * S) & (rows.intended_ns < came + S)
    early = hit & (rows.intended_ns < came)
    assert np.count_nonzero(early) > 20
    rows.outcome[hit] = RESET
    ends_ns = came + answered_s * S
    rows.latency_ms[early] = np.maximum(1.0, (ends_ns - rows.intended_ns[early]) / 1e6)
    failover = found(judge(synthetic(plan, rows)), "failover")
    if verdict is not None:
        assert failover.verdict is verdict, failover.why
        assert failover.bound is not None
        assert 2.4 < failover.bound < 3.5, "the outage began with the first that failed"
    else:
        assert failover.verdict is Verdict.INCONCLUSIVE
        assert "was not well before the fault" in failover.why


def test_what_waited_too_long_already_was_unwell_before(plan: Plan, rows: Rows) -> None:
    came = _fault_events(plan, rows)["fault.requested"]
    mine = rows.population == 0
    hung = mine & (rows.intended_ns >= came - 8 * S) & (rows.intended_ns < came)
    rows.outcome[hung] = RESET
    rows.latency_ms[hung] = (came + S - rows.intended_ns[hung]) / 1e6
    failover = found(judge(synthetic(plan, rows)), "failover")
    assert failover.verdict is Verdict.INCONCLUSIVE
    assert "was not well before the fault" in failover.why
