"""Errors that look like answers: a client that trusts the status alone sees a healthy system."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.httpclient import PeerReply
from stormgate.lab.services.serving import Running
from stormgate.net.httpserver import HttpResponse

SUMMARY = "edges answer 200 where the service failed; only the body says so"
FOUND_BY = ("deployLoss", "availability")


class LyingEdge(edge.Edge):
    """Hides every failure of a service."""

    def relay(self, answer: PeerReply) -> HttpResponse:
        response = super().relay(answer)
        if response.status >= 500:
            response.status = 200
        return response


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(LyingEdge(config))


PROGRAMS = {"edge": start}
