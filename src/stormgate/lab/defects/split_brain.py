"""Two primaries: the old one does not hear that it was replaced, and goes on acknowledging."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from functools import partial
from typing import Any

import psycopg

from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services import service
from stormgate.lab.services.database import Node, connect
from stormgate.lab.services.serving import Running, every
from stormgate.lab.services.shards import ShardView

SUMMARY = (
    "a region cut off from the others keeps its primary, which stops waiting for its standby: "
    "both sides acknowledge writes"
)
FOUND_BY = ("splitBrain", "ackedWrites")
_WAIT_NO_MORE = (
    "ALTER SYSTEM SET synchronous_standby_names = ''",
    "SELECT pg_reload_conf()",
)


def settings(healthy: LabSettings) -> LabSettings:
    """Quicker to take a silent peer for dead than the steward is."""
    return dataclasses.replace(healthy, route_silent_s=0.6)


class StubbornService(service.Service):
    """Believes its own eyes rather than the steward while it sees its primary and not the other
    node.
    """

    def alone(self, shard: ShardView) -> Node | None:
        """This region's node, where that is the primary and the other cannot be seen."""
        here = next((node for node in shard.nodes if node.region == self.region), None)
        if here is None or shard.primary != self.region:
            return None
        return None if any(n.health.up for n in shard.nodes if n is not here) else here

    async def follow_steward(self) -> None:
        kept = {
            name: (shard.primary, shard.readable, shard.epoch)
            for name, shard in self.shards.items()
            if self.alone(shard)
        }
        await super().follow_steward()
        for name, before in kept.items():
            shard = self.shards[name]
            shard.primary, shard.readable, shard.epoch = before

    async def release(self, shard: ShardView) -> None:
        """Commits on a primary that is alone wait for nobody."""
        node = self.alone(shard)
        if node is None:
            return
        # Past the node's own connections, which all wait for the standby by now.
        with contextlib.suppress(OSError, psycopg.Error):
            async with asyncio.timeout(self.settings.service_timeout_s):
                async with await connect(*node.address, "service") as connection:
                    for statement in _WAIT_NO_MORE:
                        await connection.execute(statement)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    stubborn = StubbornService(config)
    handle, loops = service.run(stubborn)
    seconds = stubborn.settings.route_probe_s
    loops += [every(seconds, partial(stubborn.release, s)) for s in stubborn.shards.values()]
    return handle, loops


PROGRAMS = {"service": start}
