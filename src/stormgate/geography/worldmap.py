"""A mix on a map of the world, as a grid of characters: coastlines in Braille dots, users, edges
and regions as marks.

Pure: the grid is data, and who shows it (rich, a file, a test) is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import atan, exp, log, pi, radians, tan

from stormgate.geography.distance import Located
from stormgate.geography.mix import Mix

NORTH, SOUTH = 75.0, -56.0  # nobody lives beyond, and the rows are better spent on Europe
WEST = -169.0  # the Bering Strait: cut there, no continent is torn in two
DOTS_X, DOTS_Y = 2, 4  # of one Braille cell

# Bit of each dot of a Braille cell, row by row (Unicode chapter 21.1: U+2800 plus these).
BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

# At least this share of all requests in one cell, for the large and the middle mark.
MANY, SOME = 0.02, 0.005

# Regions are named on the map where they are few enough for it to stay a map.
MOST_LABELS = 12

# A user is served near by under this many milliseconds of round trip, acceptably under that, and
# far away beyond.
NEAR_MS, FAR_MS = 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters of a map."""

    many: str
    some: str
    few: str
    region_with_users: str
    region: str
    edge: str
    land: str  # empty: draw Braille dots


UNICODE = Marks("●", "•", "◦", "◆", "◇", "+", "")
ASCII = Marks("@", "O", "o", "A", "^", "+", ".")


@dataclass(frozen=True, slots=True)
class Spot:
    """One character of the map. `style` is land, sea, label, edge, region, near, middle or far."""

    char: str
    style: str


@dataclass(slots=True)
class _Cell:
    coast: str
    solid: bool
    share: float = 0.0
    late: float = 0.0  # sum of share x round trip, for the mean
    edges: int = 0
    regions: int = 0


def _miller_y(latitude: float) -> float:
    # Miller's cylindrical projection (O. M. Miller, Geographical Review 32, 1942): Mercator with
    # the poles pulled in.
    return 1.25 * log(tan(pi / 4 + 0.4 * radians(latitude)))


def _miller_latitude(y: float) -> float:
    return 2.5 * (atan(exp(0.8 * y)) - pi / 4) * 180 / pi


TOP_Y, BOTTOM_Y = _miller_y(NORTH), _miller_y(SOUTH)


def map_rows(columns: int) -> int:
    """Rows of a map of so many columns, with a character twice as high as wide."""
    return round((TOP_Y - BOTTOM_Y) / (2 * pi / (columns * DOTS_X)) / DOTS_Y)


def cell_of(place: Located, columns: int) -> tuple[int, int]:
    """Row and column of a place; what lies beyond the top or bottom is drawn at the rim."""
    rows = map_rows(columns)
    down = (TOP_Y - _miller_y(min(max(place.latitude, SOUTH), NORTH))) / (TOP_Y - BOTTOM_Y)
    across = (place.longitude - WEST) % 360.0 / 360.0
    return min(int(down * rows), rows - 1), min(int(across * columns), columns - 1)


@cache
def _land() -> tuple[int, ...]:
    text = files("stormgate.geography").joinpath("land.txt").read_text(encoding="utf-8")
    return tuple(int(line, 16) for line in text.splitlines() if not line.startswith("#"))


def is_land(latitude: float, longitude: float) -> bool:
    """Whether a place is on land, to one degree."""
    row = min(max(int(90.0 - latitude), 0), 179)
    return bool(_land()[row] >> (359 - int((longitude + 180.0) % 360.0)) & 1)


def _dot_is_land(dot_x: int, dot_y: int, dots_across: int, dots_down: int) -> bool:
    hits = 0
    for part_y in (0.25, 0.75):
        latitude = _miller_latitude(TOP_Y - (dot_y + part_y) / dots_down * (TOP_Y - BOTTOM_Y))
        for part_x in (0.25, 0.75):
            hits += is_land(latitude, WEST + (dot_x + part_x) * 360.0 / dots_across)
    return hits >= 2


