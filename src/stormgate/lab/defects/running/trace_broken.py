"""Services do not take up the trace they are called with: each begins one of its own."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import service
from stormgate.lab.services.observed.tracing import Tracer
from stormgate.lab.services.serving import Running
from stormgate.net.httpserver import HttpRequest

SUMMARY = "services begin a trace of their own for each request: an edge's trace ends at its door"
FOUND_BY = ("tracesWhole",)


class ForgetfulTracer(Tracer):
    """Looks at no header."""

    def context_of(self, request: HttpRequest) -> tuple[str, str] | None:
        return None


class ForgetfulService(service.Service):
    """Has that tracer."""

    tracer = ForgetfulTracer


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(ForgetfulService(config))


PROGRAMS = {"service": start}
