"""Who asks, from where, and how much: populations with shares of the traffic, and the edges nearest to each.

Pure: no clock, no sockets; randomness is handed in.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import floor, fsum, isfinite
from random import Random

from stormgate.geography.distance import Located, check_position, great_circle_km, rtt_ms

SHARE_TOLERANCE = 1e-9


class MixError(ValueError):
    """A mix that cannot be: shares that do not add up, a name twice, no population."""


@dataclass(frozen=True, slots=True)
class Population:
    """Users in one place. `share` is their part of all requests, 0..1; `country` is ISO 3166-1 alpha-2."""

    name: str
    share: float
    lat_deg: float
    lon_deg: float
    country: str = ""
    time_zone: str = "UTC"
    group: str = ""  # what a table sums up by: a continent, a market


@dataclass(frozen=True, slots=True)
class Edge:
    """A place that answers users: a PoP or a region. `region` is the region behind a PoP, where there is one."""

    name: str
    lat_deg: float
    lon_deg: float
    country: str = ""
    region: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Near:
    """An edge as one place sees it: great-circle distance, km, and round-trip time, ms."""

    edge: Edge
    distance_km: float
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class Mix:
    """Populations whose shares sum to 1 (checked by `checked`), and the edges they can reach."""

    name: str
    populations: tuple[Population, ...]
    edges: tuple[Edge, ...] = ()


def checked(mix: Mix) -> Mix:
    """The mix itself, or MixError naming every fault: shares outside (0, 1] or not summing to 1 +/- 1e-9, names twice."""
    faults = list(_faults(mix))
    if not faults:
        total = fsum(p.share for p in mix.populations)
        if abs(total - 1.0) > SHARE_TOLERANCE:
            faults.append(f"the shares of the {len(mix.populations)} populations sum to {total:.9g}, not 1")
    if faults:
        raise MixError(f"mix {mix.name!r}: " + "; ".join(faults))
    return mix


def normalised(mix: Mix) -> tuple[Mix, str | None]:
    """The mix with its shares scaled to sum to 1, and what to tell the user about it (None where they already did).

    Raises MixError for what scaling cannot mend: a share that is not positive, a name twice, no population.
    """
    faults = list(_faults(mix, most=float("inf")))
    if faults:
        raise MixError(f"mix {mix.name!r}: " + "; ".join(faults))
    total = fsum(p.share for p in mix.populations)
    if abs(total - 1.0) <= SHARE_TOLERANCE:
        return mix, None
    scaled = tuple(replace(p, share=p.share / total) for p in mix.populations)
    return replace(mix, populations=scaled), f"mix {mix.name!r}: shares summed to {total:.9g} and were scaled to 1"


def _faults(mix: Mix, most: float = 1.0 + SHARE_TOLERANCE) -> list[str]:
    faults = [] if mix.populations else ["no population"]
    for kind, names in (("population", [p.name for p in mix.populations]), ("edge", [e.name for e in mix.edges])):
        faults += [f"{kind} {name!r} is listed twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for population in mix.populations:
        if not (isfinite(population.share) and 0 < population.share <= most):
            faults.append(f"share {population.share} of {population.name!r} must be over 0 and at most 1")
    places: list[Population | Edge] = [*mix.populations, *mix.edges]
    for place in places:
        try:
            check_position(place.lat_deg, place.lon_deg)
        except ValueError as error:
            faults.append(f"{place.name!r}: {error}")
    return faults


def nearest(
    place: Located,
    edges: Sequence[Edge],
    count: int | None = None,
    *,
    rtt: Callable[[Located, Located], float] = rtt_ms,
) -> tuple[Near, ...]:
    """The edges by round-trip time from a place, nearest first, at most `count`; equal ones by name, so the order is fixed."""
    near = sorted(
        (Near(edge, great_circle_km(place, edge), rtt(place, edge)) for edge in edges),
        key=lambda n: (n.rtt_ms, n.edge.name),
    )
    return tuple(near if count is None else near[:count])


def share_within(mix: Mix, limit_ms: float) -> float:
    """Share of the traffic whose nearest edge is at most `limit_ms` of round trip away, 0..1."""
    return fsum(p.share for p in mix.populations if nearest(p, mix.edges, 1)[0].rtt_ms <= limit_ms)


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole parts of `total`, each within 1 of its share and together exactly `total`.

    Largest remainder method (Hamilton): floors first, then one more to the largest remainders, the earlier of equals first.
    Raises ValueError where total is negative or the shares do not sum to 1 +/- 1e-9.
    """
    if total < 0:
        raise ValueError(f"total must not be negative, not {total}")
    if any(share < 0 for share in shares) or abs(fsum(shares) - 1.0) > SHARE_TOLERANCE:
        raise ValueError(f"shares must be 0 or more and sum to 1, not {fsum(shares):.9g}")
    exact = [total * share for share in shares]
    parts = [floor(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    # Rounding of the products can leave a unit too few or, for a huge total, one too many.
    left = total - sum(parts)
    step = 1 if left > 0 else -1
    for i in (by_remainder if step > 0 else by_remainder[::-1])[: abs(left)]:
        parts[i] += step
    return parts


def rates_per_s(mix: Mix, rate_per_s: float) -> dict[str, float]:
    """Each population's part of a rate, requests per second, by its name."""
    return {p.name: rate_per_s * p.share for p in mix.populations}


class Sampler:
    """Draws populations by their shares from a seeded source of randomness."""

    def __init__(self, mix: Mix, random: Random) -> None:
        self._populations = mix.populations
        self._random = random
        self._upper = list(accumulate(p.share for p in mix.populations))

    def draw(self) -> Population:
        """One population, with probability equal to its share."""
        at = bisect(self._upper, self._random.random() * self._upper[-1])
        return self._populations[min(at, len(self._populations) - 1)]
