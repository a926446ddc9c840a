"""No failover at all: nothing ever believes in a death, so what died stays the primary."""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import LabSettings

SUMMARY = "nothing is ever held dead: no standby is promoted, no user and no request steered away"
FOUND_BY = ("failover",)
NEVER_S = 3600.0


def settings(healthy: LabSettings) -> LabSettings:
    """Detection times beyond any run."""
    return replace(
        healthy,
        database_refused_s=NEVER_S,
        database_silent_s=NEVER_S,
        edge_refused_s=NEVER_S,
        edge_silent_s=NEVER_S,
        route_refused_s=NEVER_S,
        route_silent_s=NEVER_S,
    )
