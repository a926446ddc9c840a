"""Distances against published ones, and the laws any distance obeys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.geography.distance import (
    EARTH_RADIUS_KM,
    Position,
    check_position,
    great_circle_km,
    route_km,
    rtt_ms,
    rtt_table_ms,
)
from stormgate.geography.places import city
from stormgate.model import Region

positions = st.builds(Position, st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ("London", "New York", 5570),
        ("London", "Paris", 344),
        ("New York", "Los Angeles", 3936),
        ("Paris", "Tokyo", 9712),
        ("Sydney", "Singapore", 6300),
        ("Frankfurt", "Singapore", 10260),
        ("São Paulo", "Lisbon, PT", 7930),
        ("Auckland", "Santiago", 9670),  # across the date line
        ("Johannesburg", "Perth", 8330),
        ("Tokyo", "San Francisco", 8270),  # across the date line
    ],
)
def test_known_distances_within_one_percent(a: str, b: str, km: float) -> None:
    assert great_circle_km(city(a), city(b)) == pytest.approx(km, rel=0.01)


def test_a_quarter_and_half_of_the_globe() -> None:
    pole, equator, antipode = Position(90, 0), Position(0, 77), Position(0, -103)
    quarter = EARTH_RADIUS_KM * 3.141592653589793 / 2
    assert great_circle_km(pole, equator) == pytest.approx(quarter)
    assert great_circle_km(equator, antipode) == pytest.approx(2 * quarter)


def test_an_antipode_where_rounding_exceeds_one() -> None:
    # The haversine of this pair comes out as 1.0000000000000002.
    one = Position(69.51232454868148, -46.70938587002465)
    other = Position(-one.latitude, one.longitude + 180)
    assert great_circle_km(one, other) == pytest.approx(EARTH_RADIUS_KM * 3.141592653589793)


def test_a_metre_is_still_told_apart() -> None:
    assert great_circle_km(Position(51.5, 0), Position(51.5, 1e-5)) == pytest.approx(
        0.000692, rel=0.01
    )


@given(positions, positions)
def test_symmetric_never_negative_and_at_most_half_round(a: Position, b: Position) -> None:
    assert great_circle_km(a, b) == great_circle_km(b, a)
    assert 0 <= great_circle_km(a, b) <= EARTH_RADIUS_KM * 3.1415926536
    assert great_circle_km(a, a) == 0


@given(positions, positions, positions)
def test_no_detour_is_shorter(a: Position, b: Position, c: Position) -> None:
    # 1 mm: near antipodes the haversine's arcsine is steep, and rounding shows.
    assert great_circle_km(a, c) <= great_circle_km(a, b) + great_circle_km(b, c) + 1e-3


@given(st.floats(0, 20_100), st.floats(0, 20_100))
def test_a_longer_way_never_has_a_shorter_cable(one: float, other: float) -> None:
    assert route_km(min(one, other)) <= route_km(max(one, other))
    assert route_km(one) >= one


@pytest.mark.parametrize(
    ("km", "route"),
    [(0, 0), (600, 900), (999, 1498.5), (1000, 1500), (1199, 1500), (1200, 1500), (4000, 5000)],
)
def test_route_lengths_of_g826(km: float, route: float) -> None:
    assert route_km(km) == route


def test_rtt_formula_by_hand() -> None:
    one, other = Position(0, 0), Position(0, 90)
    km = EARTH_RADIUS_KM * 3.141592653589793 / 2
    assert rtt_ms(one, other) == pytest.approx(2 * 1.25 * km / 200 + 1)
    assert rtt_ms(
        one, other, path_factor=1, fibre_speed_km_per_ms=300, overhead_ms=0
    ) == pytest.approx(2 * km / 300)
    assert rtt_ms(one, one) == 1.0


def test_a_region_of_the_model_has_a_place() -> None:
    virginia = Region(name="us-east", latitude=39.04, longitude=-77.49)
    assert 70 < rtt_ms(virginia, city("London")) < 78


def test_table_is_rows_by_columns() -> None:
    a, b, c = city("London"), city("Paris"), city("Tokyo")
    assert rtt_table_ms([a], [b, c]) == [[rtt_ms(a, b), rtt_ms(a, c)]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fibre_speed_km_per_ms": 0},
        {"fibre_speed_km_per_ms": -1},
        {"path_factor": 0.99},
        {"overhead_ms": -0.1},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rtt_ms(Position(0, 0), Position(1, 1), **wrong)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(90.1, 0), (-91, 0), (0, 181), (0, -180.5), (float("nan"), 0), (0, float("inf"))],
)
def test_positions_off_the_globe_are_refused(latitude: float, longitude: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        check_position(latitude, longitude)


# Mean round trips, ms, between the regions of one cloud, 27 July to 25 August 2024, as IBM Cloud
# publishes them (VPC documentation, "Network latency"). The model is a floor: no pair was faster,
# and half of them were at most a quarter slower.
MEASURED_MS = {
    ("Washington", "London"): 75,
    ("Dallas", "Sydney"): 186,
    ("Dallas", "Tokyo"): 143,
    ("Washington", "Frankfurt"): 91,
    ("Toronto", "London"): 82,
    ("Sydney", "Tokyo"): 115,
    ("Dallas", "London"): 113,
    ("Frankfurt", "Sydney"): 250,
    ("Washington", "São Paulo"): 118,
    ("Frankfurt", "London"): 13,
    ("Toronto", "Tokyo"): 162,
    ("Dallas", "Washington"): 31,
    ("Osaka", "Tokyo"): 9,
    ("Dallas", "Toronto"): 34,
    ("Frankfurt", "Madrid"): 29,
    ("London", "São Paulo"): 188,
    ("Toronto", "Washington"): 19,
    ("Frankfurt", "Tokyo"): 233,
}


def test_measured_round_trips_are_never_below_the_model_nor_far_above() -> None:
    ratios = sorted(measured / rtt_ms(city(a), city(b)) for (a, b), measured in MEASURED_MS.items())
    assert ratios[0] > 0.99
    assert ratios[len(ratios) // 2] < 1.25
    assert ratios[-1] < 2.1  # Europe to Japan: no cable takes the short way across Siberia
