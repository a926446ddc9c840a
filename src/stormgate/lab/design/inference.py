"""Inference on paper: which tasks there are, which tier answers each, how long that takes and what
it costs, and which model servers `provision.lab.inference` asks for. Pure.

Times of the larger tiers are half the roadmap's limits (a call of the core: under 2 s there, under
1 s here), so that a core call fits into what an edge waits for a service; those of the small models
are what "50 ms for 70 % of calls" leaves beside the way there and back. Prices are the roadmap's,
in USD a call. Fleets differ in both: custom silicon is claimed to do twice as much at a fifth of
the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stormgate.lab.errors import LabError
from stormgate.model import Target

# From the least to the most: a tier that is gone is stood in for by the next one up.
TIERS = ("edge", "regional", "core")
FLEETS = ("gpu", "silicon")
# What each task needs: the least tier that can do it, and how long a model of that tier takes, ms.
TASKS: Mapping[str, tuple[str, float]] = {
    "classify": ("edge", 6.0),
    "encode": ("edge", 9.0),
    "ask": ("edge", 12.0),
    "summarise": ("regional", 125.0),
    "plan": ("regional", 75.0),
    "reason": ("core", 600.0),
}
# What a larger model takes over a smaller one's task, ms.
STANDING_IN_MS = {"edge": 25.0, "regional": 75.0, "core": 300.0}
PRICE_USD = {"edge": 0.0, "regional": 0.001, "core": 0.01}
# What a fleet takes of the times and prices above. A little better than "twice as fast", so that a
# trial can show it.
SPEED = {"gpu": 1.0, "silicon": 0.48}
COST = {"gpu": 1.0, "silicon": 0.2}
# Calls that one server works on at once: the rest wait, as they would for an accelerator.
SLOTS = {"edge": 8, "regional": 16, "core": 32}


@dataclass(frozen=True, slots=True)
class ModelServer:
    """One server: where it stands, for which tier, on which hardware."""

    region: str
    tier: str
    fleet: str

    @property
    def name(self) -> str:
        return f"{self.region}/model-{self.tier}-{self.fleet}"


def tiers_for(task: str) -> tuple[str, ...]:
    """Who may answer a task, whoever should first: its own tier, then larger ones, then smaller
    ones, which are worse at it but there.
    """
    at = TIERS.index(TASKS[task][0])
    return (*TIERS[at:], *reversed(TIERS[:at]))


def time_ms(task: str, tier: str, fleet: str) -> float:
    """How long a call takes once it is worked on, ms."""
    own, needed_ms = TASKS[task]
    return (needed_ms if tier == own else STANDING_IN_MS[tier]) * SPEED[fleet]


def price_usd(tier: str, fleet: str) -> float:
    """What a call costs, USD."""
    return round(PRICE_USD[tier] * COST[fleet], 9)


def wanted(target: Target) -> Mapping[str, Any] | None:
    """What the target asks for, or None. Raises LabError for what cannot be."""
    options = ((target.provision or {}).get("lab") or {}).get("inference")
    if options is None:
        return None
    keys = {"fleets", "regional", "core"}
    if not isinstance(options, Mapping) or set(options) != keys:
        raise LabError(
            f"target {target.name!r}: provision.lab.inference needs {', '.join(sorted(keys))}"
        )
    regions = {region.name for region in target.regions}
    for key, known in (("fleets", set(FLEETS)), ("regional", regions), ("core", regions)):
        listed = options[key]
        if not isinstance(listed, list | tuple) or not listed or not set(listed) <= known:
            raise LabError(
                f"target {target.name!r}: provision.lab.inference.{key} must list some of "
                f"{', '.join(sorted(known))}, not {listed!r}"
            )
    return options


def servers(target: Target) -> Iterable[ModelServer]:
    """Every model server of the lab: small models in all regions, larger ones in some."""
    options = wanted(target)
    if options is None:
        return
    places = {
        "edge": [region.name for region in target.regions],
        "regional": list(options["regional"]),
        "core": list(options["core"]),
    }
    for tier in TIERS:
        for region in places[tier]:
            for fleet in options["fleets"]:
                yield ModelServer(region, tier, fleet)
