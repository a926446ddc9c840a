"""Cities and cloud regions by name, from the CSV files beside this module (sources: SOURCES.md)."""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

T = TypeVar("T")


class UnknownPlaceError(LookupError):
    """No such place; the message names the nearest known words."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class City:
    """A city of GeoNames. `also` are other names it answers to; `continent` is AF AN AS EU NA OC or
    SA.
    """

    name: str
    also: tuple[str, ...]
    country: str  # ISO 3166-1 alpha-2
    continent: str
    latitude: float
    longitude: float
    time_zone: str  # IANA name
    population: int


@dataclass(frozen=True, slots=True)
class CloudRegion:
    """A region of a public cloud, at the place its provider names for it; not the position of a
    building.
    """

    provider: str  # aws, azure or gcp
    code: str
    place: str
    country: str
    latitude: float
    longitude: float


def folded(name: str) -> str:
    """Accents, case and punctuation taken away: "São Paulo" and "sao-paulo" are one name."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain.casefold() if c.isalnum())


def table_rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV table whose comment lines start with #, by column name."""
    yield from csv.DictReader(line for line in lines if not line.startswith("#"))


def own_rows(file_name: str) -> Iterator[dict[str, str]]:
    """The rows of a table beside this module."""
    text = files("stormgate.geography").joinpath(file_name).read_text(encoding="utf-8")
    yield from table_rows(text.splitlines())


@cache
def cities() -> tuple[City, ...]:
    """Every city known here, by country and name."""
    return tuple(
        City(
            name=row["name"],
            also=tuple(filter(None, row["also"].split("|"))),
            country=row["country"],
            continent=row["continent"],
            latitude=float(row["latitude"]),
            longitude=float(row["longitude"]),
            time_zone=row["time_zone"],
            population=int(row["population"]),
        )
        for row in own_rows("cities.csv")
    )


@cache
def cloud_regions() -> tuple[CloudRegion, ...]:
    """Every cloud region known here, by provider and code."""
    return tuple(
        CloudRegion(
            provider=row["provider"],
            code=row["code"],
            place=row["place"],
            country=row["country"],
            latitude=float(row["latitude"]),
            longitude=float(row["longitude"]),
        )
        for row in own_rows("cloud_regions.csv")
    )


@cache
def _cities_by_name() -> dict[str, list[City]]:
    index: dict[str, list[City]] = {}
    for one in cities():
        for name in {folded(n) for n in (one.name, *one.also)}:
            index.setdefault(name, []).append(one)
    for homonyms in index.values():
        homonyms.sort(key=lambda c: -c.population)
    return index


def city(name: str, country: str | None = None) -> City:
    """The city of that name; of several, the most populous. Also takes "London, CA" for one
    country's.

    Accents, case and punctuation do not matter. Raises UnknownPlaceError with the nearest names.
    """
    wanted, index = name, _cities_by_name()
    if country is None and folded(name) not in index and "," in name:
        wanted, _, country = name.rpartition(",")
    homonyms = index.get(folded(wanted), [])
    land = country.strip().upper() if country else None
    for one in homonyms:
        if land is None or one.country == land:
            return one
    if homonyms:
        there = ", ".join(sorted({c.country for c in homonyms}))
        raise UnknownPlaceError(f"no city {wanted!r} in country {land!r}; there is one in {there}")
    known = {folded(n): n for c in cities() for n in (c.name, *c.also)}
    raise UnknownPlaceError(
        f"no city {wanted!r}{nearest_words(wanted, known)}; give latitude and longitude for a "
        "place not listed"
    )


def cloud_region(code: str) -> CloudRegion:
    """The cloud region of a code, such as "aws:eu-west-1", or "eu-west-1" where only one provider
    uses it.

    Raises UnknownPlaceError with the nearest codes, or with the providers to choose from.
    """
    provider, colon, bare = code.lower().rpartition(":")
    hits = [r for r in cloud_regions() if r.code == bare and (not colon or r.provider == provider)]
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise UnknownPlaceError(
            f"cloud region {code!r} could be any of: "
            f"{', '.join(f'{r.provider}:{r.code}' for r in hits)}"
        )
    known = {
        (f"{r.provider}:{r.code}" if colon else r.code): f"{r.provider}:{r.code}"
        for r in cloud_regions()
    }
    raise UnknownPlaceError(
        f"no cloud region {code!r}{nearest_words(code.lower(), known, as_is=True)}"
    )


def nearest_words(wanted: str, known: dict[str, str], *, as_is: bool = False) -> str:
    """ "; did you mean X, Y?" for the keys nearest to `wanted`, spelled as their values; empty
    where none is near.
    """
    hits = difflib.get_close_matches(wanted if as_is else folded(wanted), known, n=3, cutoff=0.6)
    return f"; did you mean {', '.join(dict.fromkeys(known[h] for h in hits))}?" if hits else ""
