"""Users stay where they were: shards fail over, but nobody is steered away from a dead edge."""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import LabSettings

SUMMARY = "the steward never takes a dead edge out of the steering table: its users stay with it"
FOUND_BY = ("failover",)
NEVER_S = 3600.0


def settings(healthy: LabSettings) -> LabSettings:
    """The steering, and it alone, never learns of a death."""
    return replace(healthy, edge_refused_s=NEVER_S, edge_silent_s=NEVER_S)
