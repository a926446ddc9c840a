"""Inline SVG: the timeline of a run in aligned panes, and small multiples around each fault.
Colours live in page.css.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stormgate.report.series import FINE_S, ChartSeries
from stormgate.report.words import amount, percent, seconds

WIDTH, LEFT, RIGHT = 1000.0, 66.0, 14.0
PLOT = WIDTH - LEFT - RIGHT
CHARACTER = 6.6  # mean width of a 12 px letter


@dataclass(frozen=True, slots=True)
class Span:
    """A named stretch of the run, seconds from its begin. `css` is the class it is drawn with."""

    name: str
    begin_s: float
    end_s: float
    css: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A line across the latency pane."""

    name: str
    ms: float


@dataclass(frozen=True, slots=True)
class TimelineChart:
    """What the timeline chart shows."""

    duration_s: float
    phases: Sequence[Span]
    faults: Sequence[Span]
    series: ChartSeries
    limits: Sequence[Limit]
    planned_rate_per_s: float | None


def timeline(chart: TimelineChart) -> Markup:
    """Phases and faults on top, then good share, latency (log scale) and rate, one time axis for
    all.
    """
    parts: list[Markup] = []
    top = 22.0
    parts += _strip(chart, top)
    y = top + 24
    lanes = list(dict.fromkeys(span.name for span in chart.faults))
    for lane in lanes:
        parts += _lane(chart, lane, y)
        y += 18
    panes_top = y + 10
    heights = (110.0, 170.0, 80.0)
    body: list[Markup] = []
    y = panes_top
    for height, draw in zip(heights, (_good_pane, _latency_pane, _rate_pane), strict=True):
        body += draw(chart, y + 16, height)
        y += height + 34
    parts += _shades(chart, panes_top, y - 18)
    parts += body
    parts += _axis(chart, panes_top, y - 18)
    label = "Timeline of the run: phases, faults, share of good answers, latency and rate over time"
    return _svg(WIDTH, y + 8, label, parts, "timeline")


def _x(chart: TimelineChart, at_s: float) -> float:
    return LEFT + PLOT * min(1.0, max(0.0, at_s / chart.duration_s))


def _strip(chart: TimelineChart, top: float) -> Iterable[Markup]:
    for span in chart.phases:
        x, width = (
            _x(chart, span.begin_s),
            max(1.0, _x(chart, span.end_s) - _x(chart, span.begin_s)),
        )
        title = f"{span.name}: {seconds(span.end_s - span.begin_s)}, from {span.begin_s:.1f} s"
        yield _rect(x, top - 18, width - 1, 20, f"phase {span.css}", title)
        short = span.name if len(span.name) * CHARACTER + 8 <= width else span.name.split("[")[0]
        if len(short) * CHARACTER + 8 <= width:
            yield _text(x + width / 2, top - 4, short, "in", "middle")


def _lane(chart: TimelineChart, lane: str, y: float) -> Iterable[Markup]:
    spans = [span for span in chart.faults if span.name == lane]
    begin, end = min(s.begin_s for s in spans), max(s.end_s for s in spans)
    for span in spans:
        x = _x(chart, span.begin_s)
        yield _rect(
            x, y - 12, max(2.0, _x(chart, span.end_s) - x), 12, f"fault {span.css}", span.title
        )
    x_begin, x_end = _x(chart, begin), _x(chart, end)
    if x_begin - LEFT > len(lane) * CHARACTER + 10:
        yield _text(x_begin - 6, y - 2, lane, "label", "end")
    else:
        yield _text(x_end + 6, y - 2, lane, "label", "start")


def _shades(chart: TimelineChart, top: float, bottom: float) -> Iterable[Markup]:
    for lane in dict.fromkeys(span.name for span in chart.faults):
        spans = [span for span in chart.faults if span.name == lane]
        x = _x(chart, min(s.begin_s for s in spans))
        yield _rect(
            x,
            top,
            max(2.0, _x(chart, max(s.end_s for s in spans)) - x),
            bottom - top,
            "shade",
            f"fault {lane}",
        )


def _pane(
    top: float, height: float, title: str, ticks: Iterable[tuple[float, str]]
) -> Iterable[Markup]:
    yield _text(LEFT, top - 5, title, "title", "start")
    for at, text in ticks:
        y = top + height * (1 - at)
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _n(LEFT), _n(WIDTH - RIGHT), _n(y), _n(y)
        )
        yield _text(LEFT - 6, y + 4, text, "tick", "end")


