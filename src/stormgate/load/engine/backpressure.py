"""Telling a generator that cannot keep up from a target that does not answer, and what to do about
the first.

A late arrival that opens a new connection makes the next one later: past its capacity a careless
engine collapses. When the engine is late *and* was busy all along, it starts only what fits and
opens few connections; a target that stalls leaves the engine idle, so it is never mistaken for
overload.
"""

from __future__ import annotations

LATE_NS = 20_000_000
CALM_NS = 5_000_000
BUSY_SHARE = 0.85
IDLE_SHARE = 0.7
WINDOW_NS = 50_000_000
OPEN_PER_S = 100
STARTS_PER_TICK = 64


class Backpressure:
    """Whether the engine is saturated, from its own lateness and how much of the time it worked."""

    def __init__(self) -> None:
        self.saturated = False
        self.share = 0.0
        self._since_ns = 0
        self._worked_ns = 0
        self._opened_at_ns = 0

    def worked(self, begin_ns: int, end_ns: int) -> None:
        """The engine worked from `begin_ns` to `end_ns` without a pause."""
        self._worked_ns += end_ns - begin_ns
        elapsed = end_ns - self._since_ns
        if elapsed >= WINDOW_NS:
            self.share = self._worked_ns / elapsed
            self._since_ns = end_ns
            self._worked_ns = 0

    def judge(self, late_ns: int) -> bool:
        """Update and return `saturated`, given how late the arrival to be started next is."""
        if self.saturated:
            # Late, but not working: then it is this very restraint that keeps it late.
            self.saturated = late_ns > CALM_NS and self.share > IDLE_SHARE
        else:
            self.saturated = late_ns > LATE_NS and self.share > BUSY_SHARE
        return self.saturated

    def may_open(self, now_ns: int) -> int:
        """How many connections may be opened now while saturated: `OPEN_PER_S`, so that a stalled
        part never stops the rest.
        """
        due = (now_ns - self._opened_at_ns) * OPEN_PER_S // 1_000_000_000
        if due <= 0:
            return 0
        self._opened_at_ns = now_ns
        return min(due, STARTS_PER_TICK)
