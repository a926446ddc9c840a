"""Why requests failed: counted from the samples, explained by what the load said of the first."""

from __future__ import annotations

import numpy as np
from tests.golden.judge_writer import (
    BAD,
    NOT_SENT,
    RESET,
    S,
    objective,
    phase_window,
    plan_of,
    rows_of,
    synthetic,
)

from stormgate.judge import judge
from stormgate.judge.failures import MOST_KINDS, Failures
from stormgate.judge.synthetic import ORIGIN_NS
from stormgate.model import Verdict

PLAN = plan_of([objective("availability", target=0.99)], steady_s=30, faults=["kill"])
SAID = {
    "at_ns": ORIGIN_NS + 10 * S,
    "event": "load.failure",
    "worker": "worker-0",
    "route": "read",
    "outcome": "bad_status",
    "status": 503,
    "expected": "200-399",
    "url": "http://127.0.0.1:8080/x",
}


def test_a_fail_says_which_route_got_what_how_often_when_and_what_was_wanted() -> None:
    rows = rows_of(PLAN)
    rows.op[:] = 0
    begin, end = phase_window(synthetic(PLAN, rows), "steady")
    struck = np.flatnonzero((rows.intended_ns >= begin) & (rows.intended_ns < end))[::20][:600]
    rows.outcome[struck] = BAD
    rows.served_by[struck[:500]], rows.served_by[struck[500:]] = 0, 1
    run = synthetic(PLAN, rows)
    run.timeline = [run.timeline[0], SAID, *run.timeline[1:]]
    judgement = judge(run)
    assert judgement.objectives[0].verdict is Verdict.FAIL
    (one,) = judgement.failures
    assert (one.route, one.outcome, one.status, one.count) == ("read", "bad_status", 503, 600)
    assert (one.expected, one.url) == ("200-399", "http://127.0.0.1:8080/x")
    assert one.served_by == {"eu": 500, "us": 100}
    assert one.phases == {"steady": 600}
    assert sum(one.populations.values()) == 600
    assert abs(one.first_s - (rows.intended_ns[struck].min() - ORIGIN_NS) / S) < 0.001
    assert abs(one.last_s - (rows.intended_ns[struck].max() - ORIGIN_NS) / S) < 0.001


def test_what_decided_comes_first_though_something_else_was_more_frequent() -> None:
    rows = rows_of(PLAN)
    run = synthetic(PLAN, rows)
    begin, end = phase_window(run, "steady")
    steady = np.flatnonzero((rows.intended_ns >= begin) & (rows.intended_ns < end))[::20][:400]
    begin, end = phase_window(run, "fault[kill]")
    fault = np.flatnonzero((rows.intended_ns >= begin) & (rows.intended_ns < end))[:2000]
    rows.op[:] = 0
    rows.outcome[steady], rows.outcome[fault] = BAD, RESET
    told = judge(synthetic(PLAN, rows)).failures
    assert [(f.outcome, f.count) for f in told] == [("bad_status", 400), ("reset", 2000)]


def test_late_answers_where_the_gate_has_a_limit_and_never_what_was_not_sent() -> None:
    plan = plan_of([objective("availability", target=0.99, within_ms=100)], steady_s=30)
    rows = rows_of(plan)
    rows.op[:] = 0
    rows.latency_ms[5000:5007] = 250.0
    rows.outcome[6000:6500] = NOT_SENT
    (one,) = judge(synthetic(plan, rows)).failures
    assert (one.outcome, one.count, one.expected) == ("late", 7, "within 100 ms")
    rows.outcome[5000:5007] = RESET
    (one,) = judge(synthetic(PLAN, rows)).failures
    assert (one.outcome, one.count, one.expected) == ("reset", 7, "")


def test_a_request_that_a_retry_saved_did_not_fail() -> None:
    rows = rows_of(PLAN)
    again = rows.select(np.arange(3000, 3010))
    again.attempt[:] = 2
    rows.outcome[3000:3010] = RESET
    assert judge(synthetic(PLAN, rows.append(again))).failures == ()


def test_routes_without_number_are_told_as_one() -> None:
    windows = type("W", (), {"windows": ()})()
    failures = Failures(windows, None)
    for n in range(MOST_KINDS + 50):
        words = (f"route-{n:03}", "reset", "london", "eu")
        failures._note(words, 0, "steady", 1, (n, n + 1))
    told = failures.told([], 0)
    assert len(told) == MOST_KINDS + 1
    assert (told[-1].route, told[-1].count) == ("(others)", 50)
    assert told[-1].phases == {"steady": 50}
