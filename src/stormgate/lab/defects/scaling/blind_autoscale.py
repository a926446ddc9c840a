"""Launches are announced and nobody listens: instances are started once the load is there."""

from __future__ import annotations

import dataclasses
from typing import Any

from stormgate.lab.design.autoscaling import Autoscaler
from stormgate.lab.services.scaling import pool
from stormgate.lab.services.serving import Running

SUMMARY = "the autoscaler knows of no launch and starts instances once the load is there"
FOUND_BY = ("scaledBefore",)


class BlindPool(pool.InstancePool):
    """Only reacts."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.autoscaler = Autoscaler(dataclasses.replace(self.scaling, launches=()))


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a pool."""
    return pool.run(BlindPool(config))


PROGRAMS = {"pool": start}
