"""Small charts: one population around one fault, and an outage as an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from stormgate.report.charts.svg import n, nice, rect, svg, text
from stormgate.report.series.collect import FINE_S


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
    parts.append(rect(x0, 0, max(1.5, x1 - x0), height, "shade", "the fault"))
    step = plot / len(total)
    for index, (sent, ok) in enumerate(zip(total, good, strict=True)):
        if not sent:
            continue
        x, top = left + index * step, height * (1 - sent / high)
        failed = height * (sent - ok) / high
        at = f"{index * FINE_S + begin_s - fault[0]:+.2f} s: {ok} good, {sent - ok} bad"
        if ok:
            parts.append(rect(x, top + failed, step * 0.86, height - top - failed, "ok", at))
        if sent > ok:
            parts.append(rect(x, top, step * 0.86, max(1.5, failed), "bad", at))
    step_s = int(max(5, nice(length / 5)))
    for at_s in range(
        math.ceil((begin_s - fault[0]) / step_s) * step_s,
        math.floor(begin_s - fault[0] + length) + 1,
        step_s,
    ):
        x = left + plot * (fault[0] + at_s - begin_s) / length
        parts.append(text(x, height + 13, f"{at_s:+d} s" if at_s else "0", "tick", "middle"))
    chart = svg(
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

    parts = [rect(0, 5, x(low), 8, "sure", f"at least {low:.2f} s")]
    parts.append(rect(x(low), 5, max(1.0, x(high) - x(low)), 8, "maybe", f"at most {high:.2f} s"))
    if limit is not None:
        at = n(x(limit))
        parts.append(
            Markup(
                '<line class="limit" x1="{}" x2="{}" y1="0" y2="18"><title>limit</title></line>'
            ).format(at, at)
        )
    return svg(162, 18, f"{low:.2f} to {high:.2f} s", parts, "interval")


def stages_bar(stages: Sequence[tuple[str, float]], limit: float | None, longest: float) -> Markup:
    """The stages of a failover on one axis of seconds, numbered in their order, with the limit."""
    width = 240.0

    def x(seconds: float) -> float:
        return 8 + (width - 44) * min(1.0, seconds / longest) if longest > 0 else 8.0

    parts = [rect(8, 12, x(stages[-1][1]) - 8, 6, "maybe", "from the request to the last stage")]
    taken: list[float] = []
    for number, (word, at) in enumerate(stages, start=1):
        here = x(at)
        parts.append(rect(here - 1, 8, 2, 14, "sure", f"{word} {at:.2f} s"))
        while any(abs(here - other) < 9 for other in taken):
            here += 3
        taken.append(here)
        parts.append(text(here, 34, str(number), "tick", "middle"))
    if limit is not None and math.isfinite(limit):
        parts.append(
            Markup(
                '<line class="limit" x1="{0}" x2="{0}" y1="2" y2="26"><title>limit</title></line>'
            ).format(n(x(limit)))
        )
    told = ", ".join(f"{word} {at:.2f} s" for word, at in stages)
    return svg(width, 38, told, parts, "stages")
