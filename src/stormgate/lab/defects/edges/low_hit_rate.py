"""A cache that keeps everything once for everybody."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running
from stormgate.lab.services.shared_cache import SharedCache

SUMMARY = "edges keep shared answers per user, so that hardly any is found again"
FOUND_BY = (
    "hitRatio",
    "originLoad",
)


class PersonalCache(SharedCache):
    """Takes what is shared for personal."""

    def key(self, target: str, user: str, shard: str) -> tuple[str, ...]:
        return (*super().key(target, user, shard), user)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    keeping = edge.Edge(config)
    keeping.shared = PersonalCache()
    return edge.run(keeping)


PROGRAMS = {"edge": start}
