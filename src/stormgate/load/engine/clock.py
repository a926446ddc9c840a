"""The time of a turn of the loop, and the kernel's stamps of what it received in that time."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence

_NS = 1_000_000_000
IDLE_CHECK_NS = 1_000_000_000
_BRACKET_NS = 5_000  # two clocks read further apart than this were read with a pause in between
# a stamp may be younger than the turn of the loop that reads it, by as much as a turn takes
_AHEAD_NS = 20_000_000
_timespec = struct.Struct("qq").unpack
clock = time.monotonic_ns
MonotonicNs = Callable[[], int]


class TurnClock:
    """Taken once a turn. Times are CLOCK_MONOTONIC ns, read from the clock that is given.

    `now_ns`: of this turn. `fresh_ns`: a connection used since needs no second look. `read`: the
    time this moment.
    """

    __slots__ = ("_latest_ns", "epoch_ns", "epoch_s", "fresh_ns", "now_ns", "read")

    def __init__(self, read: MonotonicNs = clock) -> None:
        self.read = read
        self.now_ns = self.fresh_ns = self._latest_ns = self.epoch_ns = 0
        self.epoch_s = int(time.time())
        self.set()

    def set(self) -> int:
        """Take the time, and what turns the kernel's stamps, which are in time of day, into
        monotonic time.
        """
        before, realtime, now = self.read(), time.time_ns(), self.read()
        if now - before < _BRACKET_NS or not self.epoch_ns:
            self.epoch_ns = before - (realtime - self.epoch_s * _NS)
        self._latest_ns = now + _AHEAD_NS
        self.now_ns = now
        self.fresh_ns = now - IDLE_CHECK_NS
        return now

    def done(self, stamp: Sequence[tuple[int, int, bytes]], sent_ns: int) -> int:
        """When the last byte came that `stamp` speaks of; now, where that is none or cannot be
        true.
        """
        if stamp:
            seconds, nanoseconds = _timespec(stamp[0][2])
            done: int = (seconds - self.epoch_s) * _NS + nanoseconds + self.epoch_ns
            if sent_ns <= done <= self._latest_ns:  # else the time of day was set just now
                return done
        return self.read()
