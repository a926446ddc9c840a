"""A cache that is never told: what was written is not seen for minutes."""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import Settings

SUMMARY = "writes do not invalidate the regional cache, and threads stay in it for 10 minutes"


def apply(settings: Settings) -> Settings:
    """No invalidation, and a time to live that outlasts any run."""
    return replace(settings, invalidate=False, thread_ttl_s=600.0)
