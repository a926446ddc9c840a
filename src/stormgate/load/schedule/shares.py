"""Which population each stream belongs to: shares are met as closely as whole streams allow, at
every moment of a ramp.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping


class Dealer:
    """Deals populations to the streams of one user class on one worker.

    Position p of the endless sequence goes to the population whose count lags its share most (the
    quota method with the largest
    remainder), so every prefix is within one stream of its share. Worker `index` of `count` takes
    positions index, index + count,
    ..., as Locust's dispatcher spreads users over workers. Positions given back are dealt again,
    lowest first.
    Raises ValueError when no population has a share above zero.
    """

    def __init__(self, shares: Mapping[str, float], *, index: int = 0, count: int = 1) -> None:
        total = sum(share for share in shares.values() if share > 0)
        if total <= 0:
            raise ValueError("no population has a share above zero")
        self._shares = {name: share / total for name, share in shares.items() if share > 0}
        self._dealt = dict.fromkeys(self._shares, 0)
        self._sequence: list[str] = []
        self._index = index
        self._count = max(1, count)
        self._given = 0
        self._free: list[int] = []

    def take(self) -> tuple[int, str]:
        """The next free position and its population."""
        if self._free:
            position = heapq.heappop(self._free)
        else:
            position = self._index + self._given * self._count
            self._given += 1
        return position, self.population(position)

    def population(self, position: int) -> str:
        """Whose a position is, whoever deals it."""
        while len(self._sequence) <= position:
            self._extend()
        return self._sequence[position]

    def give_back(self, position: int) -> None:
        heapq.heappush(self._free, position)

    def _extend(self) -> None:
        length = len(self._sequence) + 1
        name = max(self._shares, key=lambda n: self._shares[n] * length - self._dealt[n])
        self._dealt[name] += 1
        self._sequence.append(name)


def stream_key(seed: int, user_class: str, position: int) -> int:
    """The 64-bit number a stream's arrivals and data pickers are seeded with."""
    digest = hashlib.blake2b(f"{seed}/{user_class}/{position}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
