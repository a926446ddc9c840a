"""European rows in America: when the EU primary is out of reach, its writes go to whichever shard
answers.
"""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg

from stormgate.lab.services import service
from stormgate.lab.services.serving import Running
from stormgate.lab.services.shards import ShardView

SUMMARY = (
    "while a shard has no primary, its writes are stored on another continent's shard, "
    "and acknowledged"
)
FOUND_BY = ("residency",)
# Makes room for rows of regions that the shard does not hold.
_OPEN = "CREATE TABLE IF NOT EXISTS threads_anywhere PARTITION OF threads DEFAULT"


class SpillingService(service.Service):
    """Creates threads wherever it can."""

    async def place(self, shard: ShardView, *, creates: bool) -> ShardView:
        node = shard.writer()
        if not creates or (node is not None and node.health.up):
            return shard
        for other in self.shards.values():
            found = other.writer()
            if other is not shard and found is not None and found.health.up:
                with contextlib.suppress(psycopg.Error):  # somebody else did so at the same moment
                    await found.query(_OPEN, {}, self.settings.service_timeout_s)
                return other
        return shard


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(SpillingService(config))


PROGRAMS = {"service": start}
