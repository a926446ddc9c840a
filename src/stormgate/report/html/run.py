"""The sections of the page that are drawn from the evidence itself: what happened over time, around
each fault, and the figures behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.judge.registry import kinds
from stormgate.judge.rules.stale import usable
from stormgate.model import Objective, Plan
from stormgate.report.charts.multiples import multiple
from stormgate.report.charts.panes import (
    Limit,
    Pane,
    generator_pane,
    good_pane,
    label_pane,
    latency_pane,
    outcome_pane,
    reading_pane,
)
from stormgate.report.charts.timeline import Span, TimelineChart, timeline
from stormgate.report.html.faults import fault_spans, fault_table, short, whole
from stormgate.report.html.generator import generator_section, over_time
from stormgate.report.html.noise import noise_section
from stormgate.report.html.parts import figures, heading, table
from stormgate.report.html.phases import phase_spans
from stormgate.report.html.requests import request_sections, worst_of, worst_section
from stormgate.report.html.traces import trace_section
from stormgate.report.series.collect import FINE_S, ChartSeries, ChartWindow, collect, span
from stormgate.report.series.cuts import Cut, Group, is_unknown
from stormgate.report.words import amount, count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stormgate.evidence.read import Run

BEFORE_S, AFTER_S, LONGEST_WINDOW_S = 4.0, 16.0, 90.0
MAX_EVENTS = 300
MAX_POPULATIONS = 60
MAX_LATENCY_PANES = 6
MAX_READINGS = 6
MOST_COLUMNS = 12


@dataclass(slots=True)
class RunSections:
    """What is drawn: first what happened to users, then the figures behind it. `series` is None
    where the run left no timeline.
    """

    drawn: Markup
    behind: Markup
    begin_ns: int = 0
    duration_s: float = 0.0
    series: ChartSeries | None = None
    faults: list[Span] = field(default_factory=list)
    free_by: str = "op"


def run_sections(run: Run) -> RunSections:
    """The sections. Reading never raises: `run.problems` says what was missing or torn."""
    ends = span(run.timeline)
    if ends is None:
        return RunSections(
            Markup("{}<p>The run left no timeline.</p>").format(heading("Timeline", "timeline")),
            Markup(""),
        )
    plan = run.plan
    begin_ns, end_ns = ends
    faults = fault_spans(run.timeline, begin_ns, end_ns)
    windows = [
        ChartWindow(
            f.name,
            begin_ns + round((f.begin_s - BEFORE_S) * 1e9),
            begin_ns + round(_window_end(f, end_ns - begin_ns) * 1e9),
        )
        for f in whole(faults)
    ]
    held = latency_cuts(plan)
    series = collect(
        run,
        begin_ns,
        end_ns,
        good_within_ms(plan),
        windows,
        [cut for cut, _, _ in held],
        trace_label(plan),
    )
    traces = trace_section(run.traces, plan, begin_ns, [one.trace for one in worst_of(series)])
    duration_s = (end_ns - begin_ns) / 1e9
    drawn = (
        _timeline(run, series, held, faults, duration_s),
        _around_faults(series, windows, whole(faults)),
    )
    behind = (
        request_sections(series, plan, duration_s),
        noise_section(series, held),
        worst_section(series, traces.link),
        traces.drawn,
        generator_section(run),
        _events(run, begin_ns),
    )
    return RunSections(
        Markup("\n").join(drawn),
        Markup("\n").join(behind),
        begin_ns,
        duration_s,
        series,
        faults,
        _free_by(series),
    )


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


def trace_label(plan: Plan | None) -> str:
    """The column in which a request's trace is, as the first objective about traces says."""
    for objective in plan.objectives if plan is not None else ():
        if objective.kind == "tracesWhole" and isinstance(objective.spec.get("label"), str):
            return str(objective.spec["label"])
    return "trace"


def _window_end(fault: Span, run_ns: int) -> float:
    return min(
        fault.end_s + AFTER_S,
        fault.begin_s + LONGEST_WINDOW_S,
        max(run_ns / 1e9, fault.begin_s + 1),
    )


def latency_cuts(plan: Plan | None) -> list[tuple[Cut, float, Limit]]:
    """Of each objective that holds a latency: its own requests, its quantile and its limit, so that
    no limit is drawn across requests that it is not about.
    """
    held: list[tuple[Cut, float, Limit]] = []
    for objective in plan.objectives if plan is not None else ():
        kind = kinds().get(objective.kind)
        limit_ms = kind.drawn_limit_ms(objective.spec) if kind is not None else None
        if limit_ms is None or len(held) == MAX_LATENCY_PANES:
            continue
        spec = objective.spec
        quantile = spec.get("quantile")
        where = {
            str(column): (words,) if isinstance(words, str) else tuple(map(str, words))
            for column, words in (spec.get("where") or {}).items()
        }
        cut = Cut(f"objective {objective.name}", _columns(spec), where)
        q = float(quantile) if isinstance(quantile, int | float) else 0.95
        held.append((cut, q, Limit(limit_label(objective, limit_ms), limit_ms)))
    return held