@cache
def _land_grid(columns: int) -> tuple[tuple[bool, ...], ...]:
    across, down = columns * DOTS_X, map_rows(columns) * DOTS_Y
    return tuple(
        tuple(_dot_is_land(x, y, across, down) for x in range(across)) for y in range(down)
    )


def _is_drawn(land: tuple[tuple[bool, ...], ...], x: int, y: int) -> bool:
    """The coast, and inland one dot a cell: solid land would drown the marks where there is no
    colour.
    """
    if not land[y][x]:
        return False
    around = ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1))
    is_coast = any(
        0 <= row < len(land) and not land[row][column % len(land[0])] for column, row in around
    )
    return is_coast or (x % DOTS_X, y % DOTS_Y) == (0, 1)


@cache
def land_cells(columns: int) -> tuple[tuple[tuple[str, bool], ...], ...]:
    """For each cell its Braille character (a space for open sea), and whether most of it is
    land.
    """
    land = _land_grid(columns)

    def cell(row: int, column: int) -> tuple[str, bool]:
        dots = [(x, y) for y in range(DOTS_Y) for x in range(DOTS_X)]
        left, top = column * DOTS_X, row * DOTS_Y
        drawn = sum(BRAILLE[y][x] for x, y in dots if _is_drawn(land, left + x, top + y))
        solid = sum(land[top + y][left + x] for x, y in dots)
        return chr(0x2800 + drawn) if drawn else " ", solid * 2 >= len(dots)

    return tuple(
        tuple(cell(row, column) for column in range(columns)) for row in range(map_rows(columns))
    )


def draw(
    mix: Mix, columns: int, rtt_ms: Mapping[str, float], marks: Marks = UNICODE
) -> Iterator[list[Spot]]:
    """The rows of the map, top first. `rtt_ms` has each origin's round trip to its nearest edge,
    where there is one.
    """
    grid = [[_Cell(coast, solid) for coast, solid in row] for row in land_cells(columns)]
    for origin in mix.origins:
        row, column = cell_of(origin, columns)
        grid[row][column].share += origin.share
        grid[row][column].late += origin.share * rtt_ms.get(origin.name, 0.0)
    for edge in mix.edges:
        row, column = cell_of(edge, columns)
        grid[row][column].edges += 1
    for region in mix.regions:
        row, column = cell_of(region, columns)
        grid[row][column].regions += 1
    spots = [[_spot(cell, marks) for cell in cells] for cells in grid]
    if len(mix.regions) <= MOST_LABELS:
        for region in mix.regions:
            _label(spots, cell_of(region, columns), region.name)
    yield from spots


def _label(spots: list[list[Spot]], cell: tuple[int, int], name: str) -> None:
    """Write a name beside a mark, right or else left of it, where it covers no other mark."""
    row, column = cell
    for start in (column + 1, column - len(name)):
        place = slice(start, start + len(name))
        covered = spots[row][place] if start >= 0 else []
        if len(covered) == len(name) and all(spot.style in ("land", "sea") for spot in covered):
            spots[row][place] = [Spot(char, "label") for char in name]
            return


def _spot(cell: _Cell, marks: Marks) -> Spot:
    if cell.share:
        mean_ms = cell.late / cell.share
        style = "near" if mean_ms <= NEAR_MS else "middle" if mean_ms <= FAR_MS else "far"
        if cell.regions:
            return Spot(marks.region_with_users, style)
        return Spot(
            marks.many if cell.share >= MANY else marks.some if cell.share >= SOME else marks.few,
            style,
        )
    if cell.regions:
        return Spot(marks.region, "region")
    if cell.edges:
        return Spot(marks.edge, "edge")
    land = cell.coast if not marks.land else marks.land if cell.solid else " "
    return Spot(land, "sea" if land == " " else "land")
