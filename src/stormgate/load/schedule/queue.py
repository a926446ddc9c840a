"""The arrivals of the current window, kept as arrays and taken out a handful at a time, so that
dropping many costs little.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stormgate.load.schedule.arrivals import Arrivals

NEVER = (1 << 63) - 1
WINDOW_NS = 100_000_000
AHEAD_NS = 5_000_000  # a window is planned so long before it begins: planning takes time of its own
_CHUNK = 256


class Arriving(Protocol):
    """What is known of a stream here."""

    alive: bool


S = TypeVar("S", bound=Arriving)


def _objects(items: list[S]) -> NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


class Agenda(Generic[S]):
    """Arrivals in order. `times[next]` and `due[next]` are the next one; its time is NEVER when the
    window is used up.

    `horizon_ns` is where the window ends: NEVER while there are no streams. A window is planned
    when the one before is used up, so an engine that lags never holds more than one.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self.times: list[int] = [NEVER]
        self.due: list[S] = []
        self.next = 0
        self.horizon_ns = NEVER
        self._later_times = np.empty(0, np.int64)
        self._later_due = np.empty(0, object)

    @property
    def next_ns(self) -> int:
        """When there is something to do: the next arrival, or a window to plan."""
        return min(self.times[self.next], self.horizon_ns - AHEAD_NS)

    def begin(self, now_ns: int) -> None:
        """Windows start now, if none has."""
        if self.horizon_ns == NEVER:
            self.horizon_ns = now_ns

    def clear(self) -> None:
        """Nothing is planned any more."""
        self.times, self.due, self.next, self.horizon_ns = [NEVER], [], 0, NEVER
        self._later_times, self._later_due = self._later_times[:0], self._later_due[:0]

    def more(self, now_ns: int) -> bool:
        """Have the next arrivals at hand when those at hand are used up; whether there are any."""
        return self._refill() or (now_ns >= self.horizon_ns - AHEAD_NS and self._plan())

    def is_due(self, at_ns: int) -> bool:
        """Whether an arrival is due by `at_ns`; as many windows are planned as that takes."""
        while self.times[self.next] == NEVER and not self._refill() and self.horizon_ns <= at_ns:
            self._plan()
        return self.times[self.next] <= at_ns

    def _plan(self) -> bool:
        """Plan the next window after one that is used up."""
        if not self._arrivals.streams:
            self.clear()
            return False
        self.horizon_ns += WINDOW_NS
        times, owners = self._arrivals.until(self.horizon_ns)
        self._later_times, self._later_due = times, _objects(self._arrivals.streams)[owners]
        return self._refill()

    def _refill(self) -> bool:
        """Take the next handful out of the window; whether there was any."""
        times, due = self._later_times, self._later_due
        self.times, self.due, self.next = (
            [*times[:_CHUNK].tolist(), NEVER],
            due[:_CHUNK].tolist(),
            0,
        )
        self._later_times, self._later_due = times[_CHUNK:], due[_CHUNK:]
        return len(self.due) > 0

    def join(self, stream: S) -> None:
        """Merge in the arrivals of a stream that began inside the window."""
        if self.horizon_ns == NEVER:
            return
        for at_ns in self._arrivals.until(self.horizon_ns, only=stream)[0].tolist():
            if len(self._later_times) and at_ns >= self._later_times[0]:
                index = int(np.searchsorted(self._later_times, at_ns, side="right"))
                self._later_times = np.insert(self._later_times, index, at_ns)
                before, after = self._later_due[:index].tolist(), self._later_due[index:].tolist()
                self._later_due = _objects([*before, stream, *after])
            else:
                index = bisect_right(self.times, at_ns, lo=self.next)
                self.times.insert(index, at_ns)
                self.due.insert(index, stream)

    def drop(
        self, before_ns: int, code_of: Callable[[S], int]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Take out what was due up to `before_ns`: times and codes of those whose stream still
        lives.
        """
        end = bisect_right(self.times, before_ns, lo=self.next)
        far = (
            int(np.searchsorted(self._later_times, before_ns, side="right"))
            if end == len(self.due)
            else 0
        )
        times = np.concatenate(
            [np.array(self.times[self.next : end], np.int64), self._later_times[:far]]
        )
        due = [*self.due[self.next : end], *self._later_due[:far].tolist()]
        self.next = end
        self._later_times, self._later_due = self._later_times[far:], self._later_due[far:]
        if self.next == len(self.due):
            self._refill()
        codes = {stream: code_of(stream) if stream.alive else -1 for stream in set(due)}
        found = np.fromiter(map(codes.__getitem__, due), np.int64, len(due))
        return times[found >= 0], found[found >= 0]