def _columns(spec: Mapping[str, Any]) -> tuple[str, ...]:
    by, coverage = spec.get("by") or (), spec.get("coverage", 1.0)
    columns = (by,) if isinstance(by, str) else tuple(str(c) for c in by)
    partly = isinstance(coverage, int | float) and coverage < 1
    return columns or (("population",) if partly else ())


def limit_label(objective: Objective, limit_ms: float) -> str:
    """What a limit's line belongs to: `read-p95: p95 of read 50 ms, per population, 90 % of the
    users`.
    """
    spec = objective.spec
    told = one_line(objective.name) + ":"
    quantile, where = spec.get("quantile"), spec.get("where") or {}
    if isinstance(quantile, int | float):
        told += f" p{quantile * 100:g}"
    values = [v for some in where.values() for v in ([some] if isinstance(some, str) else some)]
    if values:
        told += f" of {one_line(', '.join(str(v) for v in values))}"
    told += f" {amount(limit_ms, 'ms')}"
    if columns := _columns(spec):
        told += f", per {one_line(' and '.join(columns))}"
    coverage = spec.get("coverage", 1.0)
    partly = isinstance(coverage, int | float) and coverage < 1
    return f"{told}, {amount(coverage, 'share')} of the users" if partly else told


def _timeline(
    run: Run,
    series: ChartSeries,
    held: Sequence[tuple[Cut, float, Limit]],
    faults: Sequence[Span],
    duration_s: float,
) -> Markup:
    plan, end_ns = run.plan, series.begin_ns + round(duration_s * 1e9)
    panes = [good_pane(series), *_latency_panes(series, held)]
    planned, lag_ms, cpu = over_time(run.generator, series)
    steady_rate = plan.load.rate_per_s if plan is not None and not plan.load.shape else None
    panes.append(outcome_pane(series, planned, steady_rate))
    if any(v is not None for v in (*lag_ms, *cpu)):
        allowed = plan.validity.max_send_lag_p99_ms if plan is not None else 10.0
        panes.append(generator_pane(lag_ms, cpu, series.width_s, allowed))
    panes += [label_pane(column, words, series) for column, words in series.labels.items()]
    panes += _reading_panes(run, series.begin_ns, duration_s)
    chart = TimelineChart(
        duration_s, phase_spans(run.phases(), series.begin_ns, end_ns), faults, panes
    )
    within = good_within_ms(plan)
    good = "answered correctly" + (f" within {amount(within, 'ms')}" if within is not None else "")
    failures = ", ".join(f"{count(n)} {one_line(word)}" for word, n in series.failures.items())
    problems = "".join(f" Not drawn: {one_line(p)}." for p in series.problems[:3])
    return Markup(
        '{}<p class="soft"><small>Good: {}. One bin is {:g} s and exact. Failures: {}.{}</small>'
        "</p>"
        '<div id="readout" hidden></div><div class="scroll" tabindex="0" role="region" '
        'aria-label="Timeline">{}</div>{}{}{}'
    ).format(
        heading("Timeline", "timeline"),
        good,
        series.width_s,
        failures or "none",
        problems,
        timeline(chart),
        _legends(panes),
        fault_table(faults),
        Markup("").join(figures(pane.title, pane.head, pane.rows) for pane in panes),
    )


def _latency_panes(series: ChartSeries, held: Sequence[tuple[Cut, float, Limit]]) -> Iterable[Pane]:
    for number, (cut, q, limit) in enumerate(held):
        counted = series.cuts[cut.name]
        lines = {
            name: group.quantiles_ms.get(q) or _near(group, q)
            for name, group in counted.groups.items()
        }
        title = f"{limit.name.partition(':')[0]}: p{q * 100:g}"
        title += f" by {' and '.join(cut.columns)}" if cut.columns else ""
        title += f", one step {counted.latency_width_s:g} s"
        yield latency_pane(f"latency-{number}", title, lines, counted.latency_width_s, limit)
    by = _free_by(series)
    counted = series.cuts[by]
    lines = {n: g.quantiles_ms[0.95] for n, g in counted.groups.items() if not is_unknown(n)}
    title = f"Latency: p95 by {by}, one step {counted.latency_width_s:g} s"
    yield latency_pane("latency-free", title, lines, counted.latency_width_s)


