"""A shard may be as busy as it likes: it never splits."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services.ring import server
from stormgate.lab.services.serving import Running

SUMMARY = "the ring never splits, however busy its shards are"
FOUND_BY = ("keysMoved",)


class CalmServer(server.RingServer):
    """Finds nothing too much."""

    def is_hot(self) -> bool:
        return False


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a ring."""
    return server.run(CalmServer(config))


PROGRAMS = {"ring": start}
