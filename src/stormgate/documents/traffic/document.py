"""A TrafficMix document, and the CSV tables of edges it names. Strict as every document of
Stormgate: all errors at once, each with its file, line and fix.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stormgate.documents.problems import DocumentErrors, Problems, label
from stormgate.documents.shapes import Ours, Shape, fit
from stormgate.documents.values import (
    NAME,
    Name,
    PositiveMilliseconds,
    PositiveSeconds,
    Share,
    show,
    wrong,
)
from stormgate.documents.yamlfile import Document
from stormgate.geography.curves import EVERY_DAY, FLAT, WEEKDAYS, Day, DayCurve, Peak
from stormgate.geography.mix import (
    SHARE_TOLERANCE,
    EdgeSite,
    Mix,
    MixError,
    Origin,
    checked,
    nearest,
)
from stormgate.geography.places import City, UnknownPlaceError, city

KIND = "TrafficMix"
EDGE_COLUMNS = ("name", "city", "country", "group")
DAYS = {"every-day": EVERY_DAY, "weekdays": WEEKDAYS, "weekend": EVERY_DAY - WEEKDAYS}
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class TrafficMix:
    """A mix with its volume (requests a day, None where not said) and its day."""

    mix: Mix
    requests_per_day: float | None = None
    day: Day = FLAT
    title: str = ""

    @property
    def mean_rate_per_s(self) -> float | None:
        """Mean requests per second of a day."""
        return None if self.requests_per_day is None else self.requests_per_day / SECONDS_PER_DAY


def _clock_h(value: Any) -> float:
    """Hours of a time of day such as "09:00"."""
    match = (
        re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", value) if isinstance(value, str) else None
    )
    if match is None:
        raise wrong(
            f"{show(value)} is not a time of day", 'write it in quotes, as "09:00" or "18:30"'
        )
    return int(match[1]) + int(match[2]) / 60


class PeakShape(Shape):
    """A hump of use at a local time of day."""

    at: Annotated[float, BeforeValidator(_clock_h)]
    height: float = Field(ge=0)
    rise: PositiveSeconds = 3600.0
    fall: PositiveSeconds = 7200.0
    days: Literal["every-day", "weekdays", "weekend"] = "every-day"


class UseShape(Shape):
    """One kind of use: its share of all requests and its local week."""

    share: Share
    base: float = Field(ge=0, default=1.0)
    peaks: tuple[PeakShape, ...] = Field(strict=False, default=())


class GroupShape(Shape):
    """Cities that share a part of the traffic: a list by their populations, a mapping by the
    weights it gives. `last_mile` is their users' own, where it is not the mix's.
    """

    share: Share
    last_mile: PositiveMilliseconds | None = None
    cities: list[str] | dict[str, float] = Field(min_length=1)


class SpecShape(Shape):
    """What a TrafficMix says."""

    requests_per_day: float | None = Field(gt=0, default=None)
    last_mile: PositiveMilliseconds | None = None
    edges: str
    regions: str | None = None
    groups: dict[Name, GroupShape] = Field(min_length=1)
    day: dict[Name, UseShape] | None = None


class TrafficMixShape(Ours):
    """A TrafficMix document."""

    kind: Literal["TrafficMix"]
    spec: SpecShape


def read_traffic(document: Document, problems: Problems) -> TrafficMix:
    """The mix that a TrafficMix document is. Raises DocumentErrors."""
    shape = fit(TrafficMixShape, document, problems)
    problems.raise_any()
    assert shape is not None  # noqa: S101 - fit returns None only with a problem noted
    return _build(shape, document, problems)


def _build(shape: TrafficMixShape, document: Document, problems: Problems) -> TrafficMix:
    spec, folder = shape.spec, document.path.parent
    origins = list(_origins(spec, document, problems))
    _sum_to_one({k: g.share for k, g in spec.groups.items()}, "groups", document, problems)
    edges = read_edges(folder / spec.edges, problems)
    regions = read_edges(folder / spec.regions, problems) if spec.regions else ()
    if spec.day:
        _sum_to_one({k: u.share for k, u in spec.day.items()}, "day", document, problems)
    problems.raise_any()
    mix = Mix(shape.metadata.name, tuple(origins), _behind(edges, regions), regions)
    try:
        return TrafficMix(
            mix=checked(mix),
            requests_per_day=spec.requests_per_day,
            day=_day(spec.day) if spec.day else FLAT,
            title=shape.metadata.display_name or shape.metadata.name,
        )
    except (MixError, ValueError) as error:
        problems.add(document.file, document.line("spec"), str(error), "correct the mix")
        raise DocumentErrors(problems) from error


def _sum_to_one(
    shares: dict[str, float], where: str, document: Document, problems: Problems
) -> None:
    total = fsum(shares.values())
    if abs(total - 1.0) > SHARE_TOLERANCE:
        written = " + ".join(f"{share:.6g}" for share in shares.values())
        problems.add(
            document.file,
            document.line("spec", where),
            f"the shares of {where} sum to {total:.9g} ({written})",
            "make them sum to 1",
        )


def _origins(spec: SpecShape, document: Document, problems: Problems) -> Iterator[Origin]:
    for group, members in spec.groups.items():
        found: list[tuple[City, float]] = []
        for index, name in enumerate(members.cities):
            line = document.line(
                "spec",
                "groups",
                group,
                "cities",
                index if isinstance(members.cities, list) else name,
            )
            try:
                place = city(name)
            except UnknownPlaceError as error:
                problems.add(
                    document.file, line, str(error.args[0]), "take a city of geography/cities.csv"
                )
                continue
            weight = (
                float(place.population)
                if isinstance(members.cities, list)
                else members.cities[name]
            )
            if weight <= 0:
                problems.add(
                    document.file,
                    line,
                    f"{name!r} has weight {weight:g}",
                    "a weight must be over 0",
                )
            found.append((place, weight))
        total = fsum(weight for _, weight in found) or 1.0
        for place, weight in found:
            yield Origin(
                name=slug(place.name),
                share=members.share * weight / total,
                latitude=place.latitude,
                longitude=place.longitude,
                country=place.country,
                time_zone=place.time_zone,
                group=group,
                last_mile_ms=members.last_mile or spec.last_mile or 0.0,
            )


def _day(uses: dict[str, UseShape]) -> Day:
    return Day(
        {
            name: (
                use.share,
                DayCurve(
                    base=use.base,
                    peaks=tuple(
                        Peak(
                            at_h=p.at,
                            height=p.height,
                            rise_h=p.rise / 3600,
                            fall_h=p.fall / 3600,
                            days=DAYS[p.days],
                        )
                        for p in use.peaks
                    ),
                ),
            )
            for name, use in uses.items()
        }
    )


def read_edges(path: Path, problems: Problems) -> tuple[EdgeSite, ...]:
    """A CSV table of edges or regions: name, city, country, group; lines that start with # are
    comments.

    The position is the city's. What is wrong is noted in `problems` with its line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add(
            label(path),
            1,
            f"cannot be read: {getattr(error, 'strerror', None) or error}",
            "check the path",
        )
        return ()
    numbered = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not numbered or tuple(next(csv.reader([numbered[0][1]]))) != EDGE_COLUMNS:
        first = numbered[0][0] if numbered else 1
        problems.add(
            label(path),
            first,
            "the first row does not name the columns",
            f"begin with {','.join(EDGE_COLUMNS)}",
        )
        return ()
    edges: dict[str, EdgeSite] = {}
    for number, text in numbered[1:]:
        edge = _edge(next(csv.reader([text])), label(path), number, problems)
        if edge is not None and edge.name in edges:
            problems.add(
                label(path), number, f"{edge.name!r} is listed twice", "give it another name"
            )
        elif edge is not None:
            edges[edge.name] = edge
    return tuple(edges.values())


