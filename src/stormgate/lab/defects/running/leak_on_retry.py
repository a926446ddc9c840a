"""Edges whose second try takes a connection of its own and never gives it back: some failures
later they have none left.
"""

from __future__ import annotations

import asyncio
from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running, problem
from stormgate.net.httpserver import HttpRequest, HttpResponse

SUMMARY = "each second try of an edge leaks a connection, of which it has six"
FOUND_BY = ("availability",)
_CONNECTIONS = 6
# What is late is not tried again, only what was refused.
_REFUSED = (502, 503)


class LeakyEdge(edge.Edge):
    """Tries again, and forgets to tidy up."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._leaked: list[asyncio.StreamWriter | None] = []

    async def forward(self, request: HttpRequest, user: str, shard: str) -> HttpResponse:
        if len(self._leaked) >= _CONNECTIONS:
            return problem(503, "no connection is left")
        answer = await super().forward(request, user, shard)
        if answer.status not in _REFUSED:
            return answer
        await self._leak()
        return await super().forward(request, user, shard)

    async def _leak(self) -> None:
        peer = self.routes[0].peer
        try:
            _, writer = await asyncio.open_connection(peer.host, peer.port)
        except OSError:
            self._leaked.append(None)
        else:
            self._leaked.append(writer)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(LeakyEdge(config))


PROGRAMS = {"edge": start}
