"""What was asked and how it was answered: per route, per population, as distributions, and the
worst of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from stormgate.model import Plan
from stormgate.report.charts.distribution import SHOWN, distribution
from stormgate.report.html.parts import figures, heading, table
from stormgate.report.series.buckets import FAILED, edge_ms, quantiles
from stormgate.report.series.collect import ChartSeries, WorstRequest
from stormgate.report.series.cuts import STAGES, CutSeries, Group
from stormgate.report.words import DASH, amount, count, one_line, percent

MOST_ROWS = 120
MOST_DISTRIBUTIONS = 24
MOST_WORST = 25
LETTERS = {
    "warmup": ("w", "l3"),
    "steady": ("s", "l0"),
    "fault": ("f", "l1"),
    "recovery": ("r", "l2"),
}
TraceLink = Callable[[str], Markup]
SHOWN_STAGES = ("steady", "fault", "recovery")


def request_sections(series: ChartSeries, plan: Plan | None, duration_s: float) -> Markup:
    """The tables and the distributions."""
    if not series.cuts["all"].groups:
        return Markup("{}<p>No sample was recorded.</p>").format(heading("Requests", "requests"))
    shares = {p.name: p.share for p in plan.target.populations} if plan is not None else {}
    return Markup("\n").join(
        (
            _table(series.cuts["route"], "Requests by route", "requests", duration_s),
            _table(series.cuts["population"], "Populations", "populations", duration_s, shares),
            _table(series.cuts["region"], "Regions that answered", "regions", duration_s),
            _distributions(series.cuts["population and op"]),
        )
    )


def _table(
    counted: CutSeries,
    title: str,
    anchor: str,
    duration_s: float,
    shares: Mapping[str, float] | None = None,
) -> Markup:
    titles = ["Requests", "Per second", "Good", "Failed", "p50", "p95", "p99", "Slowest"]
    head = [(title.partition(" ")[0].removesuffix("s"), "name")]
    head += [("Share of users", "number")] if shares is not None else []
    head += [(t, "number") for t in titles]
    rows = []
    groups = sorted(counted.groups.values(), key=lambda g: (-g.count, g.name))
    for group in groups[:MOST_ROWS]:
        share = [amount(shares.get(group.name), "share")] if shares is not None else []
        rows.append(
            (
                one_line(group.name),
                *share,
                count(group.count),
                amount(float(f"{group.count / duration_s:.3g}"), ""),
                percent(group.good / group.count),
                count(group.failed),
                *(ms(group.overall_ms(q)) for q in (0.5, 0.95, 0.99)),
                ms(group.max_ms),
            )
        )
    if not rows:
        return Markup("")
    more = (
        f" {len(groups) - MOST_ROWS} with fewer requests are left out."
        if len(groups) > MOST_ROWS
        else ""
    )
    folded = " Beyond 160 names the rest is counted together as (others)." if counted.folded else ""
    return Markup('{}{}<p class="soft"><small>{}</small></p>').format(
        heading(title, anchor),
        table(head, rows),
        "Over the whole run, warmup and faults included. A request that failed counts as "
        f"infinitely slow; the slowest is the slowest answer.{more}{folded}",
    )


def ms(value: float | None) -> str:
    """A latency to three digits; `failed` where a quantile fell among failures."""
    if value is None:
        return DASH
    return "failed" if math.isinf(value) else amount(float(f"{value:.3g}"), "ms")


def _distributions(counted: CutSeries) -> Markup:
    groups = sorted(counted.groups.values(), key=lambda g: (-g.count, g.name))
    shown = []
    for group in groups[:MOST_DISTRIBUTIONS]:
        stages = {s: _at_quantiles(group, s) for s in SHOWN_STAGES}
        stages = {s: v for s, v in stages.items() if any(x is not None for x in v)}
        if not stages:
            continue
        name = one_line(group.name)
        shown.append(
            Markup("<figure><figcaption><b>{}</b> {}</figcaption>{}{}</figure>").format(
                name,
                f"{group.count:,} requests",
                distribution(name, stages, LETTERS),
                _numbers(group, stages),
            )
        )
    if not shown:
        return Markup("")
    key = ", ".join(f"{LETTERS[s][0]} {s}" for s in SHOWN_STAGES)
    more = (
        f" Of {len(groups)} the {len(shown)} with the most requests."
        if len(groups) > len(shown)
        else ""
    )
    return Markup(
        '{}<p class="soft"><small>{}</small></p><div class="distributions">{}</div>'
    ).format(
        heading("Distribution by population and operation", "distribution"),
        f"Latency from the intended start at each quantile; every further nine has the same room. "
        f"Lines: {key}. A quantile is drawn where its stage has the requests for it.{more}",
        Markup("").join(shown),
    )


def _at_quantiles(group: Group, stage: str) -> list[float | None]:
    histogram = group.stages[STAGES.index(stage)]
    total = int(histogram.sum())
    return [
        quantiles(histogram[None, :], max(q, 1e-12))[0] if total * (1 - q) >= 1 else None
        for q in SHOWN
    ]


def _numbers(group: Group, stages: Mapping[str, Sequence[float | None]]) -> Markup:
    head = [("Quantile", ""), *((stage, "") for stage in stages)]
    rows: list[Sequence[str]] = [
        ("min" if q == 0 else f"p{q * 100:g}", *(ms(values[i]) for values in stages.values()))
        for i, q in enumerate(SHOWN)
    ]
    rows.append(("Histogram: up to", *("requests" for _ in stages)))
    counts = {stage: group.stages[STAGES.index(stage)] for stage in stages}
    # Eight buckets of 3 % each make one of 27 %: a table that can be read.
    for begin in range(0, FAILED, 8):
        here = [int(np.sum(c[begin : min(begin + 8, FAILED)])) for c in counts.values()]
        if any(here):
            rows.append((ms(edge_ms(min(begin + 7, FAILED - 1))), *(count(c) for c in here)))
    rows.append(("failed", *(count(int(c[FAILED])) for c in counts.values())))
    return figures(f"{one_line(group.name)}, quantiles and histogram", head, rows)


def worst_of(series: ChartSeries) -> list[WorstRequest]:
    """The worst requests of the whole run: those that failed, then the slowest."""
    every = [one for kept in series.worst for one in kept]
    every.sort(key=lambda r: (r.outcome == "ok", -r.latency_ms, r.at_s))
    return every[:MOST_WORST]


def worst_section(series: ChartSeries, traces: TraceLink) -> Markup:
    """The worst requests of the whole run; the page's script shows those of a second."""
    every = worst_of(series)
    if not every:
        return Markup("")
    head = [
        ("At", "number"),
        ("Latency", "number"),
        ("Outcome", "word"),
        ("Route", "name"),
        ("Population", "word"),
        ("Served by", "word"),
        ("Attempt", "number"),
    ]
    told = any(one.trace for one in every)
    head += [("Trace", "word")] if told else []
    rows = [
        (*worst_row(one), *([traces(one.trace) if one.trace else DASH] if told else []))
        for one in every
    ]
    return Markup('{}<p class="soft"><small>{}</small></p>{}').format(
        heading("The worst requests", "worst"),
        f"Those that failed, then the slowest: {len(every)} of those that were the worst of their "
        "second.",
        table(head, rows),
    )


def worst_row(one: WorstRequest) -> tuple[str, ...]:
    """A request in the words of the table."""
    got = f"{one.status} {one.outcome}" if one.status and one.outcome != "ok" else one.outcome
    return (
        f"{one.at_s:.2f} s",
        ms(one.latency_ms),
        one_line(got),
        one_line(f"{one.route} ({one.op})"),
        one_line(one.population),
        one_line(one.served_by),
        str(one.attempt),
    )
