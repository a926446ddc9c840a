"""The ReleaseGate kind: what OpenSLO cannot say (seconds, phases, faults, confidence), referring to
SLOs by name.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from stormgate.documents.shapes import Ours, Shape
from stormgate.documents.values import (
    Name,
    PositiveMilliseconds,
    PositiveSeconds,
    Seconds,
    Share,
    show,
    wrong,
)
from stormgate.faults.asked import PROBES


def _confidence(value: float) -> float:
    if not 0.5 < value < 1:
        raise wrong(
            f"{value:g} is not a confidence", "write a share between 50% and 100%, such as 0.95"
        )
    return value


def _positive_share(value: float) -> float:
    if not value > 0:
        raise wrong("a limit of nothing", "write a share above 0%")
    return value


def _day(value: Any) -> Any:
    try:
        if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError
        date.fromisoformat(value)
    except ValueError:
        raise wrong(f"{show(value)} is not a date", "write a day as 2027-01-31") from None
    return value


def _not_too_often(seconds: float) -> float:
    if not MOST_OFTEN_S <= seconds <= SELDOM_S:
        raise wrong(f"a reading each {seconds:g} s", "write a time from 100ms to 1h")
    return seconds


def _listenable(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        if not 1 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise wrong(
            f"{show(address)} is no address to listen at", "write IP:PORT, such as 127.0.0.1:19093"
        ) from None
    return address


MOST_OFTEN_S = 0.1
SELDOM_S = 3600.0
FEWEST_USERS = 10  # that a gate has which does not say how many


class LoadShape(Shape):
    """The workload. Without `users` there are as many as it takes for every population to have
    users of every class.
    """

    locustfile: str = Field(min_length=1)
    rate_per_s: float = Field(gt=0, le=1_000_000)
    users: int | None = Field(default=None, gt=0, le=1_000_000)
    workers: int = Field(default=1, gt=0, le=256)
    tags: list[str] = Field(default_factory=list)
    engine: Literal["core", "python"] | None = None


class PhasesShape(Shape):
    """How long the phases around the faults last."""

    warmup: Seconds
    steady: Seconds
    final: Seconds


class ProbeShape(Shape):
    """A Python probe and its arguments; without `module`, one of ours."""

    module: str = Field(default=PROBES, min_length=1)
    func: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)


class WhenShape(Shape):
    """What a trial waits for: what a probe says (as a tolerance of Chaos Toolkit), and for how long
    at most. `probe` is the name of a reading of this gate, of a probe of ours, or a call.
    """

    probe: str | ProbeShape
    is_: Any = Field(alias="is")
    within: PositiveSeconds
    every: Annotated[PositiveSeconds, AfterValidator(_not_too_often)] = 0.25


class FaultShape(Shape):
    """One trial of one experiment, and how long users are watched after its undo."""

    name: Name
    experiment: str = Field(min_length=1)
    recovery: PositiveSeconds
    rate_per_window: float | None = Field(default=None, gt=0)
    configuration: dict[str, Any] = Field(default_factory=dict)
    overlaps: Name | None = None
    after: Seconds | None = None
    when: WhenShape | None = None


class ReadingShape(Shape):
    """A probe that is read all through the run: a Python function as in an experiment."""

    name: Name
    module: str = Field(min_length=1)
    func: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)
    every: Annotated[PositiveSeconds, AfterValidator(_not_too_often)] = 1.0
    within: PositiveSeconds = 1.0


class ReceiveShape(Shape):
    """Where the harness listens while the run lasts, for what the target tells it: alerts, as
    Alertmanager's webhook has them, at POST /alerts.
    """

    listen: Annotated[str, AfterValidator(_listenable)]


class ObjectiveShape(BaseModel):
    """One thing that must hold. Which further keys there are depends on the kind; they are checked
    against it.
    """

    model_config = ConfigDict(
        extra="allow", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    name: Name
    kind: str
    slo: str | None = None
    slo_objective: str | int | None = Field(default=None, alias="sloObjective")


class ValidityShape(Shape):
    """When the generator and the clocks are good enough to judge by."""

    max_send_lag_p99: PositiveMilliseconds = Field(default=10.0, alias="maxSendLagP99")
    min_achieved: Share = 0.99
    max_cpu: Share = 0.9
    max_clock_error: PositiveMilliseconds = 5.0
    max_saturated_share: Share = 0.05
    max_flow_errors: int = Field(default=0, ge=0)
    max_starved_cores: float = Field(default=0.25, gt=0)


class ErrorRateShape(Shape):
    """Stop when the share of bad requests stays over `gt` for so long."""

    gt: Annotated[Share, AfterValidator(_positive_share)]
    for_: PositiveSeconds = Field(default=20.0, alias="for")


class AbortShape(Shape):
    """When the run is stopped for safety."""

    error_rate: ErrorRateShape | None = None
    max_fault_duration: PositiveSeconds = 120.0


class BlastRadiusShape(Shape):
    """The most that any one fault may touch."""

    max_regions: int = Field(gt=0)
    max_users: Annotated[Share, AfterValidator(_positive_share)]


class PolicyShape(Shape):
    """What the gate does by itself with a run that decided nothing."""

    retry_inconclusive: int = Field(default=0, ge=0, le=5)


class WaiverShape(Shape):
    """Permission to ship although an objective fails, until a day."""

    objective: str
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=10)
    expires: Annotated[str, BeforeValidator(_day)]


class CountedShape(Shape):
    """What a metric source of somebody else counts, in what a run measures: requests answered
    correctly (within a time), or the latency that a thresholdMetric stands for.
    """

    outcome: Literal["ok"] = "ok"
    within: PositiveMilliseconds | None = None
    metric: Literal["latencyMs", "latencyS"] | None = None
    where: dict[str, str | list[str]] = Field(default_factory=dict)


class GateSpec(Shape):
    """A release gate: what is loaded, broken, measured and judged."""

    target: str = Field(min_length=1)
    load: LoadShape
    seed: int = Field(default=1, ge=0, lt=2**63)
    confidence: Annotated[Share, AfterValidator(_confidence)] = 0.95
    slo_files: list[str] = Field(default_factory=list)
    slo_refs: list[str] = Field(default_factory=list)
    metric_sources: dict[str, CountedShape] = Field(default_factory=dict)
    phases: PhasesShape
    faults: list[FaultShape] = Field(default_factory=list)
    readings: list[ReadingShape] = Field(default_factory=list, max_length=50)
    receive: ReceiveShape | None = None
    objectives: list[ObjectiveShape] = Field(min_length=1)
    validity: ValidityShape = Field(default_factory=ValidityShape)
    abort: AbortShape | None = None
    blast_radius: BlastRadiusShape | None = None
    waivers: list[WaiverShape] | str = Field(default_factory=list)
    stop: Literal["planned", "certain"] = "planned"
    policy: PolicyShape = Field(default_factory=PolicyShape)


class GateDocument(Ours):
    """A release gate."""

    kind: Literal["ReleaseGate"]
    spec: GateSpec


class WaiversSpec(Shape):
    """The waivers of one or more gates."""

    waivers: list[WaiverShape]


class WaiversDocument(Ours):
    """Waivers in a file of their own, so that who may change them can differ from who may change
    the gate.
    """

    kind: Literal["Waivers"]
    spec: WaiversSpec
