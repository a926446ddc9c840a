"""Acknowledged, but on one site only: the writes of the last moments die with the primary."""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import Settings

SUMMARY = (
    "commits do not wait for the standby, which lags behind and takes over all the same: "
    "acknowledged writes are lost"
)


def apply(settings: Settings) -> Settings:
    """No synchronous standby, and one that is later than the steward is quick: on loopback it would
    hardly ever lack anything.
    """
    return replace(settings, synchronous=False, replication_lag_ms=2000)
