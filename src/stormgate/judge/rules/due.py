"""How many requests a plan makes due at which time: its rate, or what its shape schedules."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.evidence.laws import number, time_of
from stormgate.model import Event, Plan

# Locust asks a shape once a second, and users take a moment to be made and to log in: a change may
# come this much later than scheduled, and never earlier.
LATE_S = 3.0
_STEP_S = 0.25

Points = Sequence[tuple[float, float]]


class Due:
    """`begin_ns`: when the load began; schedules count from there. Without a shape everything is
    due at the plan's rate.
    """

    def __init__(self, plan: Plan, timeline: Sequence[Mapping[str, Any]]) -> None:
        load = plan.load
        orders = _orders(timeline)
        self._rate_per_s = load.rate_per_s
        self._per_user_per_s = load.rate_per_s / load.users if load.users else 0.0
        self._begin_ns = orders[0][0] if orders else 0
        self._points: Points = ()
        if load.shape is not None:
            self._points = load.schedule or ramps(
                [((at - self._begin_ns) / 1e9, users, rate) for at, users, rate in orders]
            )
        self._unknown = load.shape is not None and not self._points

    @property
    def unknown(self) -> bool:
        """A shape decides, and nobody knows what it planned."""
        return self._unknown

    @property
    def known(self) -> bool:
        """Whether the load has begun by what its shape planned, if it has one."""
        return bool(self._points and self._begin_ns)

    def between(self, begin_ns: int, end_ns: int) -> float:
        """Requests due in this time; with a schedule, at least so many however late a change came
        within `LATE_S`.
        """
        if not self._points:
            return self._rate_per_s * (end_ns - begin_ns) / 1e9
        low, high = ((at - self._begin_ns) / 1e9 for at in (begin_ns, end_ns))
        lates = (step * _STEP_S for step in range(int(LATE_S / _STEP_S) + 1))
        least = min(area(self._points, low - late, high - late) for late in lates)
        return least * self._per_user_per_s

    def lowest_per_s(self, begin_ns: int, end_ns: int) -> float:
        """The lowest rate in this time."""
        if not self._points:
            return self._rate_per_s
        low, high = ((at - self._begin_ns) / 1e9 for at in (begin_ns, end_ns))
        at = [t for t, _ in self._points if low - LATE_S <= t <= high]
        users = [users_at(self._points, t) for t in (max(0.0, low - LATE_S), high, *at)]
        return min(users) * self._per_user_per_s


def users_at(points: Points, at_s: float) -> float:
    """Users at a time: straight between the points, none before the first, then as at the last."""
    if at_s < points[0][0]:
        return 0.0
    for (t0, u0), (t1, u1) in itertools.pairwise(points):
        if t0 <= at_s < t1:
            return u0 + (u1 - u0) * (at_s - t0) / (t1 - t0)
    return points[-1][1]


def area(points: Points, begin_s: float, end_s: float) -> float:
    """The integral of users over a time, user-seconds."""
    if end_s <= begin_s:
        return 0.0
    cuts = sorted({begin_s, end_s, *(t for t, _ in points if begin_s < t < end_s)})
    total = 0.0
    for low, high in itertools.pairwise(cuts):
        # Points may share a time (a step), so both ends are taken from within.
        a, b = low + (high - low) * 1e-9, high - (high - low) * 1e-9
        total += (users_at(points, a) + users_at(points, b)) / 2 * (high - low)
    return total


def ramps(orders: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Points of a schedule from (seconds, users, users per second) ordered one after the other."""
    points: list[tuple[float, float]] = []
    for at_s, users, rate in orders:
        now = users_at(points, at_s) if points else 0.0
        points = [p for p in points if p[0] <= at_s]
        points += [(at_s, now), (at_s + abs(users - now) / max(rate, 1e-9), users)]
    return points


def _orders(timeline: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """(time, users, users per second) of each order that the load was given."""
    found = []
    for row in timeline:
        if row.get("event") != Event.LOAD_STEP or "users" not in row:
            continue
        try:
            users = number(row, "users")
            rate = number(row, "spawn_rate") if "spawn_rate" in row else max(users, 1.0)
        except ValueError:
            continue
        at = time_of(row)
        if at is not None:
            found.append((at, users, rate))
    return found
