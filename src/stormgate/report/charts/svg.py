"""The strokes that every chart is drawn with. Colours live in page.css."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup


def svg(width: float, height: float, label: str, parts: Iterable[Markup], css: str) -> Markup:
    """An image of its own, named for who cannot see it."""
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        css, n(width), n(height), label, Markup("").join(parts)
    )


def rect(x: float, y: float, width: float, height: float, css: str, title: str) -> Markup:
    """A rectangle that says what it is when pointed at."""
    return Markup(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    ).format(css, n(x), n(y), n(max(0.0, width)), n(max(0.0, height)), title)


def text(x: float, y: float, words: str, css: str, anchor: str) -> Markup:
    """A line of text; `anchor` as SVG knows it."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, n(x), n(y), anchor, words
    )


def line(points: Sequence[tuple[float, float] | None], css: str) -> Iterable[Markup]:
    """A polyline, broken where nothing was measured; a lone point is a dot."""
    stretch: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            stretch.append(point)
            continue
        if len(stretch) == 1:
            yield Markup('<circle class="{} dot" cx="{}" cy="{}" r="1.5"/>').format(
                css, n(stretch[0][0]), n(stretch[0][1])
            )
        elif stretch:
            path = " ".join(f"{n(x)},{n(y)}" for x, y in stretch)
            yield Markup('<polyline class="{}" points="{}"/>').format(css, path)
        stretch = []


def n(value: float) -> str:
    """A coordinate, as short as a tenth allows."""
    return f"{value:.1f}".removesuffix(".0")


def nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, … at or above a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a log axis around the values: 1, 2 or 5 times a power of ten."""
    if not values:
        return 1.0, 1000.0
    low = 10.0 ** math.floor(math.log10(max(min(values), 0.1)))
    high = 10.0 ** math.ceil(math.log10(max(*values, low * 10)) + 1e-9)
    low *= next(step for step in (5, 2, 1) if low * step <= max(min(values), 0.1) or step == 1)
    high *= next(s for s in (0.2, 0.5, 1) if max(values) <= high * s * 0.95 or s == 1)
    return low, max(high, low * 10)


def log_ticks(low: float, high: float) -> list[float]:
    """Where a log axis is marked."""
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


def step_path(values: Sequence[float | None], step: float) -> str:
    """The `d` of a line of steps over heights, broken where a value is None. Its corners lie at
    multiples of `step`.
    """
    parts: list[str] = []
    before: float | None = None
    for index, y in enumerate(values):
        if y is not None:
            x = n(index * step)
            if before is None:
                parts.append(f"M{x},{n(y)}")
            elif n(y) != n(before):
                parts.append(f"H{x}V{n(y)}")
            if index + 1 == len(values) or values[index + 1] is None:
                parts.append(f"H{n((index + 1) * step)}")
        before = y
    return "".join(parts)


def area_path(lower: Sequence[float], upper: Sequence[float], step: float) -> str:
    """The `d` of the areas between two lines of steps, without the stretches where they meet."""
    parts: list[str] = []
    begin: int | None = None
    for index in range(len(lower) + 1):
        open_here = index < len(lower) and n(lower[index]) != n(upper[index])
        if open_here and begin is None:
            begin = index
        if open_here or begin is None:
            continue
        parts.append(f"M{n(begin * step)},{n(lower[begin])}")
        for at in range(begin, index):
            parts.append(f"V{n(upper[at])}H{n((at + 1) * step)}")
        for at in range(index - 1, begin - 1, -1):
            parts.append(f"V{n(lower[at])}H{n(at * step)}")
        parts.append("Z")
        begin = None
    return "".join(parts)
