"""One region's service takes long over everything, and nothing fails."""

from __future__ import annotations

import asyncio
from typing import Any

from stormgate.lab.services import service
from stormgate.lab.services.serving import Running
from stormgate.net.httpserver import HttpRequest, HttpResponse

SUMMARY = "the service of eu-west takes 80 ms longer over every request; nothing fails"
FOUND_BY = ("latency",)
REGION = "eu-west"
LATENCY_S = 0.08


class SlowService(service.Service):
    """Takes its time, where it stands in that region; health checks are as quick as ever."""

    async def handle(self, request: HttpRequest) -> HttpResponse:
        if self.region == REGION and request.path != "/healthz":
            await asyncio.sleep(LATENCY_S)
        return await super().handle(request)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(SlowService(config))


PROGRAMS = {"service": start}
