"""Errors that look like answers: a client that trusts the status alone sees a healthy system."""

from __future__ import annotations

from dataclasses import replace

from stormgate.lab.design.settings import Settings

SUMMARY = "edges answer 200 where the service failed; only the body says so"


def apply(settings: Settings) -> Settings:
    """Edges hide every status of 500 and above."""
    return replace(settings, errors_as_200=True)
