"""What the lab consists of: processes, links with their round-trip times, and who prefers which
edge. Pure; `plan.py` draws it from a Target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from stormgate.geography.distance import Located
from stormgate.geography.roundtrips import RoundTrips
from stormgate.model import Population, Region, Target


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
class Process:
    """One process: its name, its kind, the region it stands in (None: everywhere), and what else
    the Target says of it.
    """

    name: str
    kind: str
    region: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pop:
    """A point of presence: an edge of no region."""

    name: str
    latitude: float
    longitude: float

    @property
    def component(self) -> str:
        return f"{self.name}/pop"


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop: who dials whom, and the round trip of the distance between them, ms (whole: that is
    Toxiproxy's unit). `late_ms` comes on top on the way back alone.
    """

    source: str
    destination: str
    rtt_ms: int
    late_ms: int = 0

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
        return self.rtt_ms // 2, self.rtt_ms - self.rtt_ms // 2 + self.late_ms


@dataclass(frozen=True, slots=True)
class Layout:
    """The lab on paper. `orders` gives each population its edges, the best first; `parts` are
    its processes, those that others need first.
    """

    target: Target
    shards: tuple[Shard, ...]
    orders: Mapping[str, tuple[str, ...]]
    users_per_shard: int
    parts: tuple[Process, ...] = ()
    links: tuple[Hop, ...] = ()
    pops: tuple[Pop, ...] = ()

    def hop_ms(self, a: Located, b: Located) -> int:
        """Round trip between two of its places in whole ms: as the target says, else as measured,
        else as the distance has it; within one place 0, since that hop never leaves the building.
        A population's last mile comes on top, and makes 1 ms at least.
        """
        return hop_ms(self.target, a, b)

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

    def part(self, name: str) -> Process:
        """The process of this name. Raises LookupError."""
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise LookupError(name)
        return found

    def nearest(self, region: str, candidates: tuple[str, ...]) -> list[str]:
        """`candidates` (regions) by round trip from `region`."""
        here = self.region(region)
        return sorted(candidates, key=lambda name: (self.hop_ms(here, self.region(name)), name))

    def nearest_to(self, place: Located) -> list[str]:
        """All regions by round trip from a place."""
        return sorted(self.regions, key=lambda name: (self.hop_ms(place, self.region(name)), name))


def hop_ms(target: Target, a: Located, b: Located) -> int:
    """See `Layout.hop_ms`."""
    last_miles = [p.last_mile_ms for p in (a, b) if isinstance(p, Population)]
    if math.isclose(a.latitude, b.latitude, abs_tol=0.01) and math.isclose(
        a.longitude, b.longitude, abs_tol=0.01
    ):
        return max(round(math.fsum(last_miles)), 1) if last_miles else 0
    trips = RoundTrips.of((t.a, t.b, t.rtt_ms) for t in target.round_trips)
    return round(trips.between(a, b).ms + math.fsum(last_miles))
