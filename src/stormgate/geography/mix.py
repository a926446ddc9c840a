"""Who asks, from where, and how much: origins with shares of the traffic, and the edges nearest to
each.

Pure: no clock, no sockets; randomness is handed in. What only needs a share or a position takes the
populations and regions of `stormgate.model` as well as the types of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor, fsum, inf, isfinite
from typing import Generic, Protocol, TypeVar

from stormgate.geography.distance import Located, check_position, great_circle_km
from stormgate.geography.roundtrips import RoundTrips, RttSource
from stormgate.model import Population

SHARE_TOLERANCE = 1e-9


class MixError(ValueError):
    """A mix that cannot be: shares that do not add up, a name twice, no origin, a position off the
    globe.
    """


class HasShare(Protocol):
    """Anything with a share of the traffic, 0..1."""

    @property
    def share(self) -> float: ...


class NamedPlace(Located, Protocol):
    """Anything with a name and a position."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Users in one place, before they are bound to a target. `share` is their part of all requests,
    0..1.
    """

    name: str
    share: float
    latitude: float
    longitude: float
    country: str = ""  # ISO 3166-1 alpha-2
    time_zone: str = "UTC"  # IANA name
    group: str = ""  # what a table sums up by: a continent, a market
    last_mile_ms: float = 0.0  # between the users and their provider's nearest site, there and back


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSite:
    """A place that answers users: a PoP or a region. `region` is the region behind a PoP, where
    there is one.
    """

    name: str
    latitude: float
    longitude: float
    country: str = ""
    region: str = ""
    group: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Mix:
    """Origins whose shares sum to 1 (see `checked`), the edges they can reach, and the regions
    behind those.
    """

    name: str
    origins: tuple[Origin, ...]
    edges: tuple[EdgeSite, ...] = ()
    regions: tuple[EdgeSite, ...] = ()
    trips: RoundTrips = field(default_factory=RoundTrips)


E = TypeVar("E", bound=NamedPlace)
S = TypeVar("S", bound=HasShare)


@dataclass(frozen=True, slots=True)
class Near(Generic[E]):
    """An edge as one place sees it: great-circle distance, km, and round-trip time, ms, with where
    that figure is from. The last mile of users is not in it.
    """

    edge: E
    distance_km: float
    rtt_ms: float
    rtt_source: RttSource


def checked(mix: Mix) -> Mix:
    """The mix itself, or MixError naming every fault: shares outside (0, 1] or not summing to 1 +/-
    1e-9, names twice.
    """
    faults = list(_faults(mix, most=1.0 + SHARE_TOLERANCE))
    total = fsum(o.share for o in mix.origins)
    if not faults and abs(total - 1.0) > SHARE_TOLERANCE:
        faults.append(f"the shares of the {len(mix.origins)} origins sum to {total:.9g}, not 1")
    if faults:
        raise MixError(f"mix {mix.name!r}: " + "; ".join(faults))
    return mix


def normalised(mix: Mix) -> tuple[Mix, str | None]:
    """The mix with its shares scaled to sum to 1, and what to tell the user about it (None where
    they already did).

    Raises MixError for what scaling cannot mend: a share that is not positive, a name twice, no
    origin.
    """
    faults = list(_faults(mix, most=inf))
    if faults:
        raise MixError(f"mix {mix.name!r}: " + "; ".join(faults))
    total = fsum(o.share for o in mix.origins)
    if abs(total - 1.0) <= SHARE_TOLERANCE:
        return mix, None
    scaled = tuple(replace(o, share=o.share / total) for o in mix.origins)
    return replace(
        mix, origins=scaled
    ), f"mix {mix.name!r}: shares summed to {total:.9g} and were scaled to 1"


def _faults(mix: Mix, most: float) -> Iterator[str]:
    if not mix.origins:
        yield "no origin"
    everything: dict[str, Sequence[Origin | EdgeSite]] = {
        "origin": mix.origins,
        "edge": mix.edges,
        "region": mix.regions,
    }
    for kind, places in everything.items():
        names = [place.name for place in places]
        yield from (
            f"{kind} {name!r} is listed twice"
            for name in sorted({n for n in names if names.count(n) > 1})
        )
        for place in places:
            try:
                check_position(place.latitude, place.longitude)
            except ValueError as error:
                yield f"{kind} {place.name!r}: {error}"
    for origin in mix.origins:
        if not (isfinite(origin.share) and 0 < origin.share <= most):
            yield f"share {origin.share} of {origin.name!r} must be over 0" + (
                " and at most 1" if isfinite(most) else ""
            )


def nearest(
    place: Located,
    edges: Iterable[E],
    count: int | None = None,
    *,
    trips: RoundTrips | None = None,
) -> tuple[Near[E], ...]:
    """The edges from a place outwards by round trip, at most `count`; of equally near ones the
    shorter distance, then the name decides, so the order is fixed.
    """
    known = trips or RoundTrips()
    seen = []
    for edge in edges:
        trip = known.between(place, edge)
        seen.append(Near(edge, great_circle_km(place, edge), trip.ms, trip.source))
    return tuple(sorted(seen, key=lambda n: (n.rtt_ms, n.distance_km, n.edge.name))[:count])


def share_within(reached: Sequence[tuple[float, float]], limit_ms: float) -> float:
    """What part of some traffic is served within `limit_ms`, 0..1, from pairs of (round trip in ms,
    share).
    """
    return fsum(share for rtt, share in reached if rtt <= limit_ms) / fsum(
        share for _, share in reached
    )


def rtt_quantile_ms(reached: Sequence[tuple[float, float]], quantile: float) -> float:
    """The round trip, ms, that a part of some traffic stays within, from pairs of (round trip in
    ms, share).
    """
    total, so_far = fsum(share for _, share in reached), 0.0
    for rtt, share in sorted(reached):
        so_far += share
        if so_far >= (quantile - SHARE_TOLERANCE) * total:
            return rtt
    return max(reached)[0]


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole parts of `total`, each within 1 of its share and together exactly `total`.

    Largest remainder method (Hamilton): floors first, then one more to the largest remainders, the
    earlier of equals first. Raises ValueError where total is negative or the shares are not 0 or
    more and 1 +/- 1e-9 in sum.
    """
    if total < 0:
        raise ValueError(f"total must not be negative, not {total}")
    if any(not share >= 0 for share in shares) or abs(fsum(shares) - 1.0) > SHARE_TOLERANCE:
        raise ValueError(f"shares must be 0 or more and sum to 1, not {fsum(shares):.9g}")
    # Fractions, since a rounded product could leave a unit too many, and the parts would no longer
    # add up.
    whole = sum(map(Fraction, shares))
    exact = [total * Fraction(share) / whole for share in shares]
    parts = [floor(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def rates_per_s(mix: Mix, rate_per_s: float) -> dict[str, float]:
    """Each origin's part of a rate, requests per second, by its name."""
    return {o.name: rate_per_s * o.share for o in mix.origins}


def populations(mix: Mix, edges_each: int = 3) -> tuple[Population, ...]:
    """The populations of a target for a mix: each with its `edges_each` nearest edges in order, and
    its country as a label.
    """
    return tuple(
        Population(
            name=origin.name,
            share=origin.share,
            latitude=origin.latitude,
            longitude=origin.longitude,
            edges=tuple(
                near.edge.name for near in nearest(origin, mix.edges, edges_each, trips=mix.trips)
            ),
            last_mile_ms=origin.last_mile_ms,
            labels={"country": origin.country} if origin.country else {},
        )
        for origin in mix.origins
    )


def gathered(mix: Mix, at_most: int) -> tuple[Origin, ...]:
    """The `at_most` largest origins, each with the shares of the smaller ones that are nearest to
    it: of their group, or of all where none of it is left.
    """
    ranked = sorted(mix.origins, key=lambda o: (-o.share, o.name))
    kept, rest = ranked[:at_most], ranked[at_most:]
    shares = {o.name: [o.share] for o in kept}
    for one in rest:
        own = [o for o in kept if o.group == one.group] or kept
        shares[nearest(one, own, 1, trips=mix.trips)[0].edge.name].append(one.share)
    return tuple(replace(o, share=fsum(shares[o.name])) for o in kept)


def spread(mix: Mix, count: int) -> tuple[EdgeSite, ...]:
    """Of the mix's edges the `count` that leave its users the shortest round trips on average, by
    adding the best one after the other (the greedy heuristic of the k-median problem, which is at
    most 1 / (1 - 1/e) from the best set in what it saves: Cornuejols, Fisher, Nemhauser 1977).
    """
    away = {edge.name: [mix.trips.between(o, edge).ms for o in mix.origins] for edge in mix.edges}
    best = [inf] * len(mix.origins)
    left = {edge.name: edge for edge in mix.edges}
    chosen: list[EdgeSite] = []
    while left and len(chosen) < count:
        costs = {
            name: fsum(
                o.share * min(had, ms)
                for o, had, ms in zip(mix.origins, best, away[name], strict=True)
            )
            for name in left
        }
        name = min(costs, key=lambda n: (costs[n], n))
        chosen.append(left.pop(name))
        best = [min(had, ms) for had, ms in zip(best, away[name], strict=True)]
    return tuple(chosen)
