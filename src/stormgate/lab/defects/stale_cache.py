"""A cache that is never told: what was written is not seen for minutes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services import service
from stormgate.lab.services.serving import Running

SUMMARY = "writes do not invalidate the regional cache, and threads stay in it for 10 minutes"
FOUND_BY = ("staleness", "readYourWrites")


def settings(healthy: LabSettings) -> LabSettings:
    """A time to live that outlasts any run."""
    return replace(healthy, thread_ttl_s=600.0)


class UntellingService(service.Service):
    """Tells its cache nothing."""

    async def invalidate(self, user: str, parameters: dict[str, Any]) -> None:
        return


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(UntellingService(config))


PROGRAMS = {"service": start}
