"""What a mix means, in numbers: volume, distances and the day, for all of it, each group and each
origin. Pure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import fsum
from typing import Any

from stormgate.documents.mix import TrafficMix
from stormgate.geography.curves import Day, hour_of_week
from stormgate.geography.mix import Mix, Origin, nearest, rtt_quantile_ms, share_within
from stormgate.geography.roundtrips import RttSource

LIMITS_MS = (10.0, 30.0, 50.0)
QUANTILES = (0.5, 0.9, 0.99)

# Use in each of 24 UTC hours, in multiples of the mean over the week.
Levels = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EdgeWay:
    """The way from an origin to one edge, and on to the region behind it (None where no region is
    known), with where each round trip's figure is from: target, measured, detour or model.
    """

    edge: str
    distance_km: float
    rtt_ms: float
    region: str | None
    onward_rtt_ms: float | None
    rtt_source: RttSource = "model"
    onward_source: RttSource | None = None


@dataclass(frozen=True, slots=True)
class OriginFacts:
    """One origin: its traffic and its ways, nearest first; the second is what it has when the first
    edge is lost.
    """

    name: str
    group: str
    country: str
    share: float
    rate_per_s: float | None
    ways: tuple[EdgeWay, ...]
    last_mile_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """Some of the traffic. Shares within limits and round-trip quantiles are of this traffic alone;
    `utc_levels` are the middles of 24 UTC hours in multiples of its own mean over the week."""

    name: str
    share: float
    rate_per_s: float | None
    origins: int
    edges: int
    regions: int
    share_within_ms: dict[str, float]
    rtt_quantiles_ms: dict[str, float]
    farthest: str | None
    utc_levels: Levels


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


def utc_levels(time_zone: str, day: Day, on: date) -> Levels:
    """Use in a time zone in the middle of each UTC hour of a date, in multiples of its mean over
    the week.
    """
    start = datetime.combine(on, time(0, 30), UTC)
    return tuple(
        day.level(hour_of_week(start + timedelta(hours=hour), time_zone)) for hour in range(24)
    )


def facts(traffic: TrafficMix, on: date) -> MixFacts:
    """All there is to say about a mix on a date (the date decides weekday and summer time)."""
    mix, rate_per_s = traffic.mix, traffic.mean_rate_per_s
    ways = {o.name: _ways(o, mix) for o in mix.origins}
    levels = {
        zone: utc_levels(zone, traffic.day, on) for zone in {o.time_zone for o in mix.origins}
    }
    shares: dict[str, float] = {}
    for origin in mix.origins:
        if origin.group:
            shares[origin.group] = shares.get(origin.group, 0.0) + origin.share
    return MixFacts(
        name=mix.name,
        title=traffic.title or mix.name,
        date=on.isoformat(),
        total=_group(None, traffic, ways, levels),
        groups=tuple(
            _group(name, traffic, ways, levels)
            for name in sorted(shares, key=lambda name: -shares[name])
        ),
        origins=tuple(
            OriginFacts(
                o.name,
                o.group,
                o.country,
                o.share,
                _part(rate_per_s, o.share),
                ways[o.name],
                o.last_mile_ms,
            )
            for o in sorted(mix.origins, key=lambda o: (-o.share, o.name))
        ),
    )


def _part(rate_per_s: float | None, share: float) -> float | None:
    return None if rate_per_s is None else rate_per_s * share


def _group(
    name: str | None,
    traffic: TrafficMix,
    ways: dict[str, tuple[EdgeWay, ...]],
    levels: dict[str, Levels],
) -> GroupFacts:
    """One group, or all of them for None. Its users are served by the nearest edge, in whichever
    group that stands, and have their last mile to go as well.
    """
    mix = traffic.mix
    origins = [o for o in mix.origins if name is None or o.group == name]
    share = fsum(o.share for o in origins)
    reached = [(ways[o.name][0].rtt_ms + o.last_mile_ms, o.share) for o in origins if ways[o.name]]
    return GroupFacts(
        name=name or "all",
        share=share,
        rate_per_s=_part(traffic.mean_rate_per_s, share),
        origins=len(origins),
        edges=sum(name is None or e.group == name for e in mix.edges),
        regions=sum(name is None or r.group == name for r in mix.regions),
        share_within_ms={f"{limit:g}": share_within(reached, limit) for limit in LIMITS_MS}
        if reached
        else {},
        rtt_quantiles_ms={
            f"{quantile:g}": rtt_quantile_ms(reached, quantile) for quantile in QUANTILES
        }
        if reached
        else {},
        farthest=max(origins, key=lambda o: ways[o.name][0].rtt_ms).name if reached else None,
        utc_levels=tuple(
            fsum(o.share * levels[o.time_zone][hour] for o in origins) / share for hour in range(24)
        ),
    )


def _ways(origin: Origin, mix: Mix) -> tuple[EdgeWay, ...]:
    behind = {region.name: region for region in mix.regions}
    ways = []
    for near in nearest(origin, mix.edges, 2, trips=mix.trips):
        region = behind.get(near.edge.region)
        onward = mix.trips.between(near.edge, region) if region else None
        ways.append(
            EdgeWay(
                near.edge.name,
                near.distance_km,
                near.rtt_ms,
                region.name if region else None,
                onward.ms if onward else None,
                near.rtt_source,
                onward.source if onward else None,
            )
        )
    return tuple(ways)
