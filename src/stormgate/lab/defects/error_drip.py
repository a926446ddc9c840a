"""A small share of answers is an error, evenly: too few for anybody to notice by looking."""

from __future__ import annotations

import itertools
from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.httpclient import PeerReply
from stormgate.lab.services.serving import Running
from stormgate.net.httpserver import HttpResponse

SUMMARY = "every 200th answer that an edge relays is a 500"
FOUND_BY = ("availability",)
EVERY = 200


class DrippingEdge(edge.Edge):
    """Spoils every so many answers."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._relayed = itertools.count(1)

    def relay(self, answer: PeerReply) -> HttpResponse:
        response = super().relay(answer)
        if next(self._relayed) % EVERY == 0:
            response.status = 500
        return response


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(DrippingEdge(config))


PROGRAMS = {"edge": start}
