"""Failover that comes, but late: everything that should notice a death waits 8 s first."""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import LabSettings

SUMMARY = (
    "the steward waits 8 s before it promotes a standby or steers users away, and the "
    "edges before they route around"
)
FOUND_BY = ("failover",)
DELAY_S = 8.0


def settings(healthy: LabSettings) -> LabSettings:
    """Raise every detection time to `DELAY_S`."""
    return replace(
        healthy,
        database_refused_s=DELAY_S,
        database_silent_s=DELAY_S,
        edge_refused_s=DELAY_S,
        edge_silent_s=DELAY_S,
        route_refused_s=DELAY_S,
        route_silent_s=DELAY_S,
    )
