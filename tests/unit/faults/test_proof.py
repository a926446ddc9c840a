"""When a look counts as proof of a fault, and how long one is waited for."""

import threading

import pytest

from stormgate.faults.backends import Observation
from stormgate.faults.proof import added_latency_ms, shows, silence_s, wait_for
from stormgate.net.look import Sight, State

SLOW = {"latency_ms": 100}
NARROW = {"padding_bytes": 8000, "rate_kb_per_s": 40}


@pytest.mark.parametrize(
    ("mode", "params", "state", "latency_ms", "seen"),
    [
        ("crash", {}, State.REFUSED, 1, True),
        ("crash", {}, State.SILENT, 500, False),
        (
            "crash",
            {},
            State.RESET,
            1,
            False,
        ),  # a proxy without anything behind it resets: nobody listens there is something else
        ("crash", {}, State.ANSWERS, 1, False),
        ("stop", {}, State.REFUSED, 1, True),
        ("refuse", {}, State.REFUSED, 1, True),
        ("refuse", {}, State.RESET, 1, False),
        ("freeze", {}, State.SILENT, 430, True),
        ("freeze", {}, State.REFUSED, 1, False),
        ("blackhole", {}, State.SILENT, 430, True),
        ("blackhole", {}, State.ANSWERS, 3000, False),
        ("slow", SLOW, State.ANSWERS, 110, True),
        ("slow", SLOW, State.ANSWERS, 89, False),
        ("slow", SLOW, State.SILENT, 900, True),
        ("slow", SLOW, State.REFUSED, 900, False),
        ("slow", {"latency_ms": 100, "jitter_ms": 60}, State.ANSWERS, 45, True),
        ("bandwidth", NARROW, State.ANSWERS, 131, True),
        ("bandwidth", NARROW, State.ANSWERS, 120, False),
        ("lossy", {}, State.RESET, 2, True),
        ("lossy", {}, State.ANSWERS, 2, False),
        ("freeze", {}, State.UNREACHABLE, 2, False),
    ],
)
def test_what_counts_as_proof(mode, params, state, latency_ms, seen):
    assert shows(mode, params, before_latency_ms=10, now=Sight(state, latency_ms, 0)).seen is seen


def test_a_mode_nobody_knows_is_never_proven():
    with pytest.raises(ValueError, match="melt"):
        shows("melt", {}, 1, Sight(State.REFUSED, 1, 0))


def test_added_latency():
    assert added_latency_ms("slow", SLOW) == 80
    assert added_latency_ms("slow", {"latency_ms": 5, "jitter_ms": 9}) == 0
    assert added_latency_ms("bandwidth", NARROW) == 120


def test_silence_is_longer_than_a_far_answer():
    assert silence_s(150) > 0.15 * 2
    assert silence_s(0) >= 0.3


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_waiting_looks_at_least_once_and_ends_at_the_deadline():
    looks = []

    def look():
        looks.append(1)
        return Observation(False, "no")

    last, _ = wait_for(look, 0, pause_s=0)
    assert (last.saw, len(looks)) == ("no", 1)
    looks.clear()
    wait_for(look, 5, pause_s=0, clock=Clock())
    assert len(looks) == 5


def test_waiting_ends_when_seen_or_stopped():
    answers = iter([False, False, True, True])
    last, at_ns = wait_for(lambda: Observation(next(answers), "x"), 60, pause_s=0)
    assert last.seen
    assert at_ns > 0
    assert list(answers) == [True]
    stop = threading.Event()
    stop.set()
    assert not wait_for(lambda: Observation(False, "no"), 60, stop=stop)[0].seen