def _edge(cells: list[str], file: str, line: int, problems: Problems) -> EdgeSite | None:
    if len(cells) != len(EDGE_COLUMNS):
        problems.add(
            file,
            line,
            f"{len(cells)} columns, not {len(EDGE_COLUMNS)}",
            f"write {','.join(EDGE_COLUMNS)}",
        )
        return None
    name, place, country, group = (cell.strip() for cell in cells)
    if not re.fullmatch(NAME, name):
        problems.add(
            file, line, f"{name!r} is not a name", "use lower-case letters, digits, dots and dashes"
        )
    try:
        where = city(place, country)
    except UnknownPlaceError as error:
        problems.add(
            file, line, str(error.args[0]), "take a city of geography/cities.csv and its country"
        )
        return None
    return EdgeSite(
        name=name,
        latitude=where.latitude,
        longitude=where.longitude,
        country=where.country,
        group=group,
        place=where.name,
    )


def _behind(edges: tuple[EdgeSite, ...], regions: tuple[EdgeSite, ...]) -> tuple[EdgeSite, ...]:
    """The edges, each with the region nearest to it."""
    return tuple(
        replace(e, region=nearest(e, regions, 1)[0].edge.name) if regions else e for e in edges
    )


def slug(name: str) -> str:
    """A city's name as a name of Stormgate: "São Paulo" becomes sao-paulo."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", plain.casefold()).strip("-")
