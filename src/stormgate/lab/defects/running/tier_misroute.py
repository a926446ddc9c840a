"""The router sends what a small model can do to the largest one, now and then: nobody is refused,
and the bill grows.
"""

from __future__ import annotations

import itertools
from typing import Any

from stormgate.lab.services import service
from stormgate.lab.services.inference.router import InferenceRouter
from stormgate.lab.services.serving import Running

SUMMARY = "every fifth call of the assistant goes to the largest model, whatever was asked"
FOUND_BY = ("share",)
EVERY = 5


class GenerousRouter(InferenceRouter):
    """Thinks highly of every so many questions."""

    def __init__(self, entries: Any, settings: Any) -> None:
        super().__init__(entries, settings)
        self._asked = itertools.count(1)

    def tiers(self, task: str) -> tuple[str, ...]:
        own = super().tiers(task)
        return own if next(self._asked) % EVERY else ("core", *own)


class GenerousService(service.Service):
    """Has that router."""

    def inference(self, models: list[dict[str, Any]]) -> InferenceRouter:
        return GenerousRouter(models, self.settings)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(GenerousService(config))


PROGRAMS = {"service": start}
