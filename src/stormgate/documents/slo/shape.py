"""The form of OpenSLO v1 documents: what its own validator takes, and nothing that it refuses.

OpenSLO leaves `metricSource.spec` free: there a source of `type: stormgate` says what is counted
(`slo/read.py`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from stormgate.documents.shapes import Shape
from stormgate.documents.values import (
    OPENSLO_DURATION,
    PositiveMilliseconds,
    show,
    wrong,
)

API_VERSION = "openslo/v1"


def _target(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise wrong(
            f"{show(value)} is not a target of OpenSLO",
            "write a number from 0 up to, but not, 1 (OpenSLO has no 100%)",
        )
    return float(value)


LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def _label(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(LABEL, value):
        raise wrong(
            f"{show(value)} is not a name of OpenSLO",
            "write a DNS label: lower-case letters, digits, dashes",
        )
    return value


Label = Annotated[
    str, BeforeValidator(_label), WithJsonSchema({"type": "string", "pattern": f"^{LABEL}$"})
]
Target = Annotated[
    float,
    BeforeValidator(_target),
    WithJsonSchema({"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
]


class SloMetadata(Shape):
    """OpenSLO's metadata."""

    name: Label
    display_name: str | None = None
    labels: dict[str, str | list[str]] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class GoodSpec(Shape):
    """Which samples count as good: answered with `outcome`, and within the time where one is
    given.
    """

    outcome: Literal["ok"] = "ok"
    within: PositiveMilliseconds | None = None


class BadSpec(Shape):
    """Which samples count as bad: those that failed, and those that took longer than `beyond`."""

    outcome: Literal["failed"] = "failed"
    beyond: PositiveMilliseconds | None = None


class TotalSpec(Shape):
    """Which samples count at all: all, or those whose columns have the values listed."""

    where: dict[str, str | list[str]] = Field(default_factory=dict)


class ThresholdSpec(TotalSpec):
    """A number of each sample that is held against an objective's `value`, in the unit it names."""

    metric: Literal["latencyMs", "latencyS"]


class MetricSource(Shape):
    """Where a metric comes from; what `spec` means is its source's own affair."""

    metric_source_ref: Label | None = None
    type: str | None = None
    spec: dict[str, Any]


class Metric(Shape):
    """One metric."""

    metric_source: MetricSource


class RatioMetric(Shape):
    """Good (or bad) of total, or a ratio that somebody else has made already."""

    counter: bool | None = None
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric | None = None
    raw_type: Literal["success", "failure"] | None = None
    raw: Metric | None = None

    @model_validator(mode="after")
    def _one_ratio(self) -> Self:
        counted = [one for one in (self.good, self.bad) if one is not None]
        if (self.total is None) == (self.raw is None):
            raise wrong("a ratioMetric has either total or raw", "write one of the two")
        if self.total is not None and len(counted) != 1:
            raise wrong("a ratioMetric has either good or bad of its total", "write one of the two")
        if self.raw is not None and (counted or self.raw_type is None):
            raise wrong("a raw ratioMetric has rawType, and neither good nor bad", "mend it")
        return self

    def sources(self) -> dict[str, MetricSource]:
        """What is written, by its key."""
        written = {"good": self.good, "bad": self.bad, "total": self.total, "raw": self.raw}
        return {key: one.metric_source for key, one in written.items() if one is not None}


class IndicatorSpec(Shape):
    """A ratio of events, or a number that an objective holds against its `value`."""

    description: str | None = Field(default=None, max_length=1050)
    threshold_metric: Metric | None = None
    ratio_metric: RatioMetric | None = None

    @model_validator(mode="after")
    def _one_metric(self) -> Self:
        if (self.threshold_metric is None) == (self.ratio_metric is None):
            fix = "write one of the two"
            raise wrong("an indicator has either ratioMetric or thresholdMetric", fix)
        return self


class Indicator(Shape):
    """An inline indicator."""

    metadata: SloMetadata
    spec: IndicatorSpec


class Calendar(Shape):
    """When a window that follows the calendar begins."""

    start_time: str
    time_zone: str


class TimeWindow(Shape):
    """The window a target is promised over."""

    duration: str = Field(pattern=f"^{OPENSLO_DURATION}$")
    is_rolling: bool = False
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _rolls_or_follows(self) -> Self:
        if self.is_rolling == (self.calendar is not None):
            raise wrong(
                "a window either rolls or follows a calendar",
                "write isRolling: true, or isRolling: false with a calendar",
            )
        return self


class SloObjective(Shape):
    """One promise: a share of good events; over a thresholdMetric, of those that are `op` than
    `value`.
    """

    display_name: str | None = None
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    value: float | None = None
    target: Target | None = None
    target_percent: float | None = Field(default=None, ge=0, lt=100)
    time_slice_target: float | None = Field(default=None, gt=0, le=1)
    time_slice_window: str | None = Field(default=None, pattern=f"^{OPENSLO_DURATION}$")
    indicator: Indicator | None = None
    indicator_ref: str | None = None
    composite_weight: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.target is None) == (self.target_percent is None):
            raise wrong("an objective has either target or targetPercent", "write one of the two")
        return self

    @property
    def share(self) -> float:
        """The promised share of good events."""
        if self.target is not None:
            return self.target
        return round((self.target_percent or 0.0) / 100, 12)


class AlertPolicyRef(Shape):
    """A policy in a document of its own: when people are woken is no business of a gate."""

    alert_policy_ref: str


class InlineAlertPolicy(Shape):
    """A policy written in place."""

    api_version: str | None = None
    kind: Literal["AlertPolicy"]
    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: dict[str, Any] = Field(default_factory=dict)


class SloSpec(Shape):
    """An SLO as OpenSLO writes it; what of it a run cannot decide is said where it is read."""

    description: str | None = Field(default=None, max_length=1050)
    service: str = Field(min_length=1)
    indicator: Indicator | None = None
    indicator_ref: str | None = None
    time_window: list[TimeWindow] | None = Field(default=None, max_length=1)
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: list[SloObjective] = Field(min_length=1)
    alert_policies: list[AlertPolicyRef | InlineAlertPolicy] | None = None

    @model_validator(mode="after")
    def _one_indicator(self) -> Self:
        where: list[SloSpec | SloObjective] = [self]
        if any(one.indicator or one.indicator_ref for one in self.objectives):
            if self.indicator or self.indicator_ref:
                fix = "keep those of the objectives, or that of the SLO"
                raise wrong("both the SLO and its objectives have indicators", fix)
            where = [*self.objectives]
        if any((one.indicator is None) == (one.indicator_ref is None) for one in where):
            raise wrong("an SLO has either indicator or indicatorRef", "write one of the two")
        return self


class SloDocument(Shape):
    """An SLO."""

    api_version: Literal["openslo/v1"]
    kind: Literal["SLO"]
    metadata: SloMetadata
    spec: SloSpec


class SliDocument(Shape):
    """An indicator that SLOs may share."""

    api_version: Literal["openslo/v1"]
    kind: Literal["SLI"]
    metadata: SloMetadata
    spec: IndicatorSpec
