"""What was started for a launch stays, and is paid for."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services.scaling import pool
from stormgate.lab.services.serving import Running

SUMMARY = "no instance ever ends: after a launch its fleet is paid for by the usual load"
FOUND_BY = ("costPerRequest",)


class LastingPool(pool.InstancePool):
    """Lets nobody go."""

    def end(self, seat: pool.Seat) -> None:
        """It stays."""


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a pool."""
    return pool.run(LastingPool(config))


PROGRAMS = {"pool": start}
