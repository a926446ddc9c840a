"""The load generator's own account: whether the measurement could have made the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.report.html.parts import heading, table
from stormgate.report.series.collect import ChartSeries
from stormgate.report.words import amount, count, one_line

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

Line = list[float | None]


def over_time(rows: Iterable[Mapping[str, Any]], series: ChartSeries) -> tuple[Line, Line, Line]:
    """(planned per second of all workers, send lag p99 ms of the worst, CPU of the busiest) per
    bin; None where nobody gave an account.
    """
    planned: Line = [None] * series.bins
    lag: Line = [None] * series.bins
    cpu: Line = [None] * series.bins
    seen: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        at = row.get("at_ns")
        if not isinstance(at, int):
            continue
        window_s = _number(row, "window_s") or 1.0
        # A row tells of the window that ends with it.
        bin_ = int(((at - series.begin_ns) / 1e9 - window_s / 2) // series.width_s)
        if 0 <= bin_ < series.bins:
            seen.setdefault((bin_, str(row.get("worker"))), []).append(row)
    for (bin_, _), mine in seen.items():
        rates = [
            n / (_number(r, "window_s") or 1.0)
            for r in mine
            if (n := _number(r, "planned")) is not None
        ]
        if rates:
            planned[bin_] = (planned[bin_] or 0.0) + sum(rates) / len(rates)
        for line, key in ((lag, "send_lag_p99_ms"), (cpu, "cpu")):
            found = [v for r in mine if (v := _number(r, key)) is not None]
            if found:
                line[bin_] = max(*found, line[bin_] or 0.0)
    return planned, lag, cpu


def generator_section(run: Run) -> Markup:
    """A row per worker."""
    title = heading("Load generator", "generator")
    workers: dict[str, list[dict[str, Any]]] = {}
    for row in run.generator:
        workers.setdefault(str(row.get("worker", "")), []).append(row)
    if not workers:
        return Markup("{}<p>The load generator left no account of itself.</p>").format(title)
    head = [("Worker", "name")]
    head += [
        (t, "number")
        for t in (
            "Planned",
            "Sent",
            "Not sent",
            "Send lag p99, worst second",
            "Loop lag, worst",
            "CPU, highest",
            "Ended cleanly",
        )
    ]
    rows = []
    for name, seen in sorted(workers.items()):
        rows.append(
            (
                one_line(name),
                count(int(_total(seen, "planned"))),
                count(int(_total(seen, "sent"))),
                count(int(_total(seen, "not_sent"))),
                amount(_highest(seen, "send_lag_p99_ms"), "ms"),
                amount(_highest(seen, "loop_lag_max_ms"), "ms"),
                amount(_highest(seen, "cpu"), "share"),
                "yes" if any(row.get("final") is True for row in seen) else "no",
            )
        )
    return Markup("{}{}").format(title, table(head, rows))


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]


def _numbers(rows: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    return [v for row in rows if (v := _number(row, key)) is not None]


def _total(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return math.fsum(_numbers(rows, key))


def _highest(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return max(_numbers(rows, key), default=None)
