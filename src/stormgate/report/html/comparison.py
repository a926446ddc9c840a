"""Two runs side by side as a page: what changed from one to the other, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from stormgate.judge.compare import Comparison, Row
from stormgate.model import Verdict
from stormgate.report.charts.svg import n, rect, svg, text
from stormgate.report.html.page import page
from stormgate.report.html.parts import chip, heading, table
from stormgate.report.words import DASH, amount, count, one_line

WIDTH = 220.0


def comparison_html(comparison: Comparison, names: tuple[str, str]) -> str:
    """The page; `names` are the two run folders."""
    a, b = (one_line(name) for name in names)
    told = (
        "Judged against the same plan."
        if comparison.same_plan
        else "Not judged against the same plan: objectives of one name may not measure the same."
    )
    head = [("Objective", "name"), ("A", ""), ("B", "")]
    head += [(t, "number") for t in ("Value A", "Value B", "B - A")]
    head += [("Between", "bar"), ("Requests A, B", "number"), ("Says", "why")]
    body = Markup(
        '<header class="banner"><h1>{} and {}</h1><p>A: {} {}</p><p>B: {} {}</p>'
        '<p class="soft">{} It informs and decides nothing: a bar is the interval of B - A at {} '
        "confidence, the line is no difference.</p></header>{}{}"
    ).format(
        one_line(comparison.gates[0]),
        one_line(comparison.gates[1]),
        chip(Verdict(comparison.verdicts[0])),
        a,
        chip(Verdict(comparison.verdicts[1])),
        b,
        told,
        amount(comparison.confidence, "share"),
        heading("Objectives", "objectives"),
        table(head, [_row(row) for row in comparison.rows]),
    )
    return page(f"{a} and {b}", body)


def _row(row: Row) -> Sequence[object]:
    verdicts = [DASH if v is None else chip(Verdict(v)) for v in row.verdicts]
    return (
        Markup("{}<small>{}</small>").format(one_line(row.name), one_line(row.kind)),
        *verdicts,
        *(amount(value, row.unit) for value in row.values),
        DASH if row.difference is None else signed(row.difference, row.unit),
        _interval(row),
        ", ".join(count(samples) for samples in row.samples),
        one_line(row.telling),
    )


def signed(value: float, unit: str) -> str:
    """A difference with its sign. One of two shares is small against one, where the way a share is
    shown would round it away.
    """
    if unit == "share":
        return f"{value * 100:+.4f} %"
    return f"{'+' if value >= 0 else '-'}{amount(abs(value), unit)}"


def _interval(row: Row) -> Markup | str:
    figures = [v for v in (row.low, row.high, row.difference) if v is not None]
    if row.low is None or row.high is None or not all(map(math.isfinite, figures)):
        return DASH
    widest = max(abs(v) for v in figures) * 1.1 or 1.0

    def x(value: float) -> float:
        return WIDTH / 2 + (WIDTH / 2 - 6) * value / widest

    told = f"{signed(row.low, row.unit)} to {signed(row.high, row.unit)}"
    parts = [
        Markup('<line class="limit" x1="{0}" x2="{0}" y1="0" y2="18"/>').format(n(WIDTH / 2)),
        rect(x(row.low), 6, max(1.0, x(row.high) - x(row.low)), 6, "value", told),
        text(WIDTH / 2, 30, told, "tick", "middle"),
    ]
    if row.difference is not None:
        at = x(row.difference)
        parts.append(Markup('<path class="bound" d="M{},9l4,-5l4,5l-4,5z"/>').format(n(at - 4)))
    return svg(WIDTH, 34, told, parts, "difference")
