"""A cache that never lets go."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running
from stormgate.lab.services.shared_cache import Kept, SharedCache

SUMMARY = "edges keep shared answers for as long as they run, whatever max-age says"
FOUND_BY = ("deployLoss",)


class EternalCache(SharedCache):
    """Answers everything it ever had."""

    def holds(self, kept: Kept) -> bool:
        return True


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    keeping = edge.Edge(config)
    keeping.shared = EternalCache()
    return edge.run(keeping)


PROGRAMS = {"edge": start}
