"""An edge that cannot tell who somebody is without asking the core."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running, problem
from stormgate.lab.services.tokens import Claims
from stormgate.net.httpserver import HttpResponse

SUMMARY = "every check of a token asks a service: with the core away nobody is let in"
FOUND_BY = ("availability",)


class AskingEdge(edge.Edge):
    """Goes to the core for every token."""

    async def admit(self, authorization: str) -> Claims | HttpResponse:
        route = next((route for route in self.routes if route.health.up), self.routes[0])
        try:
            await route.peer.request("GET", "/healthz", timeout_s=self.settings.edge_timeout_s)
        except OSError:
            return problem(503, "the core cannot be asked who this is")
        return await super().admit(authorization)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(AskingEdge(config))


PROGRAMS = {"edge": start}
