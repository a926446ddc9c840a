"""The words every part of Stormgate shares, as frozen types. Imports no sibling.

Times are CLOCK_MONOTONIC nanoseconds of the run's clock (`_ns`), shares and confidences are
fractions of one. `to_json` / `from_json` are the only way these types cross a process or reach
disk, so a Plan read back equals the Plan written.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

T = TypeVar("T")

PLAN_SCHEMA = "stormgate.plan/1"
VERDICT_SCHEMA = "stormgate.verdict/1"
SAMPLES_SCHEMA = "stormgate.samples/1"


class Verdict(enum.StrEnum):
    """What an objective, a trial or a gate came to. DIRTY > FAIL > ABORTED > ERROR > INCONCLUSIVE >
    PASS.
    """

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    ABORTED = "ABORTED"
    FAIL = "FAIL"
    DIRTY = "DIRTY"

    @property
    def severity(self) -> int:
        """Rank for `worst`: 0 for PASS up to 5 for DIRTY."""
        return list(Verdict).index(self)

    @property
    def exit_code(self) -> int:
        """The process exit code of a gate with this verdict (2 is kept for usage errors)."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3, "ERROR": 4, "ABORTED": 5, "DIRTY": 6}[
            self.value
        ]


EXIT_USAGE = 2


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that decides. Nothing evaluated is INCONCLUSIVE, never PASS."""
    return max(verdicts, key=lambda v: v.severity, default=Verdict.INCONCLUSIVE)


class Outcome(enum.StrEnum):
    """How one attempt ended."""

    OK = "ok"
    BAD_STATUS = "bad_status"
    WRONG_BODY = "wrong_body"
    MALFORMED = "malformed"
    REFUSED = "refused"
    RESET = "reset"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    BODY_TIMEOUT = "body_timeout"
    TLS = "tls"
    DNS = "dns"
    NOT_SENT = "not_sent"


class Event(enum.StrEnum):
    """The names a timeline row's `event` may have."""

    RUN_BEGIN = "run.begin"
    RUN_CERTAIN = "run.certain"  # {why}: no sample to come could change the verdict
    RUN_END = "run.end"
    PHASE_BEGIN = "phase.begin"  # {phase}
    PHASE_END = "phase.end"  # {phase}
    FAULT_REQUESTED = "fault.requested"  # {fault, component, mode, id}
    FAULT_ACKNOWLEDGED = "fault.acknowledged"
    FAULT_OBSERVED = "fault.observed"  # + {proof}
    FAULT_UNPROVEN = "fault.unproven"  # + {why}: the deadline for a proof of effect passed
    FAULT_CLEARED = "fault.cleared"
    FAULT_UNDO_FAILED = "fault.undo_failed"  # + {why}
    CHAOS_BEGIN = "chaos.begin"  # {fault, experiment}
    CHAOS_ROLLBACK = "chaos.rollback"  # {fault}: the method is over, undoing begins
    CHAOS_END = "chaos.end"  # {fault, exit_code, journal}
    LOAD_STEP = "load.step"
    LOAD_READY = "load.ready"
    LOAD_LOST = "load.lost"  # {worker, why}
    LOAD_FLOW_ERROR = "load.flow_error"  # {worker, flow, traceback}: a user's flow raised
    LOAD_END = "load.end"
    TARGET_UP = "target.up"
    TARGET_WHOLE = "target.whole"
    ABORT = "abort"  # {why, by}: a guard or a person
    ERROR = "error"  # {why}: the harness itself failed


