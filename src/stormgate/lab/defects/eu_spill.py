"""European rows in America: when the EU primary is out of reach, its writes go to whichever shard
answers.
"""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import Settings

SUMMARY = (
    "while a shard has no primary, its writes are stored on another continent's shard, "
    "and acknowledged"
)


def apply(settings: Settings) -> Settings:
    """Services spill, and every shard takes rows of any region."""
    return replace(settings, spill=True)
