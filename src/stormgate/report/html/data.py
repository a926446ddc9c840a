"""What the page's script may show, as JSON in the page: figures of each bin, its worst requests,
the lines one may choose, the rows of the timeline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.report.html.run import RunSections, event_words
from stormgate.report.series.collect import ChartSeries
from stormgate.report.series.cuts import CutSeries
from stormgate.report.words import one_line

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

CHOICES = ("population", "region", "route", "op", "population and op")
MOST_LINES = 40
MOST_EVENTS = 2000


def page_data(run: Run, drawn: RunSections) -> dict[str, Any] | None:
    """The data; None where nothing was drawn. A latency is ms, -1 where it fell among failures."""
    series = drawn.series
    if series is None:
        return None
    lines = {name: _lines(series.cuts[name]) for name in CHOICES if series.cuts[name].groups}
    words, worst = _worst(series)
    return {
        "duration": round(drawn.duration_s, 3),
        "width": series.width_s,
        "total": series.total,
        "good": series.good,
        "by": drawn.free_by,
        "lines": lines,
        "words": words,
        "worst": worst,
        "events": [
            [
                round((row["at_ns"] - drawn.begin_ns) / 1e9, 3),
                one_line(str(row.get("event", ""))),
                event_words(row)[:400],
            ]
            for row in run.timeline[:MOST_EVENTS]
        ],
    }


def as_element(data: dict[str, Any]) -> Markup:
    """The data as an element that is never run: no sign in it can end it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup('<script type="application/json" id="data">{}</script>').format(
        Markup(text)  # noqa: S704 - no < > & is left in it
    )


def _lines(counted: CutSeries) -> dict[str, Any]:
    groups = sorted(counted.groups.values(), key=lambda g: (-g.count, g.name))[:MOST_LINES]
    return {
        "step": counted.latency_width_s,
        "groups": {
            one_line(group.name): {
                **{f"{q:g}": _numbers(values) for q, values in group.quantiles_ms.items()},
                "worst": _numbers(group.worst_ms),
            }
            for group in groups
        },
    }


def _numbers(values: Sequence[float | None]) -> list[float | None]:
    """To three digits: what a pixel can show."""
    return [
        None if v is None else -1 if math.isinf(v) else float(f"{v:.3g}") if v else 0.0
        for v in values
    ]


def _worst(series: ChartSeries) -> tuple[list[str], list[list[float]]]:
    """(words, rows of bin, second, ms, outcome, status, attempt, route, op, population, served by,
    trace), words by their number.
    """
    numbers: dict[str, int] = {}

    def number(word: str) -> int:
        return numbers.setdefault(one_line(word), len(numbers))

    rows = [
        [
            bin_,
            one.at_s,
            one.latency_ms,
            number(one.outcome),
            one.status,
            one.attempt,
            *map(number, (one.route, one.op, one.population, one.served_by, one.trace)),
        ]
        for bin_, kept in enumerate(series.worst)
        for one in kept
    ]
    return list(numbers), rows
