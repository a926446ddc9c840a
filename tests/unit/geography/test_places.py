"""The gazetteer: right where it can be checked by hand, forgiving in spelling, helpful when
wrong.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from stormgate.geography.distance import Position, check_position, great_circle_km
from stormgate.geography.places import UnknownPlaceError, cities, city, cloud_region, cloud_regions

# Written down without GeoNames, to a tenth of a degree.
BY_HAND = {
    "London": (51.5, -0.1, "GB", "Europe/London"),
    "New York": (40.7, -74.0, "US", "America/New_York"),
    "San Francisco": (37.8, -122.4, "US", "America/Los_Angeles"),
    "São Paulo": (-23.6, -46.6, "BR", "America/Sao_Paulo"),
    "Tokyo": (35.7, 139.7, "JP", "Asia/Tokyo"),
    "Singapore": (1.3, 103.8, "SG", "Asia/Singapore"),
    "Sydney": (-33.9, 151.2, "AU", "Australia/Sydney"),
    "Nairobi": (-1.3, 36.8, "KE", "Africa/Nairobi"),
    "Reykjavík": (64.1, -21.9, "IS", "Atlantic/Reykjavik"),
    "Ashburn": (39.0, -77.5, "US", "America/New_York"),
    "Dubai": (25.2, 55.3, "AE", "Asia/Dubai"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_cities_are_where_they_are(name: str) -> None:
    latitude, longitude, country, zone = BY_HAND[name]
    found = city(name)
    assert great_circle_km(found, Position(latitude, longitude)) < 25
    assert (found.country, found.time_zone) == (country, zone)


def test_the_table_is_whole() -> None:
    assert len(cities()) > 500
    assert len({c.country for c in cities()}) > 190
    for one in cities():
        check_position(one.latitude, one.longitude)
        assert len(one.country) == 2
        assert one.continent in {"AF", "AN", "AS", "EU", "NA", "OC", "SA"}
        assert one.population >= 0
        ZoneInfo(one.time_zone)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sao paulo", "São Paulo"),
        ("SAO-PAULO", "São Paulo"),
        ("NYC", "New York City"),
        ("Cologne", "Köln"),
        ("Washington, D.C.", "Washington"),
        ("frankfurt", "Frankfurt am Main"),
    ],
)
def test_spelling_is_forgiven(written: str, meant: str) -> None:
    assert city(written).name == meant


def test_of_two_cities_the_larger_unless_a_country_is_named() -> None:
    assert city("Hyderabad").country == "IN"
    assert city("Hyderabad, PK").country == city("Hyderabad", "pk").country == "PK"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Frankfort", "Frankfurt"),
        ("Sidney", "Sydney"),
        ("Paris, US", "there is one in FR"),
        ("Qwxyz", "latitude and longitude"),
    ],
)
def test_unknown_cities_name_the_nearest(name: str, says: str) -> None:
    with pytest.raises(UnknownPlaceError) as caught:
        city(name)
    assert says in str(caught.value)


def test_cloud_regions_stand_where_their_names_say() -> None:
    assert {r.provider for r in cloud_regions()} == {"aws", "azure", "gcp"}
    assert len(cloud_regions()) > 120
    assert len({(r.provider, r.code) for r in cloud_regions()}) == len(cloud_regions())
    assert great_circle_km(cloud_region("us-east-1"), Position(39.0, -77.5)) < 25
    assert great_circle_km(cloud_region("azure:westeurope"), city("Amsterdam")) < 1
    assert great_circle_km(cloud_region("gcp:asia-northeast1"), city("Tokyo")) < 1
    assert cloud_region("aws:us-west-2").place == "Boardman, OR"
    assert (
        great_circle_km(cloud_region("azure:westus2"), Position(47.2, -119.9)) < 25
    )  # Quincy in Washington, not Massachusetts


def test_unknown_regions_name_the_nearest() -> None:
    with pytest.raises(UnknownPlaceError, match="aws:us-east-1"):
        cloud_region("us-est-1")
    with pytest.raises(UnknownPlaceError, match="did you mean gcp:us-west"):
        cloud_region("gcp:us-west9")
