"""How latency is distributed: quantiles on the axis of an HDR plot, one line per stage of the run,
where every further nine has the same room.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from stormgate.report.charts.svg import decades, line, log_ticks, n, svg, text
from stormgate.report.words import amount

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480.0, 190.0, 60.0, 22.0, 8.0, 22.0
# Quantiles, and where they stand: at -log10(1 - q), as HdrHistogram's plots have it.
SHOWN = (0.0, 0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999)


def distribution(
    name: str, stages: Mapping[str, Sequence[float | None]], letters: Mapping[str, tuple[str, str]]
) -> Markup:
    """`stages` maps a stage to its latency, ms, at each of SHOWN (inf: failed, None: too few
    requests); `letters` to the letter and class of its line.
    """
    finite = [v for values in stages.values() for v in values if v is not None and math.isfinite(v)]
    low, high = decades(finite)
    plot_w, plot_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    last = -math.log10(1 - SHOWN[-1])

    def x(q: float) -> float:
        return LEFT + plot_w * -math.log10(1 - q) / last

    def y(ms: float) -> float:
        at = (
            1.0 if math.isinf(ms) else 0.9 * math.log10(max(ms, low) / low) / math.log10(high / low)
        )
        return TOP + plot_h * (1 - min(1.0, at))

    parts: list[Markup] = []
    for ms in log_ticks(low, high):
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                n(LEFT), n(WIDTH - RIGHT), n(y(ms)), n(y(ms))
            )
        )
        parts.append(text(LEFT - 6, y(ms) + 4, amount(ms, "ms"), "tick", "end"))
    parts.append(text(LEFT - 6, TOP + 8, "failed", "tick", "end"))
    for q in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999):
        words = "min" if q == 0 else f"p{q * 100:g}"
        parts.append(text(x(q), HEIGHT - 6, words, "tick", "middle"))
    for stage, values in stages.items():
        letter, css = letters[stage]
        known = [(x(q), y(v)) for q, v in zip(SHOWN, values, strict=True) if v is not None]
        if not known:
            continue
        parts += line(known, f"line {css}")
        parts.append(text(known[-1][0] + 4, known[-1][1] + 4, letter, f"end {css}", "start"))
    return svg(WIDTH, HEIGHT, f"Latency of {name} by quantile", parts, "distribution")
