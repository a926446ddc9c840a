"""Everybody who misses goes to the origin."""

from __future__ import annotations

import asyncio
from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running
from stormgate.lab.services.shared_cache import Kept, SharedCache

SUMMARY = "while a shared answer is being fetched, everybody else who wants it fetches it, too"
FOUND_BY = ("stampede",)


class RushingCache(SharedCache):
    """Nobody waits for somebody else."""

    def joined(self, key: tuple[str, ...]) -> asyncio.Future[Kept] | None:
        return None


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    keeping = edge.Edge(config)
    keeping.shared = RushingCache()
    return edge.run(keeping)


PROGRAMS = {"edge": start}
