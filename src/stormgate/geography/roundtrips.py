"""The round trip between two places, and where its figure is from: what a target says, what was
measured between cloud regions, else the model of `distance.py`. Pure.

The model knows no cables. Between Cape Town and São Paulo it says 80 ms where packets take 337, for
they go by Europe; so what was measured wins, and a way between places near to measured ones is
drawn out as much as theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from stormgate.geography.distance import Located, great_circle_km, rtt_over_ms
from stormgate.geography.places import CloudRegion, cloud_region, own_rows

# So near to a measured region a place is taken to stand in it: a metropolis and its sites.
METRO_KM = 100.0
# So far at most a place may be from the measured region whose ways it is taken to share.
NEAR_KM = 1_500.0

RttSource = Literal["target", "measured", "detour", "model"]


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A round trip, ms, and where the figure is from: `target` (its document says so), `measured`
    (between the cloud regions in these cities), `detour` (the model, and what the way between the
    nearest measured regions takes longer than it), or `model`.
    """

    ms: float
    source: RttSource


@cache
def measured() -> Mapping[frozenset[str], float]:
    """Measured round trips, ms, by pair of cloud regions ("aws:eu-west-1")."""
    return {
        frozenset((row["a"], row["b"])): float(row["rtt_ms"])
        for row in own_rows("measured_rtt.csv")
    }


@cache
def _sites() -> tuple[tuple[str, CloudRegion], ...]:
    codes = sorted({code for pair in measured() for code in pair})
    return tuple((code, cloud_region(code)) for code in codes)


@cache
def _site(latitude: float, longitude: float) -> tuple[str, CloudRegion, float]:
    """The nearest measured region: its code, itself and how far it is, km."""
    here = _At(latitude, longitude)
    km, code, region = min((great_circle_km(here, r), c, r) for c, r in _sites())
    return code, region, km


@dataclass(frozen=True, slots=True)
class _At:
    latitude: float
    longitude: float


def _tail_ms(km: float) -> float:
    return rtt_over_ms(km, overhead_ms=0.0)


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round trips between places. `said` are a target's own, ms, by the pair of names."""

    said: Mapping[frozenset[str], float] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Iterable[tuple[str, str, float]]) -> RoundTrips:
        """With the round trips that a target gives: (name, other name, ms)."""
        return cls({frozenset((a, b)): ms for a, b, ms in said})

    def between(self, a: Located, b: Located) -> RoundTrip:
        """The round trip between two places."""
        names = frozenset(str(getattr(place, "name", "")) for place in (a, b))
        if (ms := self.said.get(names)) is not None:
            return RoundTrip(ms, "target")
        km = great_circle_km(a, b)
        floor_ms = rtt_over_ms(km)
        code_a, site_a, tail_a_km = _site(a.latitude, a.longitude)
        code_b, site_b, tail_b_km = _site(b.latitude, b.longitude)
        seen_ms = measured().get(frozenset((code_a, code_b)))
        if seen_ms is None:  # both are nearest to the same one
            return RoundTrip(floor_ms, "model")
        if max(tail_a_km, tail_b_km) <= METRO_KM:
            return RoundTrip(seen_ms + _tail_ms(tail_a_km) + _tail_ms(tail_b_km), "measured")
        apart_km = great_circle_km(site_a, site_b)
        detour_ms = seen_ms - rtt_over_ms(apart_km)
        if (
            detour_ms > 0
            and max(tail_a_km, tail_b_km) <= NEAR_KM
            # Where the ends are a good part of the way, it is not the way that was measured.
            and tail_a_km + tail_b_km <= min(apart_km, km) / 2
        ):
            return RoundTrip(floor_ms + detour_ms, "detour")
        return RoundTrip(floor_ms, "model")
