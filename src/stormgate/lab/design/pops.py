"""Points of presence on paper: which there are, and which are nearest to whom. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.lab.design.layout import Pop, hop_ms
from stormgate.lab.errors import LabError
from stormgate.model import Population, Target

MOST = 64
# So many of them each population knows: the nearest, and the one for when that is lost.
EACH = 2
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\Z")
_KEYS = {"name", "latitude", "longitude"}


def sites(wanted: Mapping[str, Any], target: Target) -> tuple[Pop, ...]:
    """Those that `provision.lab.pops` asks for: a list of places, or a number of the largest
    populations' own. Raises LabError for what cannot be.
    """
    asked = wanted.get("pops", 0)
    if type(asked) is int and 0 <= asked <= len(target.populations):
        largest = sorted(target.populations, key=lambda p: (-p.share, p.name))
        return tuple(Pop(f"pop-{p.name}", p.latitude, p.longitude) for p in largest[:asked])
    if not isinstance(asked, list | tuple) or not all(_is_site(one) for one in asked):
        raise LabError(
            f"target {target.name!r}: provision.lab.pops is a number up to that of its populations "
            f"({len(target.populations)}), or a list of places with name, latitude and longitude"
        )
    taken = [one["name"] for one in asked] + [region.name for region in target.regions]
    if len(set(taken)) != len(taken) or len(asked) > MOST:
        raise LabError(
            f"target {target.name!r}: provision.lab.pops lists up to {MOST} places, each name once "
            "and none of a region"
        )
    return tuple(Pop(one["name"], one["latitude"], one["longitude"]) for one in asked)


def _is_site(one: object) -> bool:
    return (
        isinstance(one, Mapping)
        and set(one) == _KEYS
        and isinstance(one["name"], str)
        and bool(_NAME.match(one["name"]))
        and all(isinstance(one[key], int | float) for key in ("latitude", "longitude"))
    )


def nearest_pops(population: Population, pops: Sequence[Pop], target: Target) -> tuple[str, ...]:
    """The components of those nearest to a population."""
    ranked = sorted(pops, key=lambda pop: (hop_ms(target, population, pop), pop.name))
    return tuple(pop.component for pop in ranked[:EACH])
