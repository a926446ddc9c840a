"""The warmer sleeps late: at nine everybody is the first to ask."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running

SUMMARY = "edges warm nothing: what the morning needs is fetched when it is asked for"
FOUND_BY = ("hitRatio",)


class ColdEdge(edge.Edge):
    """Fetches nothing before it is asked."""

    async def warm(self) -> None:
        """Not today."""


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(ColdEdge(config))


PROGRAMS = {"edge": start}
