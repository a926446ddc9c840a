"""What the lab consists of, from a Target: components, links with their round-trip times, and who
prefers which edge. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stormgate.geography.distance import Located, rtt_ms
from stormgate.lab.errors import LabError
from stormgate.model import Population, Region, Target

DEFAULT_USERS_PER_SHARD = 1000
_NAME = re.compile(r"[a-z][a-z0-9-]{0,60}\Z")
_SHARD_KEYS = {"name", "primary", "standby"}


@dataclass(frozen=True, slots=True)
class Shard:
    """A database in two regions of one continent. `primary` and `standby` name the regions at the
    start.
    """

    name: str
    primary: str
    standby: str

    @property
    def regions(self) -> tuple[str, str]:
        return (self.primary, self.standby)


@dataclass(frozen=True, slots=True)
class Link:
    """One hop: who dials whom, and the round trip of the distance between them, ms (whole: that is
    Toxiproxy's unit).
    """

    source: str
    destination: str
    rtt_ms: int

    @property
    def name(self) -> str:
        return f"link:{self.source}->{self.destination}"

    @property
    def proxy(self) -> str:
        """The link's name for Toxiproxy, which allows no slash."""
        return f"{self.source}->{self.destination}".replace("/", ".")

    def touches(self, region: str) -> bool:
        """Whether one of its ends is in the region."""
        return any(end.startswith(f"{region}/") for end in (self.source, self.destination))

    @property
    def halves_ms(self) -> tuple[int, int]:
        """The round trip split into the way there and the way back, ms."""
        return self.rtt_ms // 2, self.rtt_ms - self.rtt_ms // 2


@dataclass(frozen=True, slots=True)
class Layout:
    """The lab on paper. `orders` gives each population its edges, the best first."""

    target: Target
    shards: tuple[Shard, ...]
    links: tuple[Link, ...]
    orders: Mapping[str, tuple[str, ...]]
    users_per_shard: int

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(region.name for region in self.target.regions)

    def shard(self, name: str) -> Shard:
        return next(shard for shard in self.shards if shard.name == name)

    def region(self, name: str) -> Region:
        return next(region for region in self.target.regions if region.name == name)

    def same_continent(self, region: str, shard: Shard) -> bool:
        """Whether the shard's rows may be kept in that region: they stay on the continent of their
        primary.
        """
        here, home = self.region(region), self.region(shard.primary)
        return here.continent == home.continent if here.continent else here.name in shard.regions

    def components(self) -> tuple[str, ...]:
        """Every process by name, databases first: the rest is of no use without them."""
        databases = [
            database(region, shard.name) for shard in self.shards for region in shard.regions
        ]
        kinds = [
            f"{region}/{kind}" for kind in ("cache", "service", "edge") for region in self.regions
        ]
        return (*databases, *kinds, "steward")

    def nearest(self, region: str, candidates: tuple[str, ...]) -> list[str]:
        """`candidates` (regions) by distance from `region`."""
        here = self.region(region)
        return sorted(candidates, key=lambda name: (hop_ms(here, self.region(name)), name))


def database(region: str, shard: str) -> str:
    """The component name of a shard's node in a region."""
    return f"{region}/db-{shard}"


def hop_ms(a: Located, b: Located) -> int:
    """Round trip between two places in whole ms; within one place it is 0, since that hop never
    leaves the building.
    """
    if math.isclose(a.latitude, b.latitude, abs_tol=0.01) and math.isclose(
        a.longitude, b.longitude, abs_tol=0.01
    ):
        return 0
    return round(rtt_ms(a, b))


def plan(target: Target) -> Layout:
    """The layout of the lab that `target.provision["lab"]` asks for. Raises LabError naming what is
    wrong.
    """
    wanted = (target.provision or {}).get("lab")
    if not isinstance(wanted, Mapping):
        raise LabError(f"target {target.name!r} does not ask for a lab: provision.lab is missing")
    for name in [
        *(region.name for region in target.regions),
        *(population.name for population in target.populations),
    ]:
        _check_name(name, target)
    shards = _shards(wanted, target)
    links = tuple(_links(target, shards))
    orders = {
        population.name: _order(population, target, shards) for population in target.populations
    }
    users = wanted.get("users_per_shard", wanted.get("usersPerShard", DEFAULT_USERS_PER_SHARD))
    if not isinstance(users, int) or not 1 <= users <= 100_000:
        raise LabError(
            f"target {target.name!r}: provision.lab.usersPerShard must be from 1 to 100000, "
            f"not {users!r}"
        )
    return Layout(target, shards, links, orders, users)


def _check_name(name: object, target: Target) -> None:
    """Names become parts of file names, SQL and proxy names."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise LabError(
            f"target {target.name!r}: the lab wants names of small letters, digits and dashes, "
            f"not {name!r}"
        )


def _shards(wanted: Mapping[str, Any], target: Target) -> tuple[Shard, ...]:
    regions = {region.name for region in target.regions}
    shards = []
    for entry in wanted.get("shards") or ():
        if not isinstance(entry, Mapping) or set(entry) != _SHARD_KEYS:
            raise LabError(
                f"target {target.name!r}: each of provision.lab.shards needs name, primary and "
                f"standby: {entry!r}"
            )
        shard = Shard(**entry)
        _check_name(shard.name, target)
        for name in shard.regions:
            if name not in regions:
                raise LabError(
                    f"target {target.name!r}: shard {shard.name!r} is in {name!r}, which is "
                    "none of its regions"
                )
        if shard.primary == shard.standby:
            raise LabError(
                f"target {target.name!r}: shard {shard.name!r} has primary and standby both in "
                f"{shard.primary!r}"
            )
        shards.append(shard)
    if not shards or len({shard.name for shard in shards}) != len(shards):
        raise LabError(
            f"target {target.name!r}: provision.lab.shards must list at least one shard, each "
            "name once"
        )
    if not target.populations:
        raise LabError(f"target {target.name!r} has no populations: nobody could reach the lab")
    return tuple(shards)


def _links(target: Target, shards: tuple[Shard, ...]) -> list[Link]:
    links = []
    for a in target.regions:
        for population in target.populations:
            links.append(
                Link(f"population/{population.name}", f"{a.name}/edge", hop_ms(population, a) or 1)
            )
        links.append(Link(f"{a.name}/service", f"{a.name}/cache", 0))
        for b in target.regions:
            links.append(Link(f"{a.name}/edge", f"{b.name}/service", hop_ms(a, b)))
            links += [
                Link(f"{a.name}/service", database(b.name, shard.name), hop_ms(a, b))
                for shard in shards
                if b.name in shard.regions
            ]
    places = {region.name: region for region in target.regions}
    for shard in shards:
        distance_ms = hop_ms(places[shard.primary], places[shard.standby])
        for here, there in (shard.regions, shard.regions[::-1]):
            links.append(Link(database(here, shard.name), database(there, shard.name), distance_ms))
            # The steward stands for a quorum that is everywhere: near to all, yet cut off from a
            # region that is cut off.
            links.append(Link("steward", database(here, shard.name), 0))
    return links


def _order(population: Population, target: Target, shards: tuple[Shard, ...]) -> tuple[str, ...]:
    """Edges by the whole way to the population's data: the nearest edge is not the best if the data
    is far from it.
    """
    home = next((shard for shard in shards if shard.name == population.labels.get("shard")), None)
    replicas = [region for region in target.regions if home is None or region.name in home.regions]

    def way_ms(region: Region) -> tuple[int, str]:
        return hop_ms(population, region) + min(
            hop_ms(region, replica) for replica in replicas
        ), region.name

    return tuple(f"{region.name}/edge" for region in sorted(target.regions, key=way_ms))
