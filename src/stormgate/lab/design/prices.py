"""What a request costs, by CHE·NU's own monthly table for a billion requests a day. Pure.

Some of it is paid by the request, the rest for capacity, used or not. At half use, where the fleet
is meant to be, both together are the claimed $0.0000023 a request.
"""

from __future__ import annotations

# USD a month.
BY_REQUEST = {"bandwidth": 10_000, "inference": 10_000, "observability": 5_000}
BY_CAPACITY = {"edge": 15_000, "database": 20_000, "cache": 5_000, "rest": 5_000}
REQUESTS_A_MONTH = 30e9
# What share of the capacity that is paid for the table takes to be used.
USED = 0.5

REQUEST_USD = sum(BY_REQUEST.values()) / REQUESTS_A_MONTH
# For being able to serve one request a second, a second long.
CAPACITY_USD = sum(BY_CAPACITY.values()) / REQUESTS_A_MONTH * USED


class Bill:
    """What a region's instances cost, dealt to the answers: each says what has come due since the
    one before it, so that together they say all of it.
    """

    def __init__(self, now_s: float) -> None:
        self._due_usd = 0.0
        self._since_s = now_s

    def stands(self, now_s: float, capacity_per_s: float) -> None:
        """So much capacity has been paid for since the last time."""
        self._due_usd += max(0.0, now_s - self._since_s) * capacity_per_s * CAPACITY_USD
        self._since_s = now_s

    def answered(self, now_s: float, capacity_per_s: float) -> float:
        """What this answer says it cost, USD."""
        self.stands(now_s, capacity_per_s)
        due_usd, self._due_usd = self._due_usd, 0.0
        return REQUEST_USD + due_usd
