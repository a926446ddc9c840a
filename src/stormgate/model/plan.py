"""A gate with everything resolved, and the digest that seals it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stormgate.model.codec import to_json
from stormgate.model.proof import KnownProof
from stormgate.model.release import Attempt, Release
from stormgate.model.target import Target

PLAN_SCHEMA = "stormgate.plan/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The workload: a Locust file, how many streams, and the arrivals per second they are planned
    to make in all.

    `shape`: the LoadTestShape that says how many users there are at which time; each then makes its
    part of `rate_per_s`, the rate of `users` of them. `schedule`: what it plans, (seconds since the
    load began, users), straight between the points; empty where that cannot be known before.
    `engine`: "core" or "python", None where that is left to the default; which one ran is in the
    plan's `versions`.
    """

    locustfile: str
    rate_per_s: float
    users: int
    workers: int = 1
    tags: tuple[str, ...] = ()
    shape: str | None = None
    schedule: tuple[tuple[float, float], ...] = ()
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """What a trial waits for before it breaks anything: `func` of `module`, called with `arguments`
    each `every_s`, within `tolerance` (as in a steady state) for the first time. When it is not
    within `within_s` the trial was never triggered, and shows nothing.
    """

    module: str
    func: str
    tolerance: Any
    within_s: float
    every_s: float = 0.25
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One trial of one experiment, run between its own fault and recovery phases.

    `recovery_s` is how long users are watched after the undo. `rate_per_window` is how often this
    fault is expected in one SLO window (declared by the owner, for projected availability).
    `overlaps` names the fault that has to stand when this one begins, `after_s` after the
    injection of that one; None: nothing else stands. `when`: what it waits for, too.
    """

    name: str
    experiment: str
    recovery_s: float
    rate_per_window: float | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    overlaps: str | None = None
    after_s: float = 0.0
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """A probe that is read all through a run: `func` of `module`, called with `arguments` each
    `every_s`; what is not there after `within_s` is a failed reading. `name` is what objectives and
    the evidence call it.
    """

    name: str
    module: str
    func: str
    every_s: float
    within_s: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One thing that must hold. `spec` is what the kind's own file in judge/ declares, with SLO
    references already resolved.

    `source` is the file:line it came from, so that every message can point at it."""

    name: str
    kind: str
    spec: Mapping[str, Any]
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When the generator and the clocks are good enough for latency and availability to mean
    something.
    """

    max_send_lag_p99_ms: float = 10.0
    min_achieved: float = 0.99
    max_cpu: float = 0.9
    max_clock_error_ms: float = 5.0
    max_saturated_share: float = 0.05
    max_flow_errors: int = 0
    max_starved_cores: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """When a run is stopped for safety. None: that guard is off."""

    error_rate: float | None = None
    error_rate_for_s: float = 20.0
    max_fault_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Permission to ship although a named objective fails, until `expires` (ISO date)."""

    objective: str
    owner: str
    reason: str
    expires: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A gate with everything resolved: what is loaded, broken, measured and judged, from which
    seed.

    Durations of the fixed phases are seconds. `receive` is where the harness listens (HOST:PORT)
    for what the target tells it, such as alerts; "" is nowhere. `versions` pins what ran. `short`
    names what a short try left out or changed, `attempts` the attempts before this one, of
    `1 + retry_inconclusive`. `proofs` is what was known when the run began of objectives violated
    on purpose; None: nobody looked. `digest` is SHA-256 over all of the rest."""

    gate: str
    seed: int
    confidence: float
    target: Target
    load: Load
    warmup_s: float
    steady_s: float
    final_s: float
    faults: tuple[Fault, ...]
    objectives: tuple[Objective, ...]
    readings: tuple[Sampling, ...] = ()
    receive: str = ""
    validity: Validity = field(default_factory=Validity)
    guard: Guard = field(default_factory=Guard)
    waivers: tuple[Waiver, ...] = ()
    stop: str = "planned"
    release: Release = field(default_factory=Release)
    short: tuple[str, ...] = ()
    retry_inconclusive: int = 0
    attempts: tuple[Attempt, ...] = ()
    proofs: tuple[KnownProof, ...] | None = None
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    started_utc: str = ""
    schema: str = PLAN_SCHEMA
    digest: str = ""

    def sealed(self) -> Plan:
        """This plan with its digest computed."""
        return replace(self, digest=plan_digest(self))


def canonical(value: Any) -> bytes:
    """JSON that is the same on every machine: keys sorted, no white space, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def plan_digest(plan: Plan) -> str:
    """SHA-256 (hex) over the plan's canonical JSON without its own digest."""
    return digest_of(to_json(plan))


def digest_of(data: Mapping[str, Any]) -> str:
    """The digest of a plan as JSON data, whatever fields it has: SHA-256 (hex) over all but its own
    `digest`, keys sorted, no white space. Raises ValueError for NaN or an infinity.
    """
    rest = {key: value for key, value in data.items() if key != "digest"}
    return hashlib.sha256(canonical(rest)).hexdigest()
