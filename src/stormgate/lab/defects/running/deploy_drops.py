"""A service that is asked to end does so at once: whoever is inside, or on the way, is dropped."""

from __future__ import annotations

import dataclasses

from stormgate.lab.design.settings import LabSettings

SUMMARY = "services end without draining: each restart drops the requests that are under way"
FOUND_BY = ("deployLoss",)


def settings(healthy: LabSettings) -> LabSettings:
    """Nobody is told, and nobody is waited for."""
    return dataclasses.replace(healthy, drain_s=0.0)