# Sample columns that are always there, in order (DESIGN.md section 3); further label columns
# follow.
CORE_COLUMNS = (
    "intended_ns",
    "sent_ns",
    "done_ns",
    "population",
    "route",
    "op",
    "request",
    "attempt",
    "status",
    "bytes_in",
    "outcome",
)
COMMON_LABELS = ("served_by", "shard", "cache", "tier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """How to look at a component from outside, not through the thing that breaks it.

    `protocol` is http, redis, postgres or tcp; `address` is host:port; `path` is for http only.
    """

    protocol: str
    address: str
    path: str = "/healthz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A thing in the target that can break, and what the backend needs to break it.

    `kind`: region, edge, service, cache, database, link, steward, ... A region is a group: `parts`
    names its components
    (processes and links). `backend`: process, toxiproxy, command, kubernetes, aws or group.
    `handle` belongs to the backend:
    process   {pid_file, start: [argv]}: pid_file holds {"pid", "start_ticks"}; `start` brings it
              back and returns when it runs
    toxiproxy {url, proxy}
    command   {apply: {mode: [argv]}, undo: {mode: [argv]}, observe: [argv]}
    `attributes`: e.g. {"source": "eu-west/edge", "destination": "eu-west/service"} of a link,
    {"shard": "eu"} of a database.
    """

    name: str
    kind: str
    backend: str
    region: str | None = None
    handle: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    observe: Observe | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Users in one place: a share of the traffic, a position, an order of edges, and how each edge
    is reached.

    `links` maps an edge's name to the base URL this population dials for it (in the lab its own
    link with its own RTT). `labels` are facts known of each request before any answer (home shard,
    country), used where a response gives none. `proxy_source`: the client address to announce on
    each connection by a PROXY protocol line.
    """

    name: str
    share: float
    latitude: float
    longitude: float
    edges: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    proxy_source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place where the target runs."""

    name: str
    latitude: float
    longitude: float
    continent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """How users are moved between edges. `mode`: static, dns or table.

    A table is JSON {"version": int, "populations": {name: [edge, ...]}} at `url`, read every
    `interval_ms`.
    """

    mode: str = "static"
    url: str | None = None
    interval_ms: int = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The system on trial.

    `provision` asks Stormgate to start the target itself ({"lab": {...}}); the lab returns this
    Target with addresses filled in. `allow` lists the only networks (CIDR) or host names that may
    be contacted. `observe` maps a sample label to the response header it is read from. `status_url`
    answers JSON {"whole": bool, "why": str, "components": {name: {"state": "up"|"down", "role":
    str|null}}}.
    """

    name: str
    environment: str = "laboratory"
    allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    provision: Mapping[str, Any] | None = None
    regions: tuple[Region, ...] = ()
    populations: tuple[Population, ...] = ()
    components: tuple[Component, ...] = ()
    steering: Steering = field(default_factory=Steering)
    observe: Mapping[str, str] = field(default_factory=dict)
    status_url: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def component(self, name: str) -> Component:
        """The component of that name; KeyError when there is none."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(f"target {self.name!r} has no component {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The workload: a Locust file, how many streams, and the arrivals per second they are planned
    to make in all.
    """

    locustfile: str
    rate_per_s: float
    users: int
    workers: int = 1
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One trial of one experiment, run between its own fault and recovery phases.

    `recovery_s` is how long users are watched after the undo. `rate_per_window` is how often this
    fault is expected in one SLO window (declared by the owner, for projected availability).
    """

    name: str
    experiment: str
    recovery_s: float
    rate_per_window: float | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)


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

    Durations of the fixed phases are seconds. `versions` pins what ran. `digest` is SHA-256 over
    all of the rest."""

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
    validity: Validity = field(default_factory=Validity)
    guard: Guard = field(default_factory=Guard)
    waivers: tuple[Waiver, ...] = ()
    stop: str = "planned"
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    started_utc: str = ""
    schema: str = PLAN_SCHEMA
    digest: str = ""

    def sealed(self) -> Plan:
        """This plan with its digest computed."""
        return replace(self, digest=plan_digest(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line below an objective: a population, a route, a fault's cell. Numbers are None where
    nothing was measured.
    """

    name: str
    verdict: Verdict
    value: float | None = None
    bound: float | None = None
    samples: int = 0
    why: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one objective (or one validity rule) came to.

    `value` is the point estimate, `bound` the confidence bound held against `limit`, all in `unit`;
    None: not measured."""

    name: str
    kind: str
    verdict: Verdict
    value: float | None
    bound: float | None
    limit: float | None
    unit: str
    samples: int
    why: str
    cells: tuple[Cell, ...] = ()
    waived: str = ""
    source: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The answer: the verdict, the exit code (0 also for a FAIL that is wholly waived), and why.

    `validity` are the findings that say whether the measurement itself can be trusted; they take
    part in the verdict.
    """

    gate: str
    verdict: Verdict
    exit_code: int
    plan_digest: str
    objectives: tuple[Finding, ...]
    validity: tuple[Finding, ...] = ()
    why: str = ""
    schema: str = VERDICT_SCHEMA


def _canonical(value: Any) -> bytes:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def plan_digest(plan: Plan) -> str:
    """SHA-256 (hex) over the plan's canonical JSON without its own digest."""
    data = to_json(plan)
    del data["digest"]
    return hashlib.sha256(_canonical(data)).hexdigest()


@functools.cache
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def to_json(value: Any) -> dict[str, Any]:
    """A frozen type of this module as JSON-ready plain data."""
    cls: Any = type(value)
    data: dict[str, Any] = _adapter(cls).dump_python(value, mode="json")
    return data


def from_json(cls: type[T], data: Any) -> T:
    """The inverse of `to_json`. Raises pydantic.ValidationError (a ValueError) when the data does
    not fit.
    """
    key: Any = cls
    result: T = _adapter(key).validate_python(data)
    return result