def _good_pane(chart: TimelineChart, top: float, height: float) -> Iterable[Markup]:
    series = chart.series
    bad = sum(series.total) - sum(series.good)
    of = f"{bad:,} of {sum(series.total):,} requests were not"
    yield from _pane(
        top, height, f"Share of good answers ({of})", [(0, "0 %"), (0.5, "50 %"), (1, "100 %")]
    )
    step = PLOT * series.width_s / chart.duration_s
    bars: list[Markup] = []
    points: list[tuple[float, float] | None] = []
    for index, (total, good) in enumerate(zip(series.total, series.good, strict=True)):
        x = _x(chart, index * series.width_s)
        if not total:
            points.append(None)
            continue
        share = good / total
        points += [(x, top + height * (1 - share)), (x + step, top + height * (1 - share))]
        if good < total:
            title = (
                f"{index * series.width_s:g} s: {total - good} of {total} bad "
                f"({percent(1 - share)})"
            )
            bars.append(_rect(x, top, max(1.5, step), max(1.5, height * (1 - share)), "bad", title))
            bars.append(_rect(x, top + height + 2, max(1.5, step), 4, "bad", title))
    yield from _line(points, "good")
    yield from bars


def _latency_pane(chart: TimelineChart, top: float, height: float) -> Iterable[Markup]:
    series = chart.series
    finite = [
        v
        for values in series.quantiles_ms.values()
        for v in values
        if v is not None and math.isfinite(v)
    ]
    finite += [limit.ms for limit in chart.limits]
    low, high = _decades(finite)

    def level(ms: float) -> float:
        # The top is kept for what never came, so that "failed" and "slow" are not the same line.
        return 0.9 * min(1.0, max(0.0, math.log10(max(ms, 1e-9) / low) / math.log10(high / low)))

    ticks = [(level(ms), amount(ms, "ms")) for ms in _log_ticks(low, high)]
    yield from _pane(
        top, height, "Latency from the intended start, all requests", [*ticks, (1.0, "failed")]
    )
    width_s = series.latency_width_s
    x_key = WIDTH - RIGHT
    for q, css in ((0.99, "p99"), (0.95, "p95"), (0.50, "p50")):
        points: list[tuple[float, float] | None] = []
        for index, value in enumerate(series.quantiles_ms.get(q, [])):
            if value is None:
                points.append(None)
                continue
            y = top + height * (1 - (1.0 if math.isinf(value) else level(value)))
            points += [(_x(chart, index * width_s), y), (_x(chart, (index + 1) * width_s), y)]
        yield from _line(points, css)
        yield _text(x_key, top - 5, css, f"key {css}-key", "end")
        x_key -= 34
    # Last, so that no curve runs over their words.
    for limit in chart.limits:
        y = top + height * (1 - level(limit.ms))
        yield Markup(
            '<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"><title>{}</title></line>'
        ).format(_n(LEFT), _n(WIDTH - RIGHT), _n(y), _n(y), limit.name)
        yield _text(LEFT + 4, y - 4, limit.name, "limit-label", "start")


def _rate_pane(chart: TimelineChart, top: float, height: float) -> Iterable[Markup]:
    series = chart.series
    rates = [total / series.width_s for total in series.total]
    # One burst at the start would flatten everything else: the highest fiftieth of the bins may
    # leave the pane.
    usual = sorted(rates)[: max(1, math.ceil(len(rates) * 0.98))]
    high = _nice(max(usual[-1], (chart.planned_rate_per_s or 0) * 1.2, 1))
    yield from _pane(
        top,
        height,
        "Requests per second, by intended start",
        [(0, "0"), (0.5, f"{high / 2:,g}"), (1, f"{high:,g}")],
    )
    step = PLOT * series.width_s / chart.duration_s
    points: list[tuple[float, float] | None] = []
    for index, rate in enumerate(rates):
        y = top + height * (1 - min(1.0, rate / high))
        points += [
            (_x(chart, index * series.width_s), y),
            (_x(chart, index * series.width_s) + step, y),
        ]
    yield from _line(points, "rate")
    if chart.planned_rate_per_s:
        y = top + height * (1 - chart.planned_rate_per_s / high)
        yield Markup('<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _n(LEFT), _n(WIDTH - RIGHT), _n(y), _n(y)
        )
        yield _text(
            LEFT + 4, y - 4, f"planned {chart.planned_rate_per_s:g}/s", "limit-label", "start"
        )


def _axis(chart: TimelineChart, top: float, bottom: float) -> Iterable[Markup]:
    step = _nice(chart.duration_s / 10)
    at = 0.0
    while at <= chart.duration_s + 1e-9:
        x = _x(chart, at)
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _n(x), _n(x), _n(bottom - 4), _n(bottom)
        )
        yield _text(x, bottom + 14, f"{at:g} s", "tick", "middle")
        at += step
    for span in chart.phases[1:]:
        x = _x(chart, span.begin_s)
        yield Markup('<line class="edge" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _n(x), _n(x), _n(top), _n(bottom)
        )


