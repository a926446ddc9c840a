"""Traces that the target told while the run lasted: which operations failed, in which ways whole
requests failed from process to process, and single ones span by span.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.report.charts.svg import rect, svg
from stormgate.report.html.parts import heading, slug, table
from stormgate.report.html.requests import ms
from stormgate.report.series.traces import (
    FailedWay,
    OperationTold,
    SpanShown,
    TracesTold,
    status_words,
    traces_told,
    tree,
)
from stormgate.report.words import DASH, count, one_line

if TYPE_CHECKING:
    from stormgate.model import Plan

MOST_OPERATIONS = 40
MOST_WAYS = 12
MOST_SLOW = 3
MOST_SPANS = 60
DEEPEST = 8
WIDTH = 220.0


@dataclass(slots=True)
class TraceSection:
    """The section, and the traces that have an anchor in it; `known` are all that were told."""

    drawn: Markup = field(default_factory=Markup)
    anchors: dict[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()

    def link(self, trace: str) -> Markup:
        """A trace in a table of requests: a link where it is drawn."""
        words = one_line(trace)
        shown = words if len(words) <= 10 else f"{words[:8]}…"
        if anchor := self.anchors.get(trace):
            return Markup('<a href="#{}" title="{}">{}</a>').format(anchor, words, shown)
        told = "" if trace in self.known else ", never received"
        return Markup('<span title="{}">{}</span>{}').format(words, shown, told)


def trace_section(
    rows: Sequence[Mapping[str, Any]],
    plan: Plan | None,
    begin_ns: int,
    wanted: Iterable[str] = (),
) -> TraceSection:
    """The section; empty where nobody asked for traces and none came. `wanted` are traces to be
    drawn in any case, as far as they were received.
    """
    asked = plan is not None and any(o.kind == "tracesWhole" for o in plan.objectives)
    if not rows:
        if not asked:
            return TraceSection()
        words = "No span was received: nobody listened, or nobody told."
        return TraceSection(Markup("{}<p>{}</p>").format(heading("Traces", "traces"), words))
    told = traces_told(rows)
    samples = dict.fromkeys(
        [
            *(way.traces[0] for way in told.ways[:MOST_WAYS]),
            *(trace for _, trace in told.slowest[:MOST_SLOW]),
            *(trace for trace in wanted if trace in told.of),
        ]
    )
    anchors = {trace: f"trace-{slug(trace)}" for trace in samples}
    section = TraceSection(anchors=anchors, known=frozenset(told.of))
    parts = (
        heading("Traces", "traces"),
        _sum(told, begin_ns),
        _operations(told.operations),
        _ways(told.ways, section, begin_ns),
        _slowest(told, section),
        *(_one(trace, told, anchors[trace]) for trace in samples),
    )
    section.drawn = Markup("\n").join(parts)
    return section


def _sum(told: TracesTold, begin_ns: int) -> Markup:
    failed = sum(len(way.traces) for way in told.ways)
    at = [int(row["at_ns"]) for spans in told.of.values() for row in spans]
    return Markup('<p>{}</p><p class="soft"><small>{}</small></p>').format(
        f"{count(told.spans)} spans of {count(len(told.of))} traces were received, from "
        f"{(min(at) - begin_ns) / 1e9:.1f} to {(max(at) - begin_ns) / 1e9:.1f} s of the run; "
        f"{count(failed)} of the traces failed somewhere.",
        "What the target told of itself (OTLP), by its own choice of what to tell: a share of "
        "these traces is no share of the requests. Times are those of receiving; within a trace, "
        "by the clocks of who told.",
    )


def _operations(operations: Sequence[OperationTold]) -> Markup:
    if not operations:
        return Markup("")
    titles = ("Spans", "Failed", "p50", "p95", "Slowest")
    head = [("Operation", "name"), *((title, "number") for title in titles)]
    rows = []
    for one in operations[:MOST_OPERATIONS]:
        took = sorted(one.took_ms)
        rows.append(
            (
                one_line(f"{one.service} {one.name}"),
                count(one.spans),
                count(one.failed),
                *(ms(_at(took, q)) for q in (0.5, 0.95, 1.0)),
            )
        )
    left = len(operations) - MOST_OPERATIONS
    more = f"{left} more with fewer failures are left out." if left > 0 else ""
    return Markup("<h3>Operations, as who served them told</h3>{}<p>{}</p>").format(
        table(head, rows), more
    )


def _at(ordered: Sequence[float], q: float) -> float | None:
    """The `q` quantile as the smallest value that so many do not exceed."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


