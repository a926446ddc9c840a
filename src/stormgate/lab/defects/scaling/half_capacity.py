"""Instances that serve half of what is said of them: plans made with it are for twice too much."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from stormgate.lab.design.autoscaling import Scaling
from stormgate.lab.services.scaling import instance, pool
from stormgate.lab.services.scaling.nest import Nest
from stormgate.lab.services.serving import Running

SUMMARY = "an instance serves half of the capacity that its pool counts on"
FOUND_BY = ("knee",)


class HopefulPool(pool.InstancePool):
    """Counts on what its instances cannot do."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        told = Scaling.from_json(config["scaling"])
        true = dataclasses.replace(told, capacity_per_s=told.capacity_per_s / 2)
        self.nest = Nest(partial(instance.main, {**config, "scaling": true.to_json()}))


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a pool."""
    return pool.run(HopefulPool(config))


PROGRAMS = {"pool": start}
