"""The panes of the timeline: each one kind of figure over the time of the run, with its own limits,
its legend and its numbers.

Inside a plot one unit across is a tenth of a second, so that the page's script zooms every pane by
one `viewBox`. Words stand outside, or they would be stretched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from stormgate.report.charts.svg import area_path, decades, log_ticks, n, nice, step_path
from stormgate.report.series.collect import LATE, ChartSeries
from stormgate.report.words import DASH, amount, count, one_line, percent

UNITS_PER_S = 10
LETTERS = "abcdefghij"
# More numbers than this are merged, so that a day's table can still be read.
MOST_ROWS = 400


@dataclass(frozen=True, slots=True)
class Limit:
    """A line across a pane, and the objective it belongs to."""

    name: str
    ms: float


@dataclass(slots=True)
class Pane:
    """`ticks` and `rules` are (height from 0 at the bottom to 1, words); `ends` the letters beside
    the right ends of lines. `head` and `rows` are its numbers.
    """

    key: str
    title: str
    height: float
    ticks: Sequence[tuple[float, str]]
    body: list[Markup] = field(default_factory=list)
    rules: list[tuple[float, str]] = field(default_factory=list)
    ends: list[tuple[float, str, str]] = field(default_factory=list)
    legend: list[tuple[str, str, str]] = field(default_factory=list)
    head: list[tuple[str, str]] = field(default_factory=list)
    rows: list[Sequence[Any]] = field(default_factory=list)
    note: str = ""


def path(d: str, css: str, title: str = "") -> Markup:
    """A path of a class, said in words when pointed at."""
    if not d:
        return Markup("")
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(css, d, title or css)


def good_pane(series: ChartSeries) -> Pane:
    """The share of good answers per bin; where any was bad, a red bar hangs from the top."""
    height, step = 90.0, series.width_s * UNITS_PER_S
    bad = sum(series.total) - sum(series.good)
    pane = Pane(
        "good",
        f"Share of good answers ({count(bad)} of {count(sum(series.total))} requests were not)",
        height,
        [(0, "0 %"), (0.5, "50 %"), (1, "100 %")],
    )
    share = [
        good / total if total else None
        for total, good in zip(series.total, series.good, strict=True)
    ]
    lower = [height * (1 - s) if s is not None and s < 1 else 0.0 for s in share]
    marked = [
        max(2.0, y) if s is not None and s < 1 else 0.0 for y, s in zip(lower, share, strict=True)
    ]
    pane.body = [
        path(area_path([0.0] * len(marked), marked, step), "bad", "not good"),
        path(
            step_path([None if s is None else height * (1 - s) for s in share], step),
            "line good",
            "share of good answers",
        ),
    ]
    pane.head = [
        ("From", "number"),
        ("Requests", "number"),
        ("Not good", "number"),
        ("Good", "number"),
    ]
    for at, width, (total, good) in _merged(series, (series.total, series.good)):
        pane.rows.append(
            (
                f"{at:g} s",
                count(total),
                count(total - good),
                percent(good / total) if total else DASH,
            )
        )
        del width
    return pane


def latency_pane(
    key: str,
    title: str,
    lines: Mapping[str, Sequence[float | None]],
    width_s: float,
    limit: Limit | None = None,
) -> Pane:
    """One line per group on a log axis (a quantile falls among failures: it stands at the top). The
    slowest lines are lettered; what is beyond the letters is drawn thin.
    """
    height, step = 130.0, width_s * UNITS_PER_S
    finite = [v for values in lines.values() for v in values if v is not None and math.isfinite(v)]
    low, high = decades(finite + ([limit.ms] if limit is not None else []))

    def level(ms: float) -> float:
        # The top is kept for what never came, so that "failed" and "slow" are not the same line.
        return 0.9 * min(1.0, max(0.0, math.log10(max(ms, 1e-9) / low) / math.log10(high / low)))

    def y(ms: float | None) -> float | None:
        return None if ms is None else height * (1 - (1.0 if math.isinf(ms) else level(ms)))

    pane = Pane(key, title, height, [(level(ms), amount(ms, "ms")) for ms in log_ticks(low, high)])
    pane.ticks = [*pane.ticks, (1.0, "failed")]
    order = sorted(lines, key=lambda name: (-_typical(lines[name]), name))
    for index, name in enumerate(order):
        letter = LETTERS[index] if index < len(LETTERS) else ""
        css = f"line l{index}" if letter else "line rest"
        heights = [y(v) for v in lines[name]]
        pane.body.append(path(step_path(heights, step), css, one_line(name)))
        last = next((h for h in reversed(heights) if h is not None), None)
        if letter and last is not None:
            pane.ends.append((1 - last / height, letter, f"l{index}"))
        if letter:
            told = _typical(lines[name])
            pane.legend.append((letter, f"l{index}", f"{one_line(name)}, usually {_ms(told)}"))
    if len(order) > len(LETTERS):
        pane.note = (
            f"{len(order) - len(LETTERS)} faster ones are drawn thin; all are in the numbers."
        )
    if limit is not None:
        pane.rules.append((level(limit.ms), limit.name))
    shown = order[:12]
    pane.head = [("From", "number"), *((one_line(name), "number") for name in shown)]
    size = max((len(values) for values in lines.values()), default=0)
    for row in range(size):
        values = [lines[name][row] for name in shown]
        if any(v is not None for v in values):
            pane.rows.append((f"{row * width_s:g} s", *(_ms(v) for v in values)))
    return pane


def _typical(values: Sequence[float | None]) -> float:
    known = sorted(v for v in values if v is not None)
    return known[len(known) // 2] if known else -1.0


def _ms(value: float | None) -> str:
    if value is None or value < 0:
        return DASH
    return "failed" if math.isinf(value) else amount(float(f"{value:.3g}"), "ms")


def outcome_pane(
    series: ChartSeries, planned: Sequence[float | None], planned_per_s: float | None
) -> Pane:
    """Requests per second by intended start, stacked by what came of them; the line is what the
    generator had planned.
    """
    height, step = 110.0, series.width_s * UNITS_PER_S
    words = [w for w in series.outcomes if w not in ("ok", LATE)]
    words.sort(key=lambda w: (-sum(series.outcomes[w]), w))
    stack = [*words, *([LATE] if LATE in series.outcomes else []), "ok"]
    rates = [total / series.width_s for total in series.total]
    # One burst at the start would flatten everything else: the highest fiftieth of the bins may
    # leave the pane.
    usual = sorted(rates)[: max(1, math.ceil(len(rates) * 0.98))]
    high = nice(max(usual[-1] if usual else 0, (planned_per_s or 0) * 1.1, 1))
    pane = Pane(
        "rate",
        "Requests per second by intended start, stacked by what came of them",
        height,
        [(0, "0"), (0.5, f"{high / 2:,g}"), (1, f"{high:,g}")],
    )
    base = [height] * series.bins
    for index, word in enumerate(stack):
        counts = series.outcomes.get(word, [0] * series.bins)
        top = [
            max(0.0, b - height * number / series.width_s / high)
            for b, number in zip(base, counts, strict=True)
        ]
        css = {"ok": "o-ok", LATE: "o-late", "not_sent": "o-unsent"}.get(
            word, f"o-bad{min(index, 3)}"
        )
        pane.body.append(path(area_path(base, top, step), css, _said(word)))
        pane.legend.append(("", css, f"{_said(word)}: {count(sum(counts))}"))
        base = top
    known = [None if rate is None else height * (1 - min(1.0, rate / high)) for rate in planned]
    pane.body.append(path(step_path(known, step), "line planned", "planned by the generator"))
    if any(v is not None for v in known):
        pane.legend.append(("", "planned", "planned by the generator"))
    if planned_per_s:
        pane.rules.append((min(1.0, planned_per_s / high), f"the plan: {planned_per_s:g}/s"))
    pane.head = [("From", "number"), *((_said(word), "number") for word in stack)]
    empty = [0] * series.bins
    for at, _, counts_at in _merged(series, [series.outcomes.get(w, empty) for w in stack]):
        pane.rows.append((f"{at:g} s", *(count(c) for c in counts_at)))
    return pane


def _said(word: str) -> str:
    return {"ok": "answered right", LATE: "answered right, too late", "not_sent": "not sent"}.get(
        word, one_line(word).replace("_", " ")
    )


def generator_pane(
    lag_ms: Sequence[float | None], cpu: Sequence[float | None], width_s: float, allowed_ms: float
) -> Pane:
    """How late the generator sent (p99 of each second, its worst worker) and how busy it was."""
    height, step = 80.0, width_s * UNITS_PER_S
    high = nice(max([v for v in lag_ms if v is not None] + [allowed_ms * 1.2, 1.0]))
    pane = Pane(
        "generator",
        "Load generator: send lag p99 (a, left scale) and CPU of a core (b, top is 100 %)",
        height,
        [(0, "0"), (0.5, amount(high / 2, "ms")), (1, amount(high, "ms"))],
    )
    heights = [None if v is None else height * (1 - min(1.0, v / high)) for v in lag_ms]
    busy = [None if v is None else height * (1 - min(1.0, v)) for v in cpu]
    pane.body = [
        path(step_path(busy, step), "line l1", "CPU"),
        path(step_path(heights, step), "line l0", "send lag p99"),
    ]
    pane.rules.append((allowed_ms / high, f"send lag allowed: {amount(allowed_ms, 'ms')}"))
    pane.legend = [("a", "l0", "send lag p99, worst worker"), ("b", "l1", "CPU, busiest worker")]
    for letter, css, line in (("a", "l0", heights), ("b", "l1", busy)):
        last = next((h for h in reversed(line) if h is not None), None)
        if last is not None:
            pane.ends.append((1 - last / height, letter, css))
    pane.head = [("From", "number"), ("Send lag p99", "number"), ("CPU", "number")]
    for index, (lag, used) in enumerate(zip(lag_ms, cpu, strict=True)):
        if (lag is not None or used is not None) and index < MOST_ROWS * 2:
            row = (f"{index * width_s:g} s", amount(lag, "ms"), amount(used, "share"))
            pane.rows.append(row)
    return pane


def label_pane(column: str, words: Mapping[str, Sequence[int]], series: ChartSeries) -> Pane:
    """What each second's answers said of a label (cache, shard, tier), as shares."""
    height, step = 70.0, series.width_s * UNITS_PER_S
    order = sorted(words, key=lambda w: (-sum(words[w]), w))[: len(LETTERS)]
    total = [sum(counts) for counts in zip(*words.values(), strict=True)]
    pane = Pane(
        f"label-{column}",
        f"Answers by {one_line(column)}, share of those that say",
        height,
        [(0, "0 %"), (1, "100 %")],
    )
    for index, word in enumerate(order):
        heights = [
            None if not t else height * (1 - c / t) for c, t in zip(words[word], total, strict=True)
        ]
        pane.body.append(path(step_path(heights, step), f"line l{index}", one_line(word)))
        pane.legend.append(
            (LETTERS[index], f"l{index}", f"{one_line(word)}: {count(sum(words[word]))}")
        )
        last = next((h for h in reversed(heights) if h is not None), None)
        if last is not None:
            pane.ends.append((1 - last / height, LETTERS[index], f"l{index}"))
    pane.head = [("From", "number"), *((one_line(word), "number") for word in order)]
    for at, _, counts in _merged(series, [words[w] for w in order]):
        pane.rows.append((f"{at:g} s", *(count(c) for c in counts)))
    return pane


