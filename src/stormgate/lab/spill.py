"""What a service with the defect `eu-spill` does: rows go to a shard where they have no business.
Unused in the healthy lab.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import psycopg

from stormgate.lab.services.shards import Shard

# Makes room for rows of regions that the shard does not hold.
_OPEN = "CREATE TABLE IF NOT EXISTS threads_anywhere PARTITION OF threads DEFAULT"


def elsewhere(shard: Shard, shards: Mapping[str, Shard]) -> Shard | None:
    """Another shard that can be written, when this one cannot."""
    node = shard.writer()
    if node is not None and node.health.up:
        return None
    others = (
        other
        for other in shards.values()
        if other is not shard and (found := other.writer()) and found.health.up
    )
    return next(others, None)


async def open_to_all(shard: Shard, timeout_s: float) -> None:
    """Let the shard take any region's rows."""
    node = shard.writer()
    if node is not None:
        with contextlib.suppress(psycopg.Error):  # somebody else did so at the same moment
            await node.query(_OPEN, {}, timeout_s)
