"""How much a run differs from itself: the two halves of its steady phase are the same release under
the same load, so that a difference to another run that is no larger says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from stormgate.report.charts.panes import Limit
from stormgate.report.html.parts import heading, table
from stormgate.report.html.requests import ms
from stormgate.report.series.buckets import quantiles
from stormgate.report.series.collect import ChartSeries
from stormgate.report.series.cuts import Cut, Group
from stormgate.report.words import DASH, count, one_line

MOST_ROWS = 40
# A quantile of fewer requests than this times 1 / (1 - q) is close to their maximum.
ENOUGH = 5


def noise_section(series: ChartSeries, held: Sequence[tuple[Cut, float, Limit]]) -> Markup:
    """A row per latency objective and cell; empty without a steady phase that ended."""
    rows = []
    for cut, q, limit in held:
        name = limit.name.partition(":")[0]
        for group in series.cuts[cut.name].groups.values():
            halves = _halves(group, q)
            if halves is None:
                continue
            first, second = halves
            requests = ", ".join(count(int(half.sum())) for half in group.halves)
            told = (ms(first), ms(second), _difference(first, second), requests)
            rows.append(
                (_size(first, second), (f"{name}, p{q * 100:g}", one_line(group.name), *told))
            )
    if not rows:
        return Markup("")
    rows.sort(key=lambda row: (-row[0], row[1]))
    head = [("Objective", "name"), ("Cell", "word")]
    head += [(t, "number") for t in ("First half", "Second half", "Difference", "Requests")]
    return Markup('{}<p class="soft"><small>{}</small></p>{}').format(
        heading("How much this run differs from itself", "noise"),
        "The two halves of the steady phase, the largest differences first: the same release under "
        "the same load. A difference to another run that is no larger says nothing. To 3 %.",
        table(head, [row for _, row in rows[:MOST_ROWS]]),
    )


def _halves(group: Group, q: float) -> tuple[float, float] | None:
    """The quantile in either half; None where one has too few requests for it."""
    if min(half.sum() for half in group.halves) * (1 - q) < ENOUGH:
        return None
    first, second = (quantiles(half[None, :], q)[0] for half in group.halves)
    return None if first is None or second is None else (first, second)


def _size(first: float, second: float) -> float:
    if math.isinf(first) or math.isinf(second):
        return 0.0 if first == second else math.inf
    return abs(second - first) / max(first, second, 1e-9)


def _difference(first: float, second: float) -> str:
    if math.isinf(first) or math.isinf(second):
        return DASH
    sign = "+" if second >= first else "-"
    return f"{sign}{ms(abs(second - first))} ({sign}{_size(first, second) * 100:.0f} %)"
