"""What a mix means, in numbers: volume, distances and the day, for all of it, each group and each origin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from math import fsum
from typing import Any

from stormgate.geography.curves import Day, hour_of_week
from stormgate.geography.distance import rtt_ms
from stormgate.geography.mix import Edge, Mix, Origin, nearest, rtt_quantile_ms, share_within
from stormgate.geography.mixfile import TrafficMix

LIMITS_MS = (10.0, 30.0, 50.0)
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Way:
    """The way from an origin to one edge, and on to the region behind it (None where no region is known)."""

    edge: str
    distance_km: float
    rtt_ms: float
    region: str | None
    onward_rtt_ms: float | None


@dataclass(frozen=True, slots=True)
class OriginFacts:
    """One origin: its traffic and its ways, nearest first; the second is what it has when the first edge is lost."""

    name: str
    group: str
    country: str
    share: float
    rate_per_s: float | None
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """Some of the traffic. Shares within limits and round-trip quantiles are of this traffic alone; `utc_levels` are the
    middles of 24 UTC hours in multiples of its own mean over the week."""

    name: str
    share: float
    rate_per_s: float | None
    origins: int
    edges: int
    regions: int
    share_within_ms: dict[str, float]
    rtt_quantiles_ms: dict[str, float | None]
    farthest: str | None
    utc_levels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MixFacts:
    """A whole mix."""

    name: str
    title: str
    date: str
    total: GroupFacts
    groups: tuple[GroupFacts, ...]
    origins: tuple[OriginFacts, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def utc_levels(origins: Sequence[Origin], day: Day, on: date) -> tuple[float, ...]:
    """Use in the middle of each UTC hour of a date, each origin by its own clock, in multiples of their mean over the week."""
    total = fsum(o.share for o in origins)
    start = datetime.combine(on, time(0, 30), UTC)
    hours = [start + timedelta(hours=hour) for hour in range(24)]
    return tuple(fsum(o.share * day.level(hour_of_week(at, o.time_zone)) for o in origins) / total for at in hours)


def facts(traffic: TrafficMix, on: date) -> MixFacts:
    """All there is to say about a mix on a date (the date decides weekday and summer time)."""
    mix, rate = traffic.mix, traffic.mean_rate_per_s
    names = list(dict.fromkeys(o.group for o in mix.origins))
    groups = tuple(_group(name, _only(mix, name), rate, traffic.day, on) for name in names) if names != [""] else ()
    by_share = sorted(mix.origins, key=lambda o: (-o.share, o.name))
    return MixFacts(
        name=mix.name,
        title=traffic.title or mix.name,
        date=on.isoformat(),
        total=_group("all", mix, rate, traffic.day, on),
        groups=groups,
        origins=tuple(_origin(o, mix, rate) for o in by_share),
    )


def _only(mix: Mix, group: str) -> Mix:
    # Users are served by the nearest edge wherever it stands, so the edges of other groups stay within reach.
    return replace(mix, name=group, origins=tuple(o for o in mix.origins if o.group == group))


def _group(name: str, mix: Mix, rate_per_s: float | None, day: Day, on: date) -> GroupFacts:
    share = fsum(o.share for o in mix.origins)
    own = Mix(name, tuple(replace(o, share=o.share / share) for o in mix.origins), mix.edges, mix.regions)
    whole = name == "all"
    return GroupFacts(
        name=name,
        share=share,
        rate_per_s=None if rate_per_s is None else rate_per_s * share,
        origins=len(mix.origins),
        edges=sum(whole or e.group == name for e in mix.edges),
        regions=sum(whole or r.group == name for r in mix.regions),
        share_within_ms={f"{limit:g}": share_within(own.origins, mix.edges, limit) for limit in LIMITS_MS},
        rtt_quantiles_ms={f"{quantile:g}": rtt_quantile_ms(own, quantile) for quantile in QUANTILES},
        farthest=max(mix.origins, key=lambda o: nearest(o, mix.edges, 1)[0].rtt_ms).name if mix.edges else None,
        utc_levels=utc_levels(mix.origins, day, on),
    )


def _origin(origin: Origin, mix: Mix, rate_per_s: float | None) -> OriginFacts:
    behind: dict[str, Edge] = {region.name: region for region in mix.regions}
    ways = []
    for near in nearest(origin, mix.edges, 2):
        region = behind.get(near.edge.region)
        onward = rtt_ms(near.edge, region) if region else None
        ways.append(Way(near.edge.name, near.distance_km, near.rtt_ms, region.name if region else None, onward))
    rate = None if rate_per_s is None else rate_per_s * origin.share
    return OriginFacts(origin.name, origin.group, origin.country, origin.share, rate, tuple(ways))
