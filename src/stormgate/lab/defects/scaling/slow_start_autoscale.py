"""Instances take so long to be ready that a launch is there before them."""

from __future__ import annotations

import dataclasses

from stormgate.lab.design.settings import LabSettings

SUMMARY = "instances are ready 15 s after their start: later than a launch is known beforehand"
FOUND_BY = ("scaledBefore",)


def settings(healthy: LabSettings) -> LabSettings:
    """Five times as long."""
    return dataclasses.replace(healthy, instance_start_s=5 * healthy.instance_start_s)
