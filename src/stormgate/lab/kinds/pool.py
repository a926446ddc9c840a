"""The role of a region's service where `provision.lab.autoscaling` asks for several instances of it
(kinds/service.py starts it). Program: services/scaling/pool.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from stormgate.lab.design.layout import Layout, Process
from stormgate.lab.kinds import ProcessKind


class PoolKind(ProcessKind):
    """No component of its own: to everybody else it is the region's service."""

    name = "pool"
    rank = 2
    program = "stormgate.lab.services.scaling.pool:start"

    def parts(self, layout: Layout) -> Iterable[Process]:
        return ()


KIND = PoolKind()
