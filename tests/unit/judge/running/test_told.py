"""What a service says of itself against what its users saw, and alerts against faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import BAD, RESET, Rows, S, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.rules.spans import broken_at
from stormgate.judge.synthetic import MemoryRun
from stormgate.model import Event, Finding, Plan, Sampling, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def metric(counts: str = "answered", **spec: Any) -> Plan:
    one = objective("metricTrue", probe="n", counts=counts, tolerance=0.05, **spec)
    schedule = Sampling(name="n", module="m", func="f", every_s=1.0, within_s=1.0)
    return replace(plan_of([one], steady_s=60), readings=(schedule,)).sealed()


def told(rows: Rows, *, share: float = 1.0, failed: bool = False, drop: Any = ()) -> Any:
    """Readings each second of a counter that counts this share of what was answered."""

    def change(run: MemoryRun) -> None:
        steady = next(p for p in run.stretches if p.name == "steady")
        done = rows.intended_ns + (rows.latency_ms * 1e6).astype(np.int64) - 10_000_000
        done = np.sort(done[rows.outcome == BAD] if failed else done[rows.outcome != RESET])
        run.readings = [
            {
                "at_ns": at,
                "probe": "n",
                "value": float(share * np.searchsorted(done, at)) + 1000,
                "duration_ms": 4.0,
                "error": None,
            }
            for second in range(60)
            if (at := steady.begin_ns + second * S + 300_000_000) and second not in drop
        ]

    return change


def judged(plan: Plan, rows: Rows, change: Any) -> Finding:
    run = synthetic(plan, rows)
    change(run)
    return judge(run).objectives[0]


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, PASS), (0.9, FAIL), (1.1, FAIL), (0.0, FAIL), (0.97, PASS)]
)
def test_a_counter_agrees_or_lies(share: float, verdict: Verdict) -> None:
    plan = metric()
    rows = rows_of(plan)
    finding = judged(plan, rows, told(rows, share=share))
    assert finding.verdict is verdict, finding.why
    assert finding.value == pytest.approx(share, abs=0.02)


def test_errors_are_counted_as_errors() -> None:
    plan = metric("failed")
    rows = rows_of(plan)
    rows.outcome[::50] = BAD
    assert judged(plan, rows, told(rows, failed=True)).verdict is PASS
    assert judged(plan, rows, told(rows, failed=True, share=0)).verdict is FAIL
    none = rows_of(plan)
    finding = judged(plan, none, told(none, failed=True))
    assert finding.verdict is INCONCLUSIVE, "no error shows nothing about how they are counted"
    assert "100 wanted" in finding.why


def test_who_heard_nothing_may_have_been_counted_or_not() -> None:
    plan = metric()
    rows = rows_of(plan)
    rows.outcome[::10] = RESET
    finding = judged(plan, rows, told(rows))
    assert finding.verdict is INCONCLUSIVE
    assert "heard nothing" in finding.why


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("stale", "no reading of n for"),
        ("failed", "1 of 60 readings of n failed: refused"),
        ("anew", "what counts it was started anew"),
        ("absent", "0 readings of n, 2 wanted"),
        ("vague", "known less well"),
    ],
)
def test_a_counter_that_was_not_read_well_decides_nothing(how: str, says: str) -> None:
    plan = metric(lag_ms=5000 if how == "vague" else 300)
    rows = rows_of(plan)

    def change(run: MemoryRun) -> None:
        told(rows, drop=range(20, 30) if how == "stale" else ())(run)
        if how == "failed":
            run.readings[30] |= {"value": None, "error": "refused"}
        elif how == "anew":
            for row in run.readings[30:]:
                row["value"] -= 5000
        elif how == "absent":
            run.readings = []

    finding = judged(plan, rows, change)
    assert finding.verdict is INCONCLUSIVE
    assert says in finding.why


def alert(**spec: Any) -> Plan:
    one = objective("alertFired", alert="High", **{"within_s": 5, "clears_s": 10, **spec})
    return plan_of([one], steady_s=30, faults=["kill"])


def fired(plan: Plan, *at: tuple[float, bool], silent: tuple[float, float] = (0, 0)) -> Finding:
    """Judge a run in which alerts were told so many seconds after the fault's request."""
    rows = rows_of(plan)
    run = synthetic(plan, rows)
    requested = next(r["at_ns"] for r in run.timeline if r["event"] == Event.FAULT_REQUESTED)
    begin, end = run.stretches[0].begin_ns, run.stretches[-1].end_ns or 0
    beats = range(begin, end, S)
    run.readings = [
        {"at_ns": t, "probe": "receiver", "value": 1.0}
        for t in beats
        if not requested + silent[0] * S <= t < requested + silent[1] * S
    ]
    run.readings += [
        {"at_ns": requested + round(s * S), "probe": "alert/High", "value": float(on)}
        for s, on in at
    ]
    run.readings.append({"at_ns": requested + S, "probe": "alert/Other", "value": 1.0})
    return judge(run).objectives[0]


