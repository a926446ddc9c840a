"""Acknowledged, but on one site only: the writes of the last moments die with the primary."""

from __future__ import annotations

import dataclasses

from stormgate.lab.design.layout import Layout
from stormgate.lab.design.settings import LabSettings

SUMMARY = (
    "commits do not wait for the standby, which lags behind and takes over all the same: "
    "acknowledged writes are lost"
)
FOUND_BY = ("ackedWrites",)
# On loopback a standby would hardly ever lack anything: this one is later than the steward is
# quick.
LAG_MS = 2000


def settings(healthy: LabSettings) -> LabSettings:
    """No synchronous standby."""
    return dataclasses.replace(healthy, synchronous=False)


def layout(healthy: Layout) -> Layout:
    """Links between databases that hold the WAL back. The standby dials, so it flows back to it."""
    nodes = {part.name for part in healthy.parts if part.kind == "database"}
    links = tuple(
        dataclasses.replace(link, late_ms=link.late_ms + LAG_MS)
        if {link.source, link.destination} <= nodes
        else link
        for link in healthy.links
    )
    return dataclasses.replace(healthy, links=links)
