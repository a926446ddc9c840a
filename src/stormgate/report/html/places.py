"""Where the users are and how each place fared: a map and its figures."""

from __future__ import annotations

import math
from collections.abc import Iterator

from markupsafe import Markup

from stormgate.judge.registry import kinds
from stormgate.model import Cell, Judgement, Plan, Verdict
from stormgate.report.charts.world import MapPlace, world
from stormgate.report.html.parts import heading, table
from stormgate.report.html.requests import ms
from stormgate.report.series.buckets import quantiles
from stormgate.report.series.collect import ChartSeries
from stormgate.report.series.cuts import STAGES
from stormgate.report.words import DASH, amount, one_line

MOST_PLACES = 200


def map_section(judgement: Judgement, plan: Plan | None, series: ChartSeries | None) -> Markup:
    """The map of a plan's populations; empty without any that has a place of its own."""
    if plan is None or series is None:
        return Markup("")
    people = plan.target.populations[:MOST_PLACES]
    if len({(p.latitude, p.longitude) for p in people}) < 2:
        return Markup("")
    groups = series.cuts["population"].groups
    places, rows = [], []
    for one in people:
        group, cells = groups.get(one.name), list(_cells_of(judgement, one.name))
        steady = group.stages[STAGES.index("steady")] if group is not None else None
        p95 = quantiles(steady[None, :], 0.95)[0] if steady is not None else None
        good = group.good / group.count if group is not None else None
        outage = max((c.bound if c.bound is not None else math.inf for c in cells), default=None)
        bad = any(c.verdict is Verdict.FAIL for c in cells)
        figures = (
            amount(one.share, "share"),
            ms(p95),
            amount(good, "share"),
            DASH if outage is None else "not over" if math.isinf(outage) else amount(outage, "s"),
        )
        told = f"{one_line(one.name)}: {figures[0]} of users, p95 {figures[1]}, good {figures[2]}"
        name = f"{one_line(one.name)} {figures[1]}"
        places.append(MapPlace(name, one.latitude, one.longitude, told, one.share, bad))
        rows.append((one_line(one.name), *figures))
    for region in plan.target.regions[:MOST_PLACES]:
        name = one_line(region.name)
        places.append(MapPlace(name, region.latitude, region.longitude, f"region {name}"))
    head = [("Population", "name")]
    titles = (
        "Share of users",
        "p95, steady, all operations",
        "Good, whole run",
        "Longest outage, at most",
    )
    head += [(title, "number") for title in titles]
    return Markup(
        '{}<div class="scroll" tabindex="0" role="region" aria-label="Map">{}</div>'
        '<p class="soft"><small>A circle is a population, as large as its share, with its p95 '
        "while nothing was broken; a diamond is a region of the target; ✘ and a thick rim: its "
        "failover failed.</small></p>{}"
    ).format(heading("Where the users are", "map"), world(places), table(head, rows))


def _cells_of(judgement: Judgement, population: str) -> Iterator[Cell]:
    """The cells of outages that are about this population: `fault: population / op`."""
    for finding in judgement.objectives:
        kind = kinds().get(finding.kind)
        if kind is None or not kind.outage:
            continue
        for cell in finding.cells:
            if population in cell.name.partition(": ")[2].split(" / "):
                yield cell