@pytest.mark.parametrize(
    ("at", "verdict", "says"),
    [
        ([(2, True), (20, False)], PASS, "fired after 2.00 s"),
        ([(2, True), (4, False)], PASS, "resolved 0.00 s after"),
        ([], FAIL, "did not fire"),
        ([(6, True), (20, False)], FAIL, "fired after 6.00 s, 5 s allowed"),
        ([(2, True)], FAIL, "never resolved"),
        ([(2, True), (38, False)], FAIL, "resolved"),
        ([(-20, True), (-15, False), (2, True), (4, False)], FAIL, "although nothing was broken"),
    ],
)
def test_the_right_alert_in_time_and_gone_after(
    at: list[tuple[float, bool]], verdict: Verdict, says: str
) -> None:
    finding = fired(alert(), *at)
    assert finding.verdict is verdict, finding.why
    assert says in finding.why


def test_no_silence_is_believed_that_nobody_listened_to() -> None:
    plan = alert()
    finding = fired(plan, silent=(3, 12))
    assert finding.verdict is INCONCLUSIVE
    assert "nobody was there to be told" in finding.why
    assert fired(plan, (2, True), (20, False), silent=(-20, -10)).verdict is INCONCLUSIVE
    already = fired(alert(quiet=[]), (-1, True), (20, False))
    assert already.verdict is INCONCLUSIVE
    assert "fired already" in already.why
    late = fired(alert(within_s=600))
    assert late.verdict is INCONCLUSIVE, "it was not watched for so long"


def test_without_a_listener_the_gate_is_a_contradiction() -> None:
    from stormgate.judge.registry import kinds

    kind, plan = kinds()["alertFired"], alert()
    spec = kind.spec.model_validate(plan.objectives[0].spec)
    assert "nothing listens" in kind.contradictions(spec, plan, {})[0]
    assert not kind.contradictions(spec, replace(plan, receive="127.0.0.1:1"), {})


SPANS = (
    {"span": "1", "parent": "", "kind": "server", "status": 503},
    {"span": "2", "parent": "1", "kind": "client", "status": 503},
    {"span": "3", "parent": "2", "kind": "server", "status": 503},
)


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        (SPANS, None),
        (SPANS[:1], None),
        ((SPANS[0], {**SPANS[1], "status": 0}), None),  # nobody answered: nobody is missing
        (SPANS[:2], "ends at a call that was answered"),
        ((SPANS[0], SPANS[2]), "lacks a span that others name as their parent"),
        (SPANS[1:], "has no beginning"),
        ((*SPANS, {**SPANS[0], "span": "9"}), "begins more than once"),
    ],
)
def test_a_trace_is_whole_or_says_where_it_is_not(spans: Any, says: str | None) -> None:
    assert broken_at(spans) == says


def traced(how: str, **spec: Any) -> Finding:
    """Every fiftieth request fails with a trace of its own, which was received, mostly."""
    plan = plan_of([objective("tracesWhole", phases=["steady"], **spec)], steady_s=30)
    rows = rows_of(plan)
    rows.outcome[::50] = BAD
    names = [f"t{number}" for number in range(len(rows.request) // 50 + 1)]

    def labels(some: Rows) -> dict[str, Any]:
        codes = np.where(some.outcome == BAD, some.request // 50, -1).astype(np.int32)
        if how == "untold":
            codes[some.request % 500 == 0] = -1
        return {"trace": (codes, names)}

    run = synthetic(plan, rows, labels_of=labels)
    if how == "few":
        run = synthetic(plan, rows_of(plan), labels_of=labels)
    begin = run.stretches[0].begin_ns
    for number, name in enumerate(names):
        whole = SPANS if how != "torn" or number % 10 else SPANS[:2]
        if how == "nobody" or (how == "absent" and number % 10 == 0):
            continue
        run.traces += [{"at_ns": begin, "trace": name, **span} for span in whole]
    return judge(run).objectives[0]


@pytest.mark.parametrize(
    ("how", "verdict", "says"),
    [
        ("whole", PASS, "all have a whole trace"),
        ("torn", FAIL, "have one that ends at a call that was answered"),
        ("absent", FAIL, "have a trace that was never received"),
        ("untold", FAIL, "were told no trace"),
        ("nobody", INCONCLUSIVE, "no trace was received"),
        ("few", INCONCLUSIVE, "20 failed requests wanted"),
    ],
)
def test_a_failed_requests_trace_is_there_and_whole(how: str, verdict: Verdict, says: str) -> None:
    finding = traced(how)
    assert finding.verdict is verdict, finding.why
    assert says in finding.why


def test_so_many_may_be_without() -> None:
    assert traced("torn", max_bad=30).verdict is PASS
