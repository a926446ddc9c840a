"""Great-circle distance and the round-trip time that follows from it. Pure arithmetic, standard
library only.

The round trip is what a *well-built* network can do over that distance: a floor that real routes
come near, not a forecast of one route on one day. docs/geography.md compares it with measured round
trips.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import asin, cos, isfinite, radians, sin, sqrt
from typing import NamedTuple, Protocol

# IUGG mean radius R1 = (2a + b) / 3 of the GRS 80 ellipsoid (Moritz, Geodetic Reference System
# 1980, Journal of Geodesy 74).
EARTH_RADIUS_KM = 6371.0088

# ITU-T G.114 Annex A, table A.1: 5 us per km for optical fibre, so 200 km per ms.
FIBRE_SPEED_KM_PER_MS = 200.0

# What switches, routers and the two hosts add to a round trip on top of the fibre.
OVERHEAD_MS = 1.0


class Located(Protocol):
    """Anything with a position in degrees: a city, a population, an edge, a region."""

    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...


class Position(NamedTuple):
    """A bare position: latitude -90..90 (north positive), longitude -180..180 (east positive),
    degrees.
    """

    latitude: float
    longitude: float


def check_position(latitude: float, longitude: float) -> None:
    """Raises ValueError where the pair is no position on Earth."""
    if not (isfinite(latitude) and -90.0 <= latitude <= 90.0):
        raise ValueError(f"latitude {latitude} is outside -90..90 degrees")
    if not (isfinite(longitude) and -180.0 <= longitude <= 180.0):
        raise ValueError(f"longitude {longitude} is outside -180..180 degrees")


def great_circle_km(a: Located, b: Located) -> float:
    """Shortest distance over the surface, km, on a sphere (off by at most 0.56 % from the
    ellipsoid).

    Haversine formula: R. W. Sinnott, "Virtues of the Haversine", Sky & Telescope 68 (1984), p. 159.
    It keeps its precision at short distances, where the spherical law of cosines loses it.
    """
    lat_a, lat_b = radians(a.latitude), radians(b.latitude)
    half_lat, half_lon = (lat_b - lat_a) / 2, radians(b.longitude - a.longitude) / 2
    h = sin(half_lat) ** 2 + cos(lat_a) * cos(lat_b) * sin(half_lon) ** 2
    # Rounding pushes h over 1 at some antipodes; one more unit in the last place and asin would
    # refuse it.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, h)))


def route_km(great_circle: float) -> float:
    """Length of the cable route for a great-circle distance, both km: cables follow coasts, roads
    and rings.

    ITU-T G.826 clause 6 (route length from air-route distance): x 1.5 under 1,000 km, 1,500 km up
    to 1,200 km, x 1.25 beyond.
    """
    if great_circle < 1000.0:
        return 1.5 * great_circle
    return max(1500.0, 1.25 * great_circle)


def rtt_over_ms(
    great_circle: float,
    *,
    fibre_speed_km_per_ms: float = FIBRE_SPEED_KM_PER_MS,
    path_factor: float | None = None,
    overhead_ms: float = OVERHEAD_MS,
) -> float:
    """Round-trip time, ms, over a great-circle distance in km: 2 x route / fibre speed + overhead.

    The route is `route_km` (ITU-T G.826) unless `path_factor` gives a fixed ratio of cable to great
    circle. Raises ValueError for a speed that is not positive, a factor under 1 or a negative
    overhead.
    """
    if fibre_speed_km_per_ms <= 0:
        raise ValueError(f"fibre_speed_km_per_ms must be over 0, not {fibre_speed_km_per_ms}")
    if overhead_ms < 0:
        raise ValueError(f"overhead_ms must not be negative, not {overhead_ms}")
    if path_factor is not None and path_factor < 1:
        raise ValueError(
            "path_factor must be at least 1 (no cable is shorter than the great circle), not "
            f"{path_factor}"
        )
    route = route_km(great_circle) if path_factor is None else great_circle * path_factor
    return 2 * route / fibre_speed_km_per_ms + overhead_ms


def rtt_ms(
    a: Located,
    b: Located,
    *,
    fibre_speed_km_per_ms: float = FIBRE_SPEED_KM_PER_MS,
    path_factor: float | None = None,
    overhead_ms: float = OVERHEAD_MS,
) -> float:
    """Round-trip time between two places, ms; formula and errors as `rtt_over_ms`."""
    return rtt_over_ms(
        great_circle_km(a, b),
        fibre_speed_km_per_ms=fibre_speed_km_per_ms,
        path_factor=path_factor,
        overhead_ms=overhead_ms,
    )


def rtt_table_ms(rows: Iterable[Located], columns: Iterable[Located]) -> list[list[float]]:
    """Round-trip times, ms, of every row place to every column place, with the default formula of
    `rtt_ms`.
    """
    across = list(columns)
    return [[rtt_ms(row, column) for column in across] for row in rows]
