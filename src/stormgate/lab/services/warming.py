"""An edge's warmer: what is known to be wanted from a time of the day on is fetched before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Fetch = Callable[[str, str], Awaitable[object]]


class Warmer:
    """`fetch(path, shard)` brings an answer into the cache. The day begins with the first request
    that somebody makes of this edge.
    """

    def __init__(self, config: dict[str, Any], shards: Sequence[str], fetch: Fetch) -> None:
        self.at_s: float = config["at_s"]
        self.ahead_s: float = config["ahead_s"]
        self._wanted = [(path, shard) for path in config["paths"] for shard in shards]
        self._fetch = fetch
        self._begun_s: float | None = None

    def asked(self, now_s: float) -> None:
        """Somebody has asked for something."""
        if self._begun_s is None:
            self._begun_s = now_s

    def due(self, now_s: float) -> bool:
        """Whether it is time, and there is something left to do."""
        begun_s = self._begun_s
        return (
            begun_s is not None
            and bool(self._wanted)
            and now_s - begun_s >= self.at_s - self.ahead_s
        )

    async def step(self, now_s: float) -> None:
        """Fetch all of it once it is time, one after the other: nobody waits for it."""
        while self.due(now_s):
            path, shard = self._wanted.pop(0)
            await self._fetch(path, shard)
