"""The schedule: what is refused with its reason, there and back as JSON, and that compressing
touches nothing but quiet.
"""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.reproduce.schedule import (
    REST_S,
    FidelityGap,
    Schedule,
    ScheduleError,
    Segment,
    from_json,
    schedule_of,
)

LINK = "link:eu/web->eu/cache"


def seg(start_s: float, length_s: float, where: str = LINK, mode: str = "slow", **more) -> Segment:
    return Segment(start_s=start_s, length_s=length_s, where=where, mode=mode, **more)


@st.composite
def schedules(draw) -> Schedule:
    """Any number of faults of up to three places, none overlapping in its own place."""
    found = []
    for place in ("a", "b", "c"):
        now = 0.0
        for number in range(draw(st.integers(0, 4))):
            now += draw(st.integers(0, 60_000)) / 1000
            length_s = draw(st.integers(1, 30_000)) / 1000
            fault = draw(st.sampled_from(["", f"{place}-one", f"{place}-two"]))
            found.append(seg(now, length_s, place, fault=fault, params={"latency_ms": number + 1}))
            now = round(now + length_s, 6)
    end_s = max((one.end_s for one in found), default=0.0)
    return schedule_of(found, length_s=end_s + draw(st.integers(0, 600)))


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([seg(0, 5), seg(4, 5)], "from 4 to 9 s overlaps the one from 0 to 5 s"),
        ([seg(0, 20), seg(1, 2), seg(10, 2)], "from 10 to 12 s overlaps the one from 0 to 20 s"),
        ([seg(3, -2)], "ends 2 s before it begins"),
        ([seg(3, 0)], "lasts no time at all"),
        ([seg(-1, 2)], "begins 1 s before the beginning"),
        ([seg(0, 1, mode="slwo")], "unknown mode 'slwo'"),
        ([seg(0, 1, where="")], "slow on nothing"),
        ([seg(math.nan, 1)], "has a time that is none"),
        ([seg(0, math.inf)], "has a time that is none"),
        ([seg(0, 61)], "ends at 61 s, and all is over at 60 s"),
    ],
)
def test_what_makes_no_schedule_is_refused(segments, said):
    with pytest.raises(ScheduleError) as caught:
        schedule_of(segments, length_s=60)
    assert said in caught.value.problems[-1][1]
    assert all(fix for *_, fix in caught.value.problems)


def test_every_mistake_is_told_at_once_and_where():
    with pytest.raises(ScheduleError) as caught:
        schedule_of([seg(0, 1, mode="x"), seg(5, -1), seg(9, 1), seg(9.5, 1)])
    assert [at for at, *_ in caught.value.problems] == [0, 1, 3]


def test_other_places_and_other_modes_may_overlap_and_ends_may_touch():
    found = schedule_of([seg(0.1, 0.2), seg(0.3, 1), seg(0, 9, mode="lossy"), seg(0, 9, "eu/web")])
    assert found.length_s == 9
    assert [one.where for one in found.at(0.3)] == ["eu/web", LINK, LINK]
    assert len(found.faults) == 4


@given(schedules())
def test_json_goes_there_and_back(schedule):
    gaps = (FidelityGap(what="packet loss", why="bytes only", source="i.yaml:3"),)
    whole = schedule_of(schedule.segments, length_s=schedule.length_s, name="x", gaps=gaps)
    assert from_json(json.loads(json.dumps(whole.to_json()))) == whole


@pytest.mark.parametrize("change", [{"schema": "other"}, {"segments": 3}, {"length_s": "1"}])
def test_other_json_is_no_schedule(change):
    with pytest.raises(ScheduleError):
        from_json({**schedule_of([seg(0, 1)]).to_json(), **change})


@given(schedules(), st.floats(1, 100))
def test_compressing_touches_nothing_but_quiet(schedule, speed):
    short, times = schedule.compressed(speed)
    assert len(short.segments) == len(schedule.segments)
    before = {(s.where, s.params.get("latency_ms")): s for s in schedule.segments}
    busy_s = schedule.length_s - sum(end - start for start, end in schedule.quiet())
    for one in short.segments:
        old = before[one.where, one.params["latency_ms"]]
        assert one.length_s == old.length_s
        assert one.start_s == pytest.approx(times.at(old.start_s), abs=1e-5)
    quiet_s = sum(
        max((end - start) / speed, min(end - start, REST_S)) for start, end in schedule.quiet()
    )
    assert short.length_s == pytest.approx(busy_s + quiet_s, abs=1e-3)


@given(schedules(), st.floats(1, 100), st.floats(0, 300), st.floats(0, 300))
def test_compressed_time_never_goes_backward(schedule, speed, one, other):
    _, times = schedule.compressed(speed)
    first, second = sorted((one, other))
    assert times.at(first) <= times.at(second) + 1e-6
    assert times.at(second) - times.at(first) <= second - first + 1e-5


def test_the_pause_of_something_that_flaps_is_no_quiet():
    flaps = [seg(60 + 10 * n, 2, mode="refuse", fault="flap") for n in range(3)]
    short, _ = schedule_of(flaps, length_s=200).compressed(10)
    assert [one.start_s for one in short.segments] == [6, 16, 26]
    assert short.length_s == pytest.approx(28 + 118 / 10)


@pytest.mark.parametrize("speed", [0, 0.5, -1, math.nan, math.inf])
def test_a_speed_that_stretches_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        schedule_of([seg(0, 1)]).compressed(speed)


def test_only_keeps_the_named_faults_and_the_length():
    whole = schedule_of([seg(0, 5, fault="a"), seg(9, 1, "b", fault="b")])
    assert (whole.only({"a"}).faults, whole.only({"a"}).length_s) == (("a",), 10)