def _ways(ways: Sequence[FailedWay], section: TraceSection, begin_ns: int) -> Markup:
    if not ways:
        return Markup("<p>No trace tells of a failure.</p>")
    head = [("How it failed", "why"), ("Traces", "number"), ("Whole", "word")]
    head += [("First", "number"), ("Last", "number"), ("One of them", "word")]
    rows = [
        (
            Markup(" → ").join(one_line(step) for step in way.steps),
            count(len(way.traces)),
            "yes" if way.broken is None else f"no: it {way.broken}",
            f"{(way.first_ns - begin_ns) / 1e9:.1f} s",
            f"{(way.last_ns - begin_ns) / 1e9:.1f} s",
            section.link(way.traces[0]),
        )
        for way in ways[:MOST_WAYS]
    ]
    rest = sum(len(way.traces) for way in ways[MOST_WAYS:])
    more = f"{count(rest)} more failed in {len(ways) - MOST_WAYS} other ways." if rest else ""
    return Markup("<h3>Failed traces, by how they failed</h3>{}<p>{}</p>").format(
        table(head, rows), more
    )


def _slowest(told: TracesTold, section: TraceSection) -> Markup:
    if not told.slowest:
        return Markup("")
    links = Markup(", ").join(
        Markup("{} {}").format(ms(took), section.link(trace))
        for took, trace in told.slowest[:MOST_SLOW]
    )
    return Markup("<p>The slowest of those that did not fail: {}.</p>").format(links)


def _one(trace: str, told: TracesTold, anchor: str) -> Markup:
    spans = tree(told.of[trace])
    ends = [s.begin_ms + (s.took_ms or 0) for s in spans if s.begin_ms is not None]
    longest = max(ends, default=0.0)
    head = [("Span", "name"), ("Kind", "word"), ("Status", "word"), ("Took", "number")]
    head += [("When in the trace", "bar")] if ends else []
    rows = [
        (
            Markup('<span class="d{}">{}</span>').format(
                min(span.depth, DEEPEST), one_line(f"{span.service} {span.name}")
            ),
            span.kind,
            ("✘ " if span.failed else "") + status_words(span.kind, span.status),
            DASH if span.took_ms is None else ms(span.took_ms),
            *([_bar(span, longest)] if ends else []),
        )
        for span in spans[:MOST_SPANS]
    ]
    left = len(spans) - MOST_SPANS
    more = f"{left} more spans are in traces.ndjson." if left > 0 else ""
    return Markup(
        '<details class="trace"><summary>Trace {}: {} spans{}</summary>'
        '<div id="{}">{}<p>{}</p></div></details>'
    ).format(
        one_line(trace),
        count(len(spans)),
        f", {ms(longest)}" if ends else "",
        anchor,
        table(head, rows, "cards spans"),
        more,
    )


def _bar(span: SpanShown, longest_ms: float) -> Markup:
    """When a span lasted, within its trace."""
    if span.begin_ms is None:
        return Markup("{}").format(DASH)
    scale = WIDTH / longest_ms if longest_ms > 0 else 0.0
    took = span.took_ms or 0.0
    said = f"from {ms(span.begin_ms)} for {ms(span.took_ms)}"
    # As wide as can be seen, and within the frame.
    wide = max(2.0, took * scale)
    left = min(span.begin_ms * scale, WIDTH - wide)
    parts = [rect(max(0.0, left), 3, wide, 8, "bad" if span.failed else "ok", said)]
    return svg(WIDTH, 14, said, parts, "span")
