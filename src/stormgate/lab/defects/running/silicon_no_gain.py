"""The second fleet is as slow as the first, at its own price: what was bought is not there."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services.inference import model
from stormgate.lab.services.serving import Running

SUMMARY = "the silicon fleet takes nearly as long over a call as the GPUs"
FOUND_BY = ("abRatio",)


class SlowSilicon(model.ModelProgram):
    """Takes nine tenths of the time where it should take half."""

    def takes_ms(self, task: str) -> float:
        return super().takes_ms(task) * (0.9 / 0.48 if self.fleet == "silicon" else 1.0)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a model server."""
    return model.run(SlowSilicon(config))


PROGRAMS = {"model": start}
