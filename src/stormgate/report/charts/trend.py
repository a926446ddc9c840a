"""One objective over the last runs: value, bound and limit, run by run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from stormgate.model import Finding, Verdict
from stormgate.report.charts.svg import n, svg, text
from stormgate.report.words import MARKS, amount

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320.0, 110.0, 62.0, 12.0, 10.0, 16.0


def trend(name: str, runs: Sequence[Finding]) -> Markup:
    """The chart; runs from the oldest to the newest. A share that must be high is drawn by what is
    missing to 100 %, where its changes can be seen.
    """
    limit = runs[-1].limit
    missing = runs[-1].unit in ("share", "fraction") and limit is not None and limit > 0.5

    def size(value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        return max(0.0, 1 - value) if missing else value

    sizes = [s for f in runs for v in (f.value, f.bound, f.limit) if (s := size(v)) is not None]
    low, high = min(0.0, *sizes), max(0.0, *sizes)
    high = high if high > low else low + 1
    room = HEIGHT - TOP - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / len(runs)

    def y(value: float) -> float:
        return TOP + room * (1 - (value - low) / (high - low))

    def words(value: float) -> str:
        return amount(float(f"{value:.3g}"), runs[-1].unit)

    parts: list[Markup] = []
    for at in (low, high):
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                n(LEFT), n(WIDTH - RIGHT), n(y(at)), n(y(at))
            )
        )
        parts.append(text(LEFT - 6, y(at) + 4, words(at), "tick", "end"))
    if (at_limit := size(limit)) is not None:
        parts.append(
            Markup('<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                n(LEFT), n(WIDTH - RIGHT), n(y(at_limit)), n(y(at_limit))
            )
        )
    for number, finding in enumerate(runs):
        x = LEFT + step * (number + 0.5)
        value, bound = size(finding.value), size(finding.bound)
        told = f"{finding.verdict}: {amount(finding.value, finding.unit)}"
        if value is not None and bound is not None:
            parts.append(
                Markup('<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                    n(x), n(y(value)), n(y(bound))
                )
            )
        if value is not None:
            last = " last" if number == len(runs) - 1 else ""
            parts.append(
                Markup(
                    '<circle class="dot{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>'
                ).format(last, n(x), n(y(value)), told)
            )
        if finding.verdict is not Verdict.PASS:
            mark = f"verdict {finding.verdict.value}"
            parts.append(text(x, HEIGHT - 3, MARKS[finding.verdict], mark, "middle"))
    what = "what is missing to 100 %, " if missing else ""
    return svg(
        WIDTH, HEIGHT, f"{name} over {len(runs)} runs: {what}value and bound", parts, "trend"
    )
