"""Rebuild land.txt, the land of the world map in 1 degree cells, from Natural Earth (public
domain). Run when the grid changes:

    npm pack world-atlas@2.0.2 && tar xf world-atlas-2.0.2.tgz
    python -m stormgate.geography.generate_land package/land-50m.json

Nothing else of Stormgate imports this file.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEADER = (
    "# Land in 1 degree cells, from 90 N, 180 W: 360 bits a row in hexadecimal. Natural "
    "Earth, public domain; see SOURCES.md.\n"
)

# Cells are sampled this many times in each direction, and are land where half of the samples are.
SAMPLES = 4

Ring = list[tuple[float, float]]


def rings(topology: dict[str, Any]) -> list[Ring]:
    """Every closed ring of the land, in degrees (TopoJSON specification 2.1.3, 2.1.4: quantised,
    delta-encoded arcs).
    """
    (scale_x, scale_y), (move_x, move_y) = (
        topology["transform"]["scale"],
        topology["transform"]["translate"],
    )
    arcs: list[Ring] = []
    for arc in topology["arcs"]:
        x = y = 0
        points: Ring = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * scale_x + move_x, y * scale_y + move_y))
        arcs.append(points)
    found: list[Ring] = []
    for geometry in topology["objects"]["land"]["geometries"]:
        polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        for ring in (ring for polygon in polygons for ring in polygon):
            # A negative index is the arc of its one's complement, walked backwards.
            found.append([point for i in ring for point in (arcs[i] if i >= 0 else arcs[~i][::-1])])
    return found


def unwrapped(ring: Ring) -> Ring:
    """A ring that crosses the antimeridian, carried on beyond 180 degrees instead of jumping to the
    other rim of the map.

    Antarctica is left alone: it goes round the pole, and its cut at 180 degrees is its rim.
    """
    turn = 0.0
    result = ring[:1]
    for (x0, _), (x1, y1) in pairwise(ring):
        if abs(x1 - x0) > 180.0 and y1 > -60.0:
            turn += 360.0 if x1 < x0 else -360.0
        result.append((x1 + turn, y1))
    return result


def crossings(outline: list[Ring], latitude: float) -> list[float]:
    """Longitudes where the coasts cross a parallel, ring by ring: land lies between a first and a
    second one.
    """
    found = []
    for ring in outline:
        of_ring = [
            x0 + (latitude - y0) * (x1 - x0) / (y1 - y0)
            for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]])
            if (y0 > latitude) != (y1 > latitude)
        ]
        found += sorted(of_ring)
    return found


def row_bits(outline: list[Ring], north: float) -> str:
    """One row of cells south of a parallel, as hexadecimal digits."""
    hits = [0] * 360 * SAMPLES
    for i in range(SAMPLES):
        coast = crossings(outline, north - (i + 0.5) / SAMPLES)
        for west, east in zip(coast[::2], coast[1::2], strict=True):
            # Whether a sample lies east of a coast, by the index of the first one that does.
            for sample in range(
                ceil((west + 180.0) * SAMPLES - 0.5), ceil((east + 180.0) * SAMPLES - 0.5)
            ):
                hits[sample % len(hits)] += 1
    land = (sum(hits[column * SAMPLES : (column + 1) * SAMPLES]) for column in range(360))
    bits = "".join("1" if hit * 2 >= SAMPLES * SAMPLES else "0" for hit in land)
    return f"{int(bits, 2):090x}"


def main(source: str) -> None:
    outline = [
        unwrapped(ring) for ring in rings(json.loads(Path(source).read_text(encoding="utf-8")))
    ]
    rows = [row_bits(outline, 90.0 - row) for row in range(180)]
    (HERE / "land.txt").write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
