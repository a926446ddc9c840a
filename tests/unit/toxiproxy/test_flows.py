"""Each toxic's decisions as a table: time and bytes in, times and pieces out. No clock, no
socket.
"""

import math
import random

import pytest

from stormgate.toxiproxy.toxics import TOXICS
from stormgate.toxiproxy.toxics.base import NOTHING, Step
from stormgate.toxiproxy.toxics.slicer import sizes

RNG = random.Random(7)


def flow(type_, previous=None, **attributes):
    return TOXICS[type_](**attributes).flow(random.Random(7), previous)


def test_the_folder_is_the_list():
    names = {
        "bandwidth",
        "latency",
        "limit_data",
        "noop",
        "reset_peer",
        "slicer",
        "slow_close",
        "timeout",
    }
    assert set(TOXICS) == names
    assert all(kind.type == name for name, kind in TOXICS.items())


@pytest.mark.parametrize(
    ("type_", "attributes", "data", "pieces"),
    [
        ("noop", {}, b"abc", [(10.0, b"abc")]),
        ("latency", {"latency": 250}, b"abc", [(10.25, b"abc")]),
        ("latency", {"latency": -5}, b"abc", [(9.995, b"abc")]),
        (
            "bandwidth",
            {"rate": 1},
            b"x" * 250,
            [(10.1, b"x" * 100), (10.2, b"x" * 100), (10.25, b"x" * 50)],
        ),
        ("bandwidth", {"rate": 0}, b"abc", [(math.inf, b"abc")]),
        ("bandwidth", {"rate": -1}, b"abc", [(math.inf, b"abc")]),
        ("slow_close", {"delay": 9}, b"abc", [(10.0, b"abc")]),
        ("timeout", {"timeout": 9}, b"abc", []),
        ("reset_peer", {"timeout": 9}, b"abc", []),
        ("slicer", {"average_size": 2, "delay": 500}, b"abcd", [(10.0, b"ab"), (10.0005, b"cd")]),
        ("limit_data", {"bytes": 2}, b"abc", [(10.0, b"ab")]),
        ("limit_data", {"bytes": 0}, b"abc", []),
        ("limit_data", {"bytes": 3}, b"abc", [(10.0, b"abc")]),
    ],
)
def test_data(type_, attributes, data, pieces):
    out = flow(type_, **attributes).data(10.0, data).pieces
    assert [piece for _, piece in out] == [piece for _, piece in pieces]
    assert [at for at, _ in out] == pytest.approx([at for at, _ in pieces])


@pytest.mark.parametrize(
    ("type_", "attributes", "start", "after_data", "end"),
    [
        ("noop", {}, None, None, 10.0),
        ("latency", {"latency": 500}, None, None, 10.0),
        ("bandwidth", {"rate": 1}, None, None, 10.0),
        ("slow_close", {"delay": 500}, None, None, 10.5),
        ("timeout", {"timeout": 500}, 10.5, 10.5, 10.0),
        ("timeout", {"timeout": 0}, None, None, 10.0),
        ("reset_peer", {"timeout": 500}, None, 10.5, 10.5),
        ("limit_data", {"bytes": 3}, None, 10.0, 10.0),
        ("limit_data", {"bytes": 4}, None, None, 10.0),
    ],
)
def test_when_it_closes(type_, attributes, start, after_data, end):
    assert flow(type_, **attributes).start(10.0).close_at == start
    assert flow(type_, **attributes).data(10.0, b"abc").close_at == after_data
    assert flow(type_, **attributes).end(10.0).close_at == end


def test_latency_counts_from_arrival_and_never_reorders():
    late = flow("latency", latency=100, jitter=90)
    times = [late.data(index / 1000, b"x").pieces[0][0] for index in range(200)]
    assert times == sorted(times)
    alone = [flow("latency", latency=100, jitter=90).data(0.0, b"x").pieces[0][0]]
    rng = random.Random(3)
    alone = [
        TOXICS["latency"](latency=100, jitter=90).flow(rng).data(0.0, b"x").pieces[0][0]
        for _ in range(4000)
    ]
    # Uniform over [latency - jitter, latency + jitter), as rand.Int63n(2 * jitter) - jitter.
    assert (min(alone), max(alone)) == (pytest.approx(0.010), pytest.approx(0.189))
    assert sum(alone) / len(alone) == pytest.approx(0.0995, abs=0.003)


def test_bandwidth_goes_on_where_the_last_data_ended_but_saves_nothing_up():
    slow = flow("bandwidth", rate=1)
    assert slow.data(10.0, b"x" * 100).pieces[-1][0] == pytest.approx(10.1)
    assert slow.data(10.0, b"x" * 100).pieces[-1][0] == pytest.approx(10.2)
    assert slow.data(20.0, b"x" * 100).pieces[-1][0] == pytest.approx(20.1)


def test_slicer_spaces_data_that_follows_too():
    cut = flow("slicer", average_size=1, delay=1_000_000)
    assert [at for at, _ in cut.data(0.0, b"ab").pieces] == [0.0, 1.0]
    assert [at for at, _ in cut.data(0.5, b"cd").pieces] == [2.0, 3.0]


@pytest.mark.parametrize(
    ("total", "average", "variation"), [(1, 1, 0), (1000, 1, 0), (1000, 100, 99), (65536, 7, 3)]
)
def test_slices_sum_up_and_stay_in_range(total, average, variation):
    out = list(sizes(total, average, variation, random.Random(total)))
    assert sum(out) == total
    assert min(out) >= 1
    assert max(out) <= average + variation


@pytest.mark.parametrize(("average", "variation"), [(0, 0), (-3, 0), (5, 900), (0, 10)])
def test_slices_end_whatever_the_numbers(average, variation):
    assert sum(sizes(500, average, variation, random.Random(1))) == 500


def test_limit_counts_over_updates():
    first = flow("limit_data", bytes=10)
    first.data(0.0, b"x" * 6)
    second = flow("limit_data", first, bytes=8)
    assert second.data(0.0, b"abcdef") == Step(((0.0, b"ab"),), 0.0)


def test_a_reset_under_way_is_not_called_back_by_an_update():
    first = flow("reset_peer", timeout=500)
    first.data(10.0, b"x")
    assert first.data(10.2, b"y").close_at == 10.5
    second = flow("reset_peer", first, timeout=9000)
    assert second.start(10.3).close_at == 10.5
    assert second.torn


@pytest.mark.parametrize(
    ("type_", "torn"),
    [("timeout", True), ("reset_peer", True), ("latency", False), ("bandwidth", False)],
)
def test_a_flow_says_when_it_has_dropped_bytes(type_, torn):
    one = flow(type_)
    assert not one.torn
    one.data(0.0, b"x")
    assert one.torn is torn


def test_timeout_remembers_over_updates_that_it_has_dropped_bytes():
    first = flow("timeout")
    first.data(0.0, b"x")
    assert flow("timeout", first, timeout=5).torn
    assert flow("timeout").start(1.0) is NOTHING
