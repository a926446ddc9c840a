"""A map of the world: land, the populations by their share, the regions of the target."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stormgate.geography.worldmap import is_land
from stormgate.report.charts.svg import n, svg, text

WIDTH, NORTH, SOUTH = 1000.0, 75, -57
HEIGHT = WIDTH / 360 * (NORTH - SOUTH)
MOST_LABELS = 14


@dataclass(frozen=True, slots=True)
class MapPlace:
    """Something on the map. `size` is the share of a population from 0 to 1, None for a region;
    `bad` marks what does not hold.
    """

    name: str
    latitude: float
    longitude: float
    told: str
    size: float | None = None
    bad: bool = False


def world(places: Sequence[MapPlace]) -> Markup:
    """The map, one degree across being 1/360 of its width; what is further north or south than it
    reaches stands at its rim.
    """
    parts = [Markup('<path class="land" d="{}"/>').format(_land())]
    labels = 0
    taken: list[tuple[float, float]] = []
    for place in sorted(places, key=lambda p: (p.size is not None, -(p.size or 0), p.name)):
        x = (place.longitude + 180) % 360 / 360 * WIDTH
        y = (NORTH - min(NORTH, max(SOUTH, place.latitude))) / (NORTH - SOUTH) * HEIGHT
        if place.size is None:
            shape = '<path class="site" d="M{0},{1}l6,6l-6,6l-6,-6z"><title>{2}</title></path>'
            parts.append(Markup(shape).format(n(x), n(y - 6), place.told))  # noqa: S704 - our own
            continue
        radius = 4 + 22 * math.sqrt(max(0.0, place.size))
        css = "people over" if place.bad else "people"
        parts.append(
            Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
                css, n(x), n(y), n(radius), place.told
            )
        )
        if labels < MOST_LABELS:
            at = y - radius - 4
            while any(abs(x - other[0]) < 110 and abs(at - other[1]) < 14 for other in taken):
                at += 14
            taken.append((x, at))
            labels += 1
            mark = "✘ " if place.bad else ""
            anchor = "start" if x < 60 else "end" if x > WIDTH - 60 else "middle"
            parts.append(text(x, at, f"{mark}{place.name}", "place", anchor))
    told = ", ".join(p.told for p in places if p.size is not None)
    return svg(WIDTH, HEIGHT, f"Map of the populations and regions: {told}"[:2000], parts, "world")


@functools.cache
def _land() -> str:
    """The land in cells of two degrees, as runs of a row."""
    parts = []
    step = WIDTH / 360 * 2
    for row, latitude in enumerate(range(NORTH, SOUTH, -2)):
        begin: int | None = None
        for column in range(181):
            land = column < 180 and is_land(latitude - 0.5, column * 2 - 179.5)
            if land and begin is None:
                begin = column
            if not land and begin is not None:
                width = n((column - begin) * step)
                parts.append(f"M{n(begin * step)},{n(row * step)}h{width}v{n(step)}h-{width}z")
                begin = None
    return "".join(parts)
