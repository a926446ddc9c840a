"""Consistent hashing: which shard a key is on, and which keys move when there is one shard more.
Pure.

Each shard stands at many points of a circle of 2^64; a key belongs to the first point after its
own (Karger et al. 1997, with the virtual nodes of DeCandia et al. 2007). A new shard takes its keys
from all others, and no other key moves.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

VIRTUAL_NODES = 128


def point(text: str) -> int:
    """Where something stands on the circle: the same in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


@dataclass(frozen=True)
class Ring:
    """Shards by name, each with so many points."""

    shards: tuple[str, ...]
    virtual_nodes: int = VIRTUAL_NODES

    @cached_property
    def _points(self) -> tuple[list[int], list[str]]:
        placed = sorted(
            (point(f"{shard}#{number}"), shard)
            for shard in self.shards
            for number in range(self.virtual_nodes)
        )
        return [at for at, _ in placed], [shard for _, shard in placed]

    def owner(self, key: str) -> str:
        """The shard a key belongs on."""
        points, owners = self._points
        return owners[bisect_right(points, point(key)) % len(owners)]

    def grown(self, shard: str) -> Ring:
        """With one shard more."""
        return type(self)((*self.shards, shard), self.virtual_nodes)

    def moving(self, keys: Iterable[str], after: Ring) -> list[str]:
        """Those of the keys that are elsewhere after a change."""
        return [key for key in keys if self.owner(key) != after.owner(key)]

    def shares(self, keys: Iterable[str]) -> dict[str, float]:
        """What part of the keys each shard has."""
        counts = dict.fromkeys(self.shards, 0)
        for key in keys:
            counts[self.owner(key)] += 1
        total = sum(counts.values()) or 1
        return {shard: count / total for shard, count in counts.items()}
