"""The router knows one tier for each task, and no other: while that is gone its calls fail."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import service
from stormgate.lab.services.inference.router import InferenceRouter
from stormgate.lab.services.serving import Running

SUMMARY = "a call of the assistant whose tier is gone is refused: no larger model stands in"
FOUND_BY = ("failover",)


class StrictRouter(InferenceRouter):
    """The right tier or none."""

    def tiers(self, task: str) -> tuple[str, ...]:
        return super().tiers(task)[:1]


class StrictService(service.Service):
    """Has that router."""

    def inference(self, models: list[dict[str, Any]]) -> InferenceRouter:
        return StrictRouter(models, self.settings)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(StrictService(config))


PROGRAMS = {"service": start}