def multiple(
    name: str,
    counts: tuple[Sequence[int], Sequence[int]],
    fault: tuple[float, float],
    begin_s: float,
) -> Markup:
    """One population around one fault: per 250 ms how many requests were good and how many were
    not.

    `fault` is its begin and end, `begin_s` where the window begins: seconds of the run.
    """
    total, good = counts
    width, height, left, bottom = 250.0, 62.0, 4.0, 16.0
    plot = width - 2 * left
    high = max([*total, 1])
    length = len(total) * FINE_S
    bad = sum(total) - sum(good)
    parts: list[Markup] = []
    x0 = left + plot * min(1.0, max(0.0, (fault[0] - begin_s) / length))
    x1 = left + plot * min(1.0, max(0.0, (fault[1] - begin_s) / length))
    parts.append(_rect(x0, 0, max(1.5, x1 - x0), height, "shade", "the fault"))
    step = plot / len(total)
    for index, (n, ok) in enumerate(zip(total, good, strict=True)):
        if not n:
            continue
        x, top = left + index * step, height * (1 - n / high)
        failed = height * (n - ok) / high
        at = f"{index * FINE_S + begin_s - fault[0]:+.2f} s: {ok} good, {n - ok} bad"
        if ok:
            parts.append(_rect(x, top + failed, step * 0.86, height - top - failed, "ok", at))
        if n > ok:
            parts.append(_rect(x, top, step * 0.86, max(1.5, failed), "bad", at))
    step_s = int(max(5, _nice(length / 5)))
    for at_s in range(
        math.ceil((begin_s - fault[0]) / step_s) * step_s,
        math.floor(begin_s - fault[0] + length) + 1,
        step_s,
    ):
        x = left + plot * (fault[0] + at_s - begin_s) / length
        parts.append(_text(x, height + 13, f"{at_s:+d} s" if at_s else "0", "tick", "middle"))
    chart = _svg(
        width,
        height + bottom,
        f"{name}: {bad} of {sum(total)} requests bad around the fault",
        parts,
        "multiple",
    )
    figure = Markup("<figure><figcaption><b>{}</b> {}</figcaption>{}</figure>")
    return figure.format(
        name, f"{bad:,} of {sum(total):,} bad" if bad else f"all {sum(total):,} good", chart
    )


def interval(low: float, high: float, limit: float | None, longest: float) -> Markup:
    """A bar from `low` to `high` seconds on a common scale up to `longest`, with the limit as a
    line.
    """

    def x(seconds: float) -> float:
        return 160 * min(1.0, max(0.0, seconds / longest)) if longest > 0 else 0.0

    parts = [_rect(0, 5, x(low), 8, "sure", f"at least {low:.2f} s")]
    parts.append(_rect(x(low), 5, max(1.0, x(high) - x(low)), 8, "maybe", f"at most {high:.2f} s"))
    if limit is not None:
        at = _n(x(limit))
        parts.append(
            Markup(
                '<line class="limit" x1="{}" x2="{}" y1="0" y2="18"><title>limit</title></line>'
            ).format(at, at)
        )
    return _svg(162, 18, f"{low:.2f} to {high:.2f} s", parts, "interval")


def _svg(width: float, height: float, label: str, parts: Iterable[Markup], css: str) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        css, _n(width), _n(height), label, Markup("").join(parts)
    )


def _rect(x: float, y: float, width: float, height: float, css: str, title: str) -> Markup:
    return Markup(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    ).format(css, _n(x), _n(y), _n(max(0.0, width)), _n(max(0.0, height)), title)


def _text(x: float, y: float, text: str, css: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, _n(x), _n(y), anchor, text
    )


def _line(points: Sequence[tuple[float, float] | None], css: str) -> Iterable[Markup]:
    """A polyline, broken where nothing was measured; a lone point is a dot."""
    stretch: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            stretch.append(point)
            continue
        if len(stretch) == 1:
            yield Markup('<circle class="{} dot" cx="{}" cy="{}" r="1.5"/>').format(
                css, _n(stretch[0][0]), _n(stretch[0][1])
            )
        elif stretch:
            path = " ".join(f"{_n(x)},{_n(y)}" for x, y in stretch)
            yield Markup('<polyline class="{}" points="{}"/>').format(css, path)
        stretch = []


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, … at or above a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a log axis around the values: 1, 2 or 5 times a power of ten."""
    if not values:
        return 1.0, 1000.0
    low = 10.0 ** math.floor(math.log10(max(min(values), 0.1)))
    high = 10.0 ** math.ceil(math.log10(max(*values, low * 10)) + 1e-9)
    for step in (0.2, 0.5):
        if max(values) <= high * step * 0.95:
            return low, high * step
    return low, high


def _log_ticks(low: float, high: float) -> list[float]:
    ticks = []
    power = 10.0 ** math.floor(math.log10(low))
    dense = high / low <= 1000
    while power <= high:
        ticks += [
            step * power
            for step in ((1, 2, 5) if dense else (1,))
            if low <= step * power <= high * 1.001
        ]
        power *= 10
    return ticks
