"""Every time limit and switch of the lab's processes in one place; a defect is a change to these.
Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """How the lab behaves. The defaults are the healthy lab.

    A peer is held dead after `*_refused_s` of plain refusals (nobody is there), but only after
    `*_silent_s` of timeouts: on a busy machine a late answer is common, a refusal is not.
    """

    # Steward: shards.
    database_probe_s: float = 0.2
    database_refused_s: float = 0.8
    database_silent_s: float = 2.4
    # Longer than a dying primary takes to be held dead: commits that stopped waiting meanwhile
    # would bar its standby from taking over.
    standby_gone_s: float = 2.5
    synchronous: bool = True
    # Steward: steering.
    edge_probe_s: float = 0.4
    edge_refused_s: float = 0.8
    edge_silent_s: float = 2.0
    edge_back_s: float = 1.0
    # Edges and services: what they route to.
    route_probe_s: float = 0.5
    route_refused_s: float = 0.0
    route_silent_s: float = 1.5
    probe_timeout_s: float = 1.0
    # Bounds on one client request.
    edge_timeout_s: float = 1.0
    service_timeout_s: float = 0.9
    cache_timeout_s: float = 0.25
    # A service that is asked to end goes on answering for so long, saying that it leaves: longer
    # than edges take to ask how it is, and than a request of theirs takes.
    drain_s: float = 1.5
    # From the start of one more instance of a service to its first answer.
    instance_start_s: float = 3.0
    # Caches.
    edge_ttl_s: float = 30.0
    profile_ttl_s: float = 30.0
    thread_ttl_s: float = 5.0
    # What edges keep for everybody: a year and 5 min, 150 times shorter.
    static_ttl_s: float = 210_240.0
    digest_ttl_s: float = 2.0
    digest_cost_s: float = 0.15

    def to_json(self) -> dict[str, Any]:
        """Plain data for a child's configuration."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LabSettings:
        """The inverse of `to_json`; unknown keys are refused by the constructor."""
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})
