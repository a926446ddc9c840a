"""The sections of the page that are drawn from the evidence itself: timeline, populations,
generator, what happened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.judge.registry import kinds
from stormgate.model import Event, Objective, Plan
from stormgate.report.charts import Limit, Span, TimelineChart, multiple, timeline
from stormgate.report.html_parts import table
from stormgate.report.series import FINE_S, ChartSeries, ChartWindow, collect, span
from stormgate.report.words import amount, count, one_line

if TYPE_CHECKING:
    from stormgate.evidence.read import Phase, Run

BEFORE_S, AFTER_S, LONGEST_WINDOW_S = 4.0, 16.0, 90.0
MAX_EVENTS = 300
MAX_POPULATIONS = 60
SHADES = {"steady": "steady", "final": "steady", "fault": "trouble", "recovery": "mending"}


def run_sections(run: Run) -> tuple[Markup, Markup]:
    """What is drawn from the evidence: first what happened to users, then the figures behind it.

    Reading never raises: `run.problems` says what was missing or torn.
    """
    ends = span(run.timeline)
    if ends is None:
        return Markup("<h2>Timeline</h2><p>The run left no timeline.</p>"), Markup("")
    plan = run.plan
    begin_ns, end_ns = ends
    faults = fault_spans(run.timeline, begin_ns, end_ns)
    windows = [
        ChartWindow(
            f.name,
            begin_ns + round((f.begin_s - BEFORE_S) * 1e9),
            begin_ns + round(_window_end(f, end_ns - begin_ns) * 1e9),
        )
        for f in _whole(faults)
    ]
    series = collect(run, begin_ns, end_ns, good_within_ms(plan), windows)
    drawn = (
        _timeline(run, plan, series, faults, (end_ns - begin_ns) / 1e9),
        _around_faults(series, windows, _whole(faults)),
    )
    behind = (_populations(series, plan), _generator(run), _events(run, begin_ns))
    return Markup("\n").join(drawn), Markup("\n").join(behind)


def good_within_ms(plan: Plan | None) -> float | None:
    """The time within which an answer counts as good in the charts: that of the first availability
    objective, if it names one.
    """
    for objective in plan.objectives if plan is not None else ():
        kind = kinds().get(objective.kind)
        within_ms = kind.good_within_ms(objective.spec) if kind is not None else None
        if within_ms is not None:
            return within_ms
    return None


def fault_spans(
    timeline_rows: Iterable[Mapping[str, Any]], begin_ns: int, end_ns: int
) -> list[Span]:
    """Each component's fault from request to clearing, seconds of the run; one that was never
    cleared lasts to the end.
    """
    opened: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in timeline_rows:
        event, at = row.get("event"), row.get("at_ns")
        key = (str(row.get("fault", "")), str(row.get("component", "")), str(row.get("id", "")))
        if event == Event.FAULT_REQUESTED and isinstance(at, int):
            opened.setdefault(key, {"begin": at, "mode": str(row.get("mode", ""))})
        elif key in opened and event == Event.FAULT_OBSERVED:
            opened[key]["proof"] = short(row.get("proof", "seen"))
        elif key in opened and event == Event.FAULT_CLEARED and isinstance(at, int):
            opened[key].setdefault("end", at)
    spans = []
    for (name, component, _), one in opened.items():
        proof = f"observed: {one['proof']}" if "proof" in one else "no effect observed"
        cleared = "" if "end" in one else ", never cleared"
        title = one_line(f"{name}: {one['mode']} {component} ({proof}{cleared})")
        begin_s, end_s = (one["begin"] - begin_ns) / 1e9, (one.get("end", end_ns) - begin_ns) / 1e9
        spans.append(
            Span(one_line(name), begin_s, end_s, "proven" if "proof" in one else "unproven", title)
        )
    return spans


def short(value: Any) -> str:
    """A timeline row's field in a few words: of a list the first two and how many more, of a
    mapping its words.
    """
    if isinstance(value, Mapping):
        return " ".join(str(one) for one in value.values() if isinstance(one, str))
    if isinstance(value, list):
        more = f" and {len(value) - 2} more" if len(value) > 2 else ""
        return "; ".join(short(one) for one in value[:2]) + more
    return str(value)


def _whole(spans: Sequence[Span]) -> list[Span]:
    """One span per fault, from its first request to its last clearing."""
    names = list(dict.fromkeys(s.name for s in spans))
    of = {name: [s for s in spans if s.name == name] for name in names}
    return [Span(n, min(s.begin_s for s in of[n]), max(s.end_s for s in of[n]), "") for n in names]


def _window_end(fault: Span, run_ns: int) -> float:
    return min(
        fault.end_s + AFTER_S,
        fault.begin_s + LONGEST_WINDOW_S,
        max(run_ns / 1e9, fault.begin_s + 1),
    )


def phase_spans(phases: Iterable[Phase], begin_ns: int, end_ns: int) -> list[Span]:
    """The phases, seconds of the run; one that did not end lasts to the end."""
    return [
        Span(
            one_line(p.name),
            (p.begin_ns - begin_ns) / 1e9,
            ((p.end_ns if p.end_ns is not None else end_ns) - begin_ns) / 1e9,
            SHADES.get(p.name.split("[")[0], "other"),
        )
        for p in phases
    ]


def latency_limits(plan: Plan | None) -> list[Limit]:
    """The limits that latency objectives hold, to be drawn across their pane."""
    limits = []
    for objective in plan.objectives if plan is not None else ():
        kind = kinds().get(objective.kind)
        limit_ms = kind.drawn_limit_ms(objective.spec) if kind is not None else None
        if limit_ms is not None:
            limits.append(Limit(limit_label(objective, limit_ms), limit_ms))
    return limits


def limit_label(objective: Objective, limit_ms: float) -> str:
    """What a limit's line belongs to: `read-p95: p95 of read 50 ms, per population, 90 % of the
    users`.
    """
    spec = objective.spec
    told = one_line(objective.name) + ":"
    quantile, where, by = spec.get("quantile"), spec.get("where") or {}, spec.get("by") or ()
    if isinstance(quantile, int | float):
        told += f" p{quantile * 100:g}"
    values = [v for some in where.values() for v in ([some] if isinstance(some, str) else some)]
    if values:
        told += f" of {one_line(', '.join(str(v) for v in values))}"
    told += f" {amount(limit_ms, 'ms')}"
    coverage = spec.get("coverage", 1.0)
    partly = isinstance(coverage, int | float) and coverage < 1
    columns = [by] if isinstance(by, str) else list(by) or (["population"] if partly else [])
    if columns:
        told += f", per {one_line(' and '.join(str(c) for c in columns))}"
    return f"{told}, {amount(coverage, 'share')} of the users" if partly else told


def _timeline(
    run: Run, plan: Plan | None, series: ChartSeries, faults: Sequence[Span], duration_s: float
) -> Markup:
    chart = TimelineChart(
        duration_s=duration_s,
        phases=phase_spans(
            run.phases(), series.begin_ns, series.begin_ns + round(duration_s * 1e9)
        ),
        faults=faults,
        series=series,
        limits=latency_limits(plan),
        planned_rate_per_s=plan.load.rate_per_s if plan is not None else None,
    )
    within = good_within_ms(plan)
    good = "answered correctly" + (f" within {amount(within, 'ms')}" if within is not None else "")
    failures = ", ".join(f"{count(n)} {one_line(word)}" for word, n in series.failures.items())
    return Markup(
        '<h2>Timeline</h2><div class="scroll">{}</div>'
        '<p class="soft"><small>Good: {}. One bin is {:g} s. Failures: {}.</small></p>'
    ).format(timeline(chart), good, series.width_s, failures or "none")


def _around_faults(
    series: ChartSeries, windows: Sequence[ChartWindow], faults: Sequence[Span]
) -> Markup:
    parts = []
    for window, fault in zip(windows, faults, strict=True):
        begin_s = (window.begin_ns - series.begin_ns) / 1e9
        mine = [(name, counts) for (of, name), counts in series.fine.items() if of == window.name]
        mine.sort(key=lambda item: (sum(item[1][1]) - sum(item[1][0]), item[0]))
        charts = Markup("").join(
            multiple(one_line(name), counts, (fault.begin_s, fault.end_s), begin_s)
            for name, counts in mine[:MAX_POPULATIONS]
        )
        more = (
            f"The {len(mine) - MAX_POPULATIONS} populations with the fewest failures are not drawn."
            if len(mine) > MAX_POPULATIONS
            else ""
        )
        parts.append(
            Markup(
                '<h3>Around {}</h3><div class="multiples">{}</div><p class="soft">{}</p>'
            ).format(window.name, charts or "No request was sent around this fault.", more)
        )
    if not parts:
        return Markup("")
    note = (
        f"Requests per {FINE_S * 1000:g} ms by population, 0 is the fault's begin, shaded "
        "while it lasted. Red: not good."
    )
    return Markup(
        '<h2>What users saw around each fault</h2><p class="soft"><small>{}</small></p>{}'
    ).format(note, Markup("").join(parts))


def _populations(series: ChartSeries, plan: Plan | None) -> Markup:
    if not series.overall_ms:
        return Markup("<h2>Populations</h2><p>No sample was recorded.</p>")
    shares = {p.name: p.share for p in plan.target.populations} if plan is not None else {}
    head = [
        ("Population", "name"),
        *((t, "number") for t in ("Share of users", "Requests", "Good", "p50", "p95", "p99")),
    ]
    rows = [
        (
            one_line(name),
            amount(shares.get(name), "share"),
            count(total),
            amount(good, "share"),
            *(_ms(q) for q in latencies),
        )
        for name, (total, good, latencies) in series.overall_ms.items()
    ]
    return Markup("<h2>Populations, over the whole run</h2>{}").format(table(head, rows))


def _ms(value: float | None) -> str:
    return (
        "failed"
        if value is not None and math.isinf(value)
        else amount(None if value is None else float(f"{value:.3g}"), "ms")
    )


def _generator(run: Run) -> Markup:
    workers: dict[str, list[dict[str, Any]]] = {}
    for row in run.generator:
        workers.setdefault(str(row.get("worker", "")), []).append(row)
    if not workers:
        return Markup("<h2>Load generator</h2><p>The load generator left no account of itself.</p>")
    head = [("Worker", "name")]
    head += [
        (t, "number")
        for t in (
            "Planned",
            "Sent",
            "Not sent",
            "Send lag p99, worst second",
            "Loop lag, worst",
            "CPU, highest",
            "Ended cleanly",
        )
    ]
    rows = []
    for name, seen in sorted(workers.items()):
        rows.append(
            (
                one_line(name),
                count(int(_total(seen, "planned"))),
                count(int(_total(seen, "sent"))),
                count(int(_total(seen, "not_sent"))),
                amount(_highest(seen, "send_lag_p99_ms"), "ms"),
                amount(_highest(seen, "loop_lag_max_ms"), "ms"),
                amount(_highest(seen, "cpu"), "share"),
                "yes" if any(row.get("final") is True for row in seen) else "no",
            )
        )
    return Markup("<h2>Load generator</h2>{}").format(table(head, rows))


def _numbers(rows: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    values = [row.get(key) for row in rows]
    return [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]


def _total(rows: Iterable[Mapping[str, Any]], key: str) -> float:
    return math.fsum(_numbers(rows, key))


def _highest(rows: Iterable[Mapping[str, Any]], key: str) -> float | None:
    return max(_numbers(rows, key), default=None)


def _events(run: Run, begin_ns: int) -> Markup:
    rows = []
    for row in run.timeline[:MAX_EVENTS]:
        at = row.get("at_ns")
        rest = ", ".join(
            f"{key} {short(value)}"
            for key, value in row.items()
            if key not in {"at_ns", "event"} and value not in (None, "")
        )
        at_text = f"{(at - begin_ns) / 1e9:.2f} s" if isinstance(at, int) else ""
        rows.append((at_text, one_line(str(row.get("event", ""))), one_line(rest)))
    more = (
        f"{len(run.timeline) - MAX_EVENTS} more are in timeline.ndjson."
        if len(run.timeline) > MAX_EVENTS
        else ""
    )
    head = [("At", "number"), ("Event", "name"), ("What", "why")]
    return Markup("<details><summary>{} events</summary>{}<p>{}</p></details>").format(
        count(len(run.timeline)), table(head, rows), more
    )
