"""A stage against a clock moved by hand: what leaves when, and what an update or a removal does to
what waits.
"""

import math

import pytest

from stormgate.toxiproxy.embedded.stage import Stage
from stormgate.toxiproxy.toxics import TOXICS
from stormgate.toxiproxy.toxics.base import Flow, Step


class Clock:
    """The two things a stage asks of an event loop."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def time(self):
        return self.now

    def call_at(self, at, callback):
        timer = Timer(at, callback)
        self.timers.append(timer)
        return timer

    def advance_to(self, now):
        while True:
            due = [timer for timer in self.timers if timer.live and timer.at <= now]
            if not due:
                break
            first = min(due, key=lambda timer: timer.at)
            first.live = False
            self.now = first.at
            first.callback()
        self.now = now


class Timer:
    def __init__(self, at, callback):
        self.at, self.callback, self.live = at, callback, True

    def cancel(self):
        self.live = False


class Out:
    """Where a stage's bytes end up, with the time of each."""

    def __init__(self, clock):
        self._clock = clock
        self.got = []

    def feed(self, data):
        self.got.append((round(self._clock.now - 100, 6), data))

    def finish(self):
        self.got.append((round(self._clock.now - 100, 6), "END"))


def stage_of(flow):
    clock = Clock()
    room = []
    stage = Stage(clock, flow, lambda: room.append(clock.now))
    stage.next = Out(clock)
    stage.start()
    return stage, clock, stage.next, room


def flow(type_, **attributes):
    import random

    return TOXICS[type_](**attributes).flow(random.Random(1))


def test_data_waits_for_its_time_and_the_end_for_the_data():
    stage, clock, out, room = stage_of(flow("latency", latency=500))
    stage.feed(b"a")
    clock.advance_to(100.2)
    stage.feed(b"b")
    stage.finish()
    assert (out.got, stage.pending_bytes) == ([], 2)
    clock.advance_to(101)
    assert out.got == [(0.5, b"a"), (0.7, b"b"), (0.7, "END")]
    assert (stage.pending_bytes, room) == (0, [100.5, 100.7])


def test_nothing_leaves_after_the_end():
    stage, _, out, _ = stage_of(flow("limit_data", bytes=1))
    stage.feed(b"abc")
    stage.feed(b"def")
    stage.finish()
    assert out.got == [(0.0, b"a"), (0.0, "END")]


def test_an_update_lets_the_head_go_and_judges_the_rest_by_when_it_came():
    stage, clock, out, _ = stage_of(flow("latency", latency=10_000))
    for index in range(3):
        clock.advance_to(100 + index)
        stage.feed(b"%d" % index)
    stage.finish()
    stage.replace(flow("latency", latency=1500))
    clock.advance_to(110)
    # 0 leaves now (2.0); 1 came at 1.0, so 2.5; 2 at 3.5, and with it the end.
    assert out.got == [(2.0, b"0"), (2.5, b"1"), (3.5, b"2"), (3.5, "END")]


def test_a_removal_lets_everything_go_in_order():
    stage, clock, out, _ = stage_of(flow("latency", latency=10_000))
    stage.feed(b"a")
    stage.feed(b"b")
    stage.remove(close=False)
    stage.feed(b"never")
    clock.advance_to(200)
    assert out.got == [(0.0, b"a"), (0.0, b"b")]


@pytest.mark.parametrize("ended", [True, False])
def test_a_removal_passes_on_an_end_that_was_held(ended):
    stage, _, out, _ = stage_of(flow("slow_close", delay=10_000))
    if ended:
        stage.finish()
    stage.remove(close=False)
    assert out.got == ([(0.0, "END")] if ended else [])


def test_a_stall_sets_no_timer():
    stage, clock, out, _ = stage_of(flow("bandwidth", rate=0))
    stage.feed(b"abc")
    assert (clock.timers, out.got, stage.pending_bytes) == ([], [], 3)
    stage.abandon()
    assert (stage.pending_bytes, stage.closed) == (0, True)


def test_a_torn_stream_is_closed_rather_than_resumed():
    stage, _, out, _ = stage_of(flow("timeout"))
    stage.feed(b"lost")
    stage.replace(Flow())
    assert out.got == [(0.0, "END")]


def test_a_timeout_that_data_puts_off():
    stage, clock, out, _ = stage_of(flow("timeout", timeout=1000))
    for at in (100.6, 101.2, 101.8):
        clock.advance_to(at)
        stage.feed(b"x")
    clock.advance_to(110)
    assert out.got == [(2.8, "END")]


def test_a_decision_to_end_earlier_is_kept():
    class Sooner(Flow):
        def start(self, now):
            return Step(close_at=now + 50)

        def data(self, now, data):
            return Step(close_at=now + 1)

    stage, clock, out, _ = stage_of(Sooner())
    stage.feed(b"x")
    clock.advance_to(200)
    assert out.got == [(1.0, "END")]


def test_a_stage_that_never_ends_keeps_the_end():
    class Never(Flow):
        def end(self, now):
            return Step(close_at=math.inf)

    stage, clock, out, _ = stage_of(Never())
    stage.finish()
    clock.advance_to(1e6)
    assert out.got == []
