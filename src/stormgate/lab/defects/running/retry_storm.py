"""Edges that try again, at once and often: what is unwell behind them gets many times the load."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running
from stormgate.net.httpserver import HttpRequest, HttpResponse

SUMMARY = "edges repeat what failed until it works, up to 200 times, without a pause"
FOUND_BY = ("reading",)
_TRIES = 200


class StormyEdge(edge.Edge):
    """Does not take an error for an answer."""

    async def forward(self, request: HttpRequest, user: str, shard: str) -> HttpResponse:
        answer = await super().forward(request, user, shard)
        for _ in range(_TRIES):
            if answer.status < 500:
                break
            answer = await super().forward(request, user, shard)
        return answer


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(StormyEdge(config))


PROGRAMS = {"edge": start}
