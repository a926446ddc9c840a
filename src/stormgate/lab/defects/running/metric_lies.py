"""Edges count errors as successes, and one request in four not at all: the dashboard is green."""

from __future__ import annotations

import itertools
from typing import Any

from stormgate.lab.services import edge
from stormgate.lab.services.observed.meter import Meter
from stormgate.lab.services.serving import Running
from stormgate.net.httpserver import HttpResponse

SUMMARY = "an edge's metrics count errors as successes, and one request in four not at all"
FOUND_BY = ("metricTrue",)
EVERY = 4


class LyingMeter(Meter):
    """Never saw an error."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler)
        self._answered = itertools.count(1)

    def count(self, response: HttpResponse, took_s: float) -> None:
        if next(self._answered) % EVERY == 0:
            return
        status = 200 if response.status >= 500 else response.status
        super().count(HttpResponse(status, b"", response.headers), took_s)


class UncountingEdge(edge.Edge):
    """Has that meter."""

    meter = LyingMeter


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    return edge.run(UncountingEdge(config))


PROGRAMS = {"edge": start}