def reading_pane(
    probe: str, readings: Sequence[tuple[float, float | None, str]], duration_s: float
) -> Pane:
    """A probe's readings as dots joined by lines, (second, value, why there is none) in the order
    of time. A failed one breaks the line, so that nothing is drawn where nothing was read.
    """
    height = 70.0
    seen = [value for _, value, _ in readings if value is not None]
    low, high = (min(seen), max(seen)) if seen else (0.0, 0.0)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    pane = Pane(
        f"reading-{probe}",
        f"Readings of {one_line(probe)}",
        height,
        [(0, f"{low:.6g}"), (1, f"{high:.6g}")],
    )
    d, after_one = "", False
    for at, value, _ in readings:
        if value is not None:
            x, y = min(at, duration_s) * UNITS_PER_S, height * (1 - (value - low) / (high - low))
            d += f"{'L' if after_one else 'M'}{n(x)},{n(y)}"
        after_one = value is not None
    pane.body.append(path(d, "line l0", one_line(probe)))
    failed = len(readings) - len(seen)
    if failed:
        pane.title += f" ({failed:,} of {len(readings):,} failed)"
    pane.head = [("At", "number"), ("Value", "number"), ("Failed", "")]
    pane.rows = [
        (f"{at:.2f} s", "" if v is None else f"{v:.6g}", one_line(why) if v is None else "")
        for at, v, why in readings[:MOST_ROWS]
    ]
    return pane


def _merged(
    series: ChartSeries, columns: Sequence[Sequence[int]]
) -> Iterable[tuple[float, float, list[int]]]:
    """(begin, width, sums) of at most MOST_ROWS stretches; those without any are left out."""
    merge = max(1, math.ceil(series.bins / MOST_ROWS))
    for begin in range(0, series.bins, merge):
        sums = [sum(column[begin : begin + merge]) for column in columns]
        if any(sums):
            yield begin * series.width_s, merge * series.width_s, sums
