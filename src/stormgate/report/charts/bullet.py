"""One finding as a bar: what was measured, how far the truth may lie from it, and the limit."""

from __future__ import annotations

import math

from markupsafe import Markup

from stormgate.model import Finding, Verdict
from stormgate.report.charts.svg import n, rect, svg
from stormgate.report.words import amount

WIDTH, HEIGHT = 190.0, 20.0
DECIDED = (Verdict.PASS, Verdict.FAIL)


def bullet(finding: Finding) -> Markup:
    """The bar; empty where there is nothing to hold against a limit.

    A share that must be high is drawn by what is missing to 100 %: there a limit of 99.99 % is not
    at the end of the bar. The side of the limit that does not hold is shaded.
    """
    figures = [v for v in (finding.value, finding.bound, finding.limit) if v is not None]
    if finding.limit is None or len(figures) < 2 or not all(map(math.isfinite, figures)):
        return Markup("")
    missing = finding.unit in ("share", "fraction") and finding.limit > 0.5

    def length(value: float) -> float:
        return max(0.0, 1 - value if missing else value)

    longest = max(max(map(length, figures)) * 1.08, length(finding.limit) * 1.5) or 1.0
    try:
        scale = (WIDTH - 8) / longest
    except (ZeroDivisionError, OverflowError):
        return Markup("")
    if not math.isfinite(scale):
        return Markup("")

    def x(value: float) -> float:
        return 4 + min(WIDTH - 8, length(value) * scale)

    told = ", ".join(
        f"{word} {amount(value, finding.unit)}"
        for word, value in (
            ("value", finding.value),
            ("bound", finding.bound),
            ("limit", finding.limit),
        )
        if value is not None
    )
    beyond = x(finding.limit)
    held = finding.bound if finding.bound is not None else finding.value
    over = held is not None and length(held) > length(finding.limit)
    # What passes over its limit, or fails under it, is a figure of which more is better.
    more = over == (finding.verdict is Verdict.PASS) and finding.verdict in DECIDED
    begin, end = (4.0, beyond) if more else (beyond, WIDTH - 4)
    parts = [rect(begin, 3, end - begin, 14, "beyond", "does not hold")]
    if finding.value is not None:
        title = f"value {amount(finding.value, finding.unit)}"
        parts.append(rect(4, 7, max(1.0, x(finding.value) - 4), 6, "value", title))
    if finding.bound is not None:
        at = x(finding.bound)
        parts.append(
            Markup(
                '<path class="bound" d="M{0},10l4,-5l4,5l-4,5z"><title>{1}</title></path>'
            ).format(n(at - 4), f"bound {amount(finding.bound, finding.unit)}")
        )
    parts.append(
        Markup(
            '<line class="limit" x1="{0}" x2="{0}" y1="0" y2="20"><title>{1}</title></line>'
        ).format(n(beyond), f"limit {amount(finding.limit, finding.unit)}")
    )
    what = "missing to 100 %: " if missing else ""
    return svg(WIDTH, HEIGHT, f"{what}{told}", parts, "bullet")
