"""Rates over time, against values worked out by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.geography.curves import (
    WEEKDAYS,
    Day,
    DayCurve,
    Peak,
    added,
    constant,
    day_rate,
    flash_crowd,
    hour_of_week,
    local_rates,
    planned_requests,
    steps,
    streams,
    world_rate,
)
from stormgate.geography.mix import Origin

MORNING = DayCurve(
    base=0.1, peaks=(Peak(at_h=9, height=1.0, rise_h=1.0, fall_h=4.0, days=WEEKDAYS),)
)
EVENING = DayCurve(base=0.1, peaks=(Peak(at_h=19, height=1.0, rise_h=1.0, fall_h=2.0),))
DAY = Day({"business": (0.6, MORNING), "personal": (0.4, EVENING)})


def mean_over_week(level: object) -> float:
    return math.fsum(level((i + 0.5) / 10) for i in range(1680)) / 1680  # type: ignore[operator]


def test_the_top_is_at_its_hour_on_its_days() -> None:
    hours = [i / 4 for i in range(168 * 4)]
    assert max(hours[:96], key=MORNING.level) == 9.0
    assert max(hours[96:192], key=MORNING.level) == 33.0
    saturday = [h for h in hours if 120 + 6 <= h < 144]
    assert max(map(MORNING.level, saturday)) < 0.2 * MORNING.level(9)
    assert max((h for h in hours if h >= 144), key=EVENING.level) == 144 + 19


def test_height_and_slopes() -> None:
    lonely = DayCurve(
        base=1.0, peaks=(Peak(at_h=12, height=3.0, rise_h=1.0, fall_h=2.0, days=frozenset({2})),)
    )
    noon = 2 * 24 + 12
    assert lonely.level(noon) / lonely.level(0) == pytest.approx(4.0)
    sigma = 1 + 3 * math.exp(-0.5)
    assert lonely.level(noon - 1) / lonely.level(0) == pytest.approx(sigma)
    assert lonely.level(noon + 2) / lonely.level(0) == pytest.approx(sigma)


def test_the_week_is_a_circle() -> None:
    late = DayCurve(
        base=0.0, peaks=(Peak(at_h=23.5, height=1.0, rise_h=1.0, fall_h=1.0, days=frozenset({6})),)
    )
    assert late.level(0.5) == pytest.approx(late.level(167.5) * math.exp(-0.5))
    assert late.level(167.5 + 168) == late.level(167.5)


@given(
    st.floats(0.01, 10),
    st.lists(
        st.builds(
            Peak,
            at_h=st.floats(0, 23.99),
            height=st.floats(0, 10),
            rise_h=st.floats(0.5, 6),
            fall_h=st.floats(0.5, 6),
            days=st.frozensets(st.integers(0, 6), min_size=1),
        ),
        max_size=3,
    ),
)
def test_a_day_keeps_its_mean(base: float, peaks: list[Peak]) -> None:
    assert mean_over_week(DayCurve(base=base, peaks=tuple(peaks)).level) == pytest.approx(
        1.0, rel=1e-3
    )


def test_uses_share_the_day() -> None:
    assert mean_over_week(DAY.level) == pytest.approx(1.0, rel=1e-4)
    morning, evening = DAY.shares(9.0), DAY.shares(19.0)
    assert math.fsum(morning.values()) == pytest.approx(1.0)
    assert morning["business"] > 0.9
    assert evening["personal"] > 0.6
    assert Day(
        {
            "a": (0.5, DayCurve(base=0, peaks=EVENING.peaks)),
            "b": (0.5, DayCurve(base=0, peaks=EVENING.peaks)),
        }
    ).shares(3.0) == {
        "a": 0.5,
        "b": 0.5,
    }


@pytest.mark.parametrize(
    ("zone", "hour"),
    [
        ("UTC", 36.5),
        ("Europe/London", 36.5),
        ("America/New_York", 31.5),
        ("Asia/Kolkata", 42.0),
        ("Asia/Tokyo", 45.5),
    ],
)
def test_local_hours(zone: str, hour: float) -> None:
    assert (
        hour_of_week(datetime(2026, 1, 6, 12, 30, tzinfo=UTC), zone) == hour
    )  # a Tuesday in winter


def test_summer_time_is_kept_and_zoneless_times_are_refused() -> None:
    assert hour_of_week(datetime(2026, 7, 7, 12, 30, tzinfo=UTC), "Europe/London") == 37.5
    with pytest.raises(ValueError, match="zone"):
        hour_of_week(datetime(2026, 7, 7), "UTC")  # noqa: DTZ001


def test_morning_reaches_one_city_after_the_other() -> None:
    cities = [
        Origin(name="tokyo", share=0.5, latitude=0, longitude=0, time_zone="Asia/Tokyo"),
        Origin(name="london", share=0.5, latitude=0, longitude=0, time_zone="Europe/London"),
    ]
    start = datetime(2026, 1, 6, tzinfo=UTC)  # 9:00 in Tokyo, 0:00 in London
    rates = local_rates(cities, DAY, 1000.0, start=start)
    assert rates["tokyo"](0) == pytest.approx(500 * DAY.level(24 + 9))
    assert rates["london"](9 * 3600) == pytest.approx(500 * DAY.level(24 + 9))
    assert added(*rates.values())(0) == pytest.approx(rates["tokyo"](0) + rates["london"](0))
    for t_s in (0, 1_000, 50_000, 700_000):
        together = world_rate(cities, DAY, 1000.0, start=start)
        assert together(t_s) == pytest.approx(rates["tokyo"](t_s) + rates["london"](t_s))
    week_s = 168 * 3600
    assert planned_requests(added(*rates.values()), week_s, step_s=900) == pytest.approx(
        1000.0 * week_s, rel=1e-4
    )


def test_speed_puts_a_day_into_ten_minutes() -> None:
    slow = day_rate(DAY, 100.0, start_hour_of_week=0)
    fast = day_rate(DAY, 100.0, start_hour_of_week=0, speed=144)
    assert fast(225) == pytest.approx(slow(9 * 3600))


@pytest.mark.parametrize(
    ("t_s", "rate"),
    [
        (-5, 10),
        (0, 10),
        (60, 10),
        (65, 55),
        (70, 100),
        (100, 100),
        (130, 55),
        (160, 32.5),
        (10_000, 10),
    ],
)
def test_flash_crowd(t_s: float, rate: float) -> None:
    crowd = flash_crowd(10, 100, at_s=60, rise_s=10, hold_s=30, half_life_s=30)
    assert crowd(t_s) == pytest.approx(rate)


@pytest.mark.parametrize(("t_s", "rate"), [(-1, 5), (0, 5), (9.99, 5), (10, 7), (20, 9), (1e6, 9)])
def test_steps(t_s: float, rate: float) -> None:
    assert steps([5, 7, 9], step_s=10)(t_s) == rate


@pytest.mark.parametrize(
    ("rate", "each", "count"),
    [(0, 10, 0), (400, 10, 40), (401, 10, 41), (0.3, 0.1, 3), (1e-3, 10, 1)],
)
def test_streams_never_fall_short(rate: float, each: float, count: int) -> None:
    assert streams(rate, each) == count


def test_planned_requests_are_what_lies_under_the_curve() -> None:
    assert planned_requests(lambda t_s: 10 * t_s, 10) == pytest.approx(500)
    assert planned_requests(constant(7), 2.5) == pytest.approx(17.5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Peak(at_h=24, height=1), "hour"),
        (lambda: Peak(at_h=1, height=-1), "height"),
        (lambda: Peak(at_h=1, height=1, rise_h=0), "rise"),
        (lambda: Peak(at_h=1, height=1, days=frozenset({7})), "days"),
        (lambda: Peak(at_h=1, height=1, days=frozenset()), "days"),
        (lambda: DayCurve(base=0, peaks=()), "some use"),
        (lambda: Day({"a": (0.5, EVENING)}), "sum to 1"),
        (lambda: constant(-1), "rate_per_s"),
        (lambda: constant(float("nan")), "rate_per_s"),
        (lambda: steps([], step_s=1), "at least one"),
        (lambda: steps([1], step_s=0), "step_s"),
        (lambda: flash_crowd(10, 9, at_s=0, rise_s=1, hold_s=0, half_life_s=1), "peak"),
        (lambda: day_rate(DAY, 1, start_hour_of_week=0, speed=0), "speed"),
    ],
)
def test_impossible_curves_are_refused(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]
