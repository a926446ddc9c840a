"""Every model server costs a little more with each call: warm replicas that nobody takes away."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services.inference import model
from stormgate.lab.services.serving import Running

SUMMARY = "a call of a model server costs 1 % more than the one before; answers stay as they were"
FOUND_BY = ("costPerRequest",)
CREEP = 1.01
MOST = 20.0


class CreepingModel(model.ModelProgram):
    """Costs more and more."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._factor = 1.0

    def cost_usd(self) -> float:
        self._factor = min(MOST, self._factor * CREEP)
        return round(super().cost_usd() * self._factor, 6)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a model server."""
    return model.run(CreepingModel(config))


PROGRAMS = {"model": start}
