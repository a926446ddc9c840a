"""One axis of time for everything: phases and faults on top, panes below, the faults shaded through
all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stormgate.report.charts.panes import UNITS_PER_S, Pane
from stormgate.report.charts.svg import n, nice, rect, svg, text
from stormgate.report.words import seconds

WIDTH, LEFT, RIGHT = 1000.0, 66.0, 26.0
PLOT = WIDTH - LEFT - RIGHT
CHARACTER = 6.6  # mean width of a 12 px letter
MARKS_OF_A_FAULT = (("asked", "▽"), ("acknowledged", "◇"), ("seen", "◆"), ("cleared", "△"))
MOST_MARKS = 40


@dataclass(frozen=True, slots=True)
class Span:
    """A named stretch of the run, seconds from its begin. `css` is the class it is drawn with;
    `marks` are the seconds at which what is named happened.
    """

    name: str
    begin_s: float
    end_s: float
    css: str
    title: str = ""
    marks: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TimelineChart:
    """What the timeline chart shows."""

    duration_s: float
    phases: Sequence[Span]
    faults: Sequence[Span]
    panes: Sequence[Pane]


def timeline(chart: TimelineChart) -> Markup:
    """Phases, faults and every pane, one below the other."""
    parts: list[Markup] = [Markup(_PATTERNS)]  # noqa: S704 - our own
    parts += _strip(chart, 4.0)
    y = 34.0
    for lane in dict.fromkeys(span.name for span in chart.faults):
        parts += _lane(chart, lane, y)
        y += 22
    y += 8
    for pane in chart.panes:
        parts += _pane(chart, pane, y + 18)
        y += pane.height + 36
    parts += _axis(chart, y - 12)
    label = "The run over time: phases, faults, and " + ", ".join(p.title for p in chart.panes)
    return svg(WIDTH, y + 10, label, parts, "timeline")


# Hatched, so that what failed in different ways differs without its colour.
_PATTERNS = (
    "<defs>"
    + "".join(
        f'<pattern id="hatch{number}" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate({angle})"><rect class="o-fill{number}" width="6" height="6"/>'
        '<rect class="o-gap" width="2" height="6"/></pattern>'
        for number, angle in ((1, 45), (2, 135), (3, 0))
    )
    + "</defs>"
)


def _x(chart: TimelineChart, at_s: float) -> float:
    return LEFT + PLOT * min(1.0, max(0.0, at_s / chart.duration_s))


def _plot(
    chart: TimelineChart, top: float, height: float, body: Iterable[Markup], css: str = ""
) -> Markup:
    return Markup(
        '<svg class="plot {}" x="{}" y="{}" width="{}" height="{}" viewBox="0 0 {} {}" '
        'preserveAspectRatio="none">{}</svg>'
    ).format(
        css,
        n(LEFT),
        n(top),
        n(PLOT),
        n(height),
        n(chart.duration_s * UNITS_PER_S),
        n(height),
        Markup("").join(body),
    )


def _at(at_s: float, x: float, y: float, words: str, css: str, title: str = "") -> Markup:
    """Words at a second: the page's script moves them when it zooms."""
    return Markup(
        '<text class="{}" data-at="{}" x="{}" y="{}" text-anchor="middle">{}<title>{}</title>'
        "</text>"
    ).format(css, f"{at_s:.2f}", n(x), n(y), words, title or words)


def _strip(chart: TimelineChart, top: float) -> Iterable[Markup]:
    rects, words = [], []
    for span in chart.phases:
        begin, end = span.begin_s * UNITS_PER_S, span.end_s * UNITS_PER_S
        title = f"{span.name}: {seconds(span.end_s - span.begin_s)}, from {span.begin_s:.1f} s"
        rects.append(rect(begin, 0, max(1.0, end - begin), 20, f"phase {span.css}", title))
        width = _x(chart, span.end_s) - _x(chart, span.begin_s)
        short = span.name if len(span.name) * CHARACTER + 8 <= width else span.name.split("[")[0]
        if len(short) * CHARACTER + 8 <= width:
            middle = (span.begin_s + span.end_s) / 2
            words.append(_at(middle, _x(chart, middle), top + 14, short, "in", title))
    yield _plot(chart, top, 20, rects)
    yield from words


def _lane(chart: TimelineChart, lane: str, y: float) -> Iterable[Markup]:
    spans = [span for span in chart.faults if span.name == lane]
    begin, end = min(s.begin_s for s in spans), max(s.end_s for s in spans)
    yield _plot(
        chart,
        y,
        8,
        [
            rect(
                s.begin_s * UNITS_PER_S,
                0,
                max(2.0, (s.end_s - s.begin_s) * UNITS_PER_S),
                8,
                f"fault {s.css}",
                s.title,
            )
            for s in spans
        ],
    )
    glyphs = dict(MARKS_OF_A_FAULT)
    marks = [(s, word, at) for s in spans for word, at in s.marks][:MOST_MARKS]
    for span, word, at in marks:
        told = f"{word} at {at:.2f} s: {span.title}"
        yield _at(at, _x(chart, at), y + 18, glyphs[word], "mark", told)
    if _x(chart, begin) - LEFT > len(lane) * CHARACTER + 10:
        yield text(_x(chart, begin) - 8, y + 8, lane, "label", "end")
    else:
        yield text(_x(chart, end) + 8, y + 8, lane, "label", "start")


def _pane(chart: TimelineChart, pane: Pane, top: float) -> Iterable[Markup]:
    yield text(LEFT, top - 5, pane.title, f"title own-{pane.key}", "start")
    for at, words in pane.ticks:
        y = top + pane.height * (1 - at)
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            n(LEFT), n(WIDTH - RIGHT), n(y), n(y)
        )
        yield text(LEFT - 6, y + 4, words, f"tick own-{pane.key}", "end")
    yield _plot(
        chart, top, pane.height, [*_shades(chart, pane.height), *pane.body], f"p-{pane.key}"
    )
    taken: list[float] = []
    for at, letter, css in sorted(pane.ends, reverse=True):
        y = top + pane.height * (1 - at) + 4
        while any(abs(y - other) < 10 for other in taken):
            y += 2
        taken.append(y)
        yield text(WIDTH - RIGHT + 5, y, letter, f"end {css} own-{pane.key}", "start")
    # Last, so that no curve runs over their words.
    for at, words in pane.rules:
        y = top + pane.height * (1 - at)
        yield Markup('<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            n(LEFT), n(WIDTH - RIGHT), n(y), n(y)
        )
        yield text(LEFT + 4, y - 4, words, "limit-label", "start")


def _shades(chart: TimelineChart, height: float) -> Iterable[Markup]:
    for lane in dict.fromkeys(span.name for span in chart.faults):
        spans = [span for span in chart.faults if span.name == lane]
        begin, end = min(s.begin_s for s in spans), max(s.end_s for s in spans)
        width = max(2.0, (end - begin) * UNITS_PER_S)
        yield rect(begin * UNITS_PER_S, 0, width, height, "shade", f"fault {lane}")
    for span in chart.phases[1:]:
        x = n(span.begin_s * UNITS_PER_S)
        yield Markup('<line class="edge" x1="{}" x2="{}" y1="0" y2="{}"/>').format(x, x, n(height))


def _axis(chart: TimelineChart, y: float) -> Iterable[Markup]:
    step = nice(chart.duration_s / 10)
    at = 0.0
    while at <= chart.duration_s + 1e-9:
        words = f"{at:g} s"
        yield _at(at, _x(chart, at), y + 14, words, "tick axis")
        at += step
