"""CHE·NU's own map: as many PoPs as promised, and every place found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from stormgate.documents.mix import TrafficMix, read_mix
from stormgate.geography.curves import WEEKDAYS
from stormgate.geography.summary import facts

TARGETS = Path(__file__).parents[3] / "targets"


@pytest.fixture(scope="module")
def traffic() -> TrafficMix:
    return read_mix(TARGETS / "chenu-mix.yaml")


def test_pops_as_promised(traffic: TrafficMix) -> None:
    assert Counter(edge.group for edge in traffic.mix.edges) == {
        "north-america": 60,
        "europe": 50,
        "asia-pacific": 50,
        "latin-america": 20,
        "middle-east": 10,
        "africa": 10,
    }
    places = [(edge.latitude, edge.longitude) for edge in traffic.mix.edges]
    assert len(set(places)) == 200


def test_regions_as_promised(traffic: TrafficMix) -> None:
    names = {region.name for region in traffic.mix.regions}
    assert len(names) >= 50
    assert {"us-east", "us-west", "eu-west", "eu-central", "ap-southeast"} <= names


def test_rows_bound_to_a_jurisdiction_have_their_regions_inside_it(traffic: TrafficMix) -> None:
    union = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
    for region in traffic.mix.regions:
        if region.name.startswith("eu-"):
            assert region.country in union, region
        if region.name.startswith("us-"):
            assert region.country == "US", region


def test_the_volume_and_the_day(traffic: TrafficMix) -> None:
    assert traffic.mean_rate_per_s == pytest.approx(11_574, abs=1)
    business, personal = traffic.day.uses["business"][1], traffic.day.uses["personal"][1]
    monday = [hour / 4 for hour in range(96)]
    assert max(monday, key=business.level) == 9.0
    assert business.peaks[0].days == WEEKDAYS
    # Personal use sets in at 18:00: from there on it is the larger half of the traffic, until the
    # night.
    assert traffic.day.shares(17.0)["business"] > 0.5 > traffic.day.shares(18.5)["business"]
    assert personal.level(18.5) > 2 * personal.level(16.0)


def test_users_are_as_near_to_an_edge_as_promised(traffic: TrafficMix) -> None:
    total = facts(traffic, date(2026, 11, 25)).total
    assert total.share_within_ms["10"] > 0.95
    assert total.share_within_ms["30"] == pytest.approx(1.0)


def test_the_day_as_a_load_shape() -> None:
    # In its own process: importing Locust patches the interpreter.
    code = """
import json, runpy
shape = runpy.run_path("loadtests/chenu_day.py")["Wednesday"]()
def at(t_s):
    shape.get_run_time = lambda: t_s
    return shape.tick()
print(json.dumps([at(t_s) for t_s in (0, 95, 400, 550, 599, 600)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TARGETS.parent, capture_output=True, text=True, check=True
    )
    night, _, busiest, quietest, last, end = json.loads(done.stdout)
    assert night is not None
    assert last is not None
    assert end is None
    assert 135 < busiest[0] < 150  # 16:00 UTC, 1.42 times the mean of 100
    assert 80 < quietest[0] < 95  # 22:00 UTC