def _free_by(series: ChartSeries) -> str:
    """By what the free latency pane is parted at first: by region where answers say theirs."""
    named = [name for name in series.cuts["region"].groups if not is_unknown(name)]
    return "region" if named else "op"


def _near(group: Group, q: float) -> list[float | None]:
    """The next higher quantile that is kept."""
    kept = sorted(group.quantiles_ms)
    return group.quantiles_ms[next((k for k in kept if k >= q), kept[-1])]


def _reading_panes(run: Run, begin_ns: int, duration_s: float) -> Iterable[Pane]:
    found: dict[str, list[tuple[float, float | None, str]]] = {}
    for row in run.readings:
        at, error = int(row["at_ns"]), row.get("error")
        value = float(row["value"]) if usable(row) else None
        seen = found.setdefault(str(row.get("probe")), [])
        seen.append(((at - begin_ns) / 1e9, value, str(error or "no value")))
    for probe, values in sorted(found.items())[:MAX_READINGS]:
        yield reading_pane(probe, sorted(values, key=lambda v: v[0])[:4000], duration_s)


def _legends(panes: Sequence[Pane]) -> Markup:
    """What the letters and fills of each pane stand for."""
    shown = []
    for pane in panes:
        if not pane.legend:
            continue
        items = Markup("").join(
            Markup(
                '<li><svg class="swatch" viewBox="0 0 22 10" aria-hidden="true">{}</svg> {}{}</li>'
            ).format(_swatch(css), Markup("<b>{}</b> ").format(letter) if letter else "", words)
            for letter, css, words in pane.legend
        )
        note = Markup(" <small>{}</small>").format(pane.note) if pane.note else ""
        shown.append(
            Markup('<div class="legend" id="legend-{}"><span>{}</span><ul>{}</ul>{}</div>').format(
                pane.key, pane.title.partition(":")[0], items, note
            )
        )
    return Markup('<div class="legends">{}</div>').format(Markup("").join(shown))


def _swatch(css: str) -> Markup:
    if css.startswith("o-"):
        return Markup('<rect class="{}" width="22" height="10"/>').format(css)
    return Markup('<path class="line {}" d="M0,5H22"/>').format(css)


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
                '<h3>Around {}</h3><div class="multiples">{}</div><p class="soft">{}</p>{}'
            ).format(
                window.name,
                charts or "No request was sent around this fault.",
                more,
                _around_numbers(window.name, mine[:MOST_COLUMNS], begin_s - fault.begin_s),
            )
        )
    if not parts:
        return Markup("")
    note = (
        f"Requests per {FINE_S * 1000:g} ms by population, 0 is the fault's begin, shaded "
        "while it lasted. Red, and hanging from the top of its bar: not good."
    )
    return Markup('{}<p class="soft"><small>{}</small></p>{}').format(
        heading("What users saw around each fault", "around"), note, Markup("").join(parts)
    )


def _around_numbers(
    name: str, mine: Sequence[tuple[str, tuple[Sequence[int], Sequence[int]]]], begin_s: float
) -> Markup:
    """Per step how many of how many were not good; `begin_s` is the first step's, since the fault
    was asked for.
    """
    head = [("Since the fault", "number"), *((one_line(who), "number") for who, _ in mine)]
    rows = []
    for step in range(max((len(total) for _, (total, _) in mine), default=0)):
        cells = [f"{total[step] - good[step]} of {total[step]}" for _, (total, good) in mine]
        rows.append((f"{begin_s + step * FINE_S:+.2f} s", *cells))
    return figures(f"around {name}, not good of all", head, rows)


def _events(run: Run, begin_ns: int) -> Markup:
    rows = []
    for row in run.timeline[:MAX_EVENTS]:
        at = row.get("at_ns")
        at_text = f"{(at - begin_ns) / 1e9:.2f} s" if isinstance(at, int) else ""
        rows.append((at_text, one_line(str(row.get("event", ""))), event_words(row)))
    more = (
        f"{len(run.timeline) - MAX_EVENTS} more are in timeline.ndjson."
        if len(run.timeline) > MAX_EVENTS
        else ""
    )
    head = [("At", "number"), ("Event", "name"), ("What", "why")]
    return Markup('<details id="events"><summary>{} events</summary>{}<p>{}</p></details>').format(
        count(len(run.timeline)), table(head, rows), more
    )


def event_words(row: Mapping[str, Any]) -> str:
    """What a timeline row says besides its time and name."""
    return one_line(
        ", ".join(
            f"{key} {short(value)}"
            for key, value in row.items()
            if key not in {"at_ns", "event"} and value not in (None, "")
        )
    )
