"""OpenSLO v1 documents, read strictly: what is accepted here is valid OpenSLO to other tools too.

The parts OpenSLO leaves free (`metricSource.spec`) say what Stormgate counts: which outcome is
good, within which time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from stormgate.documents.problems import Problems
from stormgate.documents.shapes import Shape, fit
from stormgate.documents.values import (
    OPENSLO_DURATION,
    PositiveMilliseconds,
    openslo_window_s,
    show,
    wrong,
)
from stormgate.documents.yamlfile import Document

API_VERSION = "openslo/v1"
KINDS = (
    "SLO",
    "SLI",
    "Service",
    "DataSource",
    "AlertPolicy",
    "AlertCondition",
    "AlertNotificationTarget",
)
SOURCE_TYPE = "stormgate"


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


class TotalSpec(Shape):
    """Which samples count at all: all, or those whose columns have the values listed."""

    where: dict[str, str | list[str]] = Field(default_factory=dict)


class GoodSource(Shape):
    """Where good events come from."""

    metric_source_ref: str | None = None
    type: Literal["stormgate"]
    spec: GoodSpec


class TotalSource(Shape):
    """Where all events come from."""

    metric_source_ref: str | None = None
    type: Literal["stormgate"]
    spec: TotalSpec


class Good(Shape):
    """The counter of good events."""

    metric_source: GoodSource


class Total(Shape):
    """The counter of all events."""

    metric_source: TotalSource


class RatioMetric(Shape):
    """Good of total."""

    counter: Literal[True] | None = None
    good: Good
    total: Total


class IndicatorSpec(Shape):
    """The one kind of indicator a run can measure."""

    description: str | None = Field(default=None, max_length=1050)
    ratio_metric: RatioMetric


class Indicator(Shape):
    """An inline indicator."""

    metadata: SloMetadata
    spec: IndicatorSpec


class TimeWindow(Shape):
    """The window a target is promised over."""

    duration: str = Field(pattern=f"^{OPENSLO_DURATION}$")
    is_rolling: Literal[True]


# What is promised without a window is promised over a month.
_USUAL_WINDOW = "30d"


class SloObjective(Shape):
    """The promise: a share of good events."""

    display_name: str | None = None
    target: Target | None = None
    target_percent: float | None = Field(default=None, ge=0, lt=100)

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
    """An SLO as OpenSLO writes it, with what a run cannot decide left out."""

    description: str | None = Field(default=None, max_length=1050)
    service: Label
    indicator: Indicator | None = None
    indicator_ref: str | None = None
    time_window: list[TimeWindow] = Field(default_factory=list, max_length=1)
    budgeting_method: Literal["Occurrences"]
    objectives: list[SloObjective] = Field(min_length=1, max_length=1)
    alert_policies: list[AlertPolicyRef | InlineAlertPolicy] | None = None

    @model_validator(mode="after")
    def _one_indicator(self) -> Self:
        if (self.indicator is None) == (self.indicator_ref is None):
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


@dataclass(frozen=True, slots=True)
class Slo:
    """An SLO as the gate uses it: share `target` of the requests `where` good `within_ms`, promised
    over `window_s` seconds.
    """

    name: str
    target: float
    within_ms: float | None
    where: dict[str, str | list[str]]
    window_s: float
    document: Document


def read_slos(
    documents: list[Document], problems: Problems, on_trial: set[str] | None = None
) -> tuple[dict[str, Slo], set[str]]:
    """The SLOs by name, and the names of those that are there but wrong (so that nobody is told
    they are missing). Only those `on_trial` (None: all), and the indicators they share, are held
    to what a run can measure: the others are other people's.
    """
    slis = [written_name(one) for one in documents if one.data.get("kind") == "SLI"]
    documents = _concerned(documents, on_trial)
    shared: dict[str, IndicatorSpec] = {}
    shapes: list[tuple[Document, SloDocument]] = []
    broken: set[str] = set()
    for document in documents:
        kind = document.data.get("kind")
        if kind == "SLI":
            sli = fit(SliDocument, document, problems)
            if sli is not None:
                shared[sli.metadata.name] = sli.spec
        elif kind == "SLO":
            slo = fit(SloDocument, document, problems)
            if slo is None:
                broken.add(written_name(document))
            else:
                shapes.append((document, slo))
    found: dict[str, Slo] = {}
    for document, shape in shapes:
        name = shape.metadata.name
        if name in found:
            line = document.line("metadata", "name")
            problems.add(
                document.file,
                line,
                f"SLO {name!r} is defined twice (first at {found[name].document.at()})",
                "rename one",
            )
            continue
        indicator = (
            shape.spec.indicator.spec
            if shape.spec.indicator
            else shared.get(shape.spec.indicator_ref or "")
        )
        if indicator is None:
            line = document.line("spec", "indicatorRef")
            listed = ", ".join(slis) or "there are none"
            problems.add(
                document.file,
                line,
                f"unknown SLI {shape.spec.indicator_ref!r}",
                f"SLIs in the files read: {listed}",
            )
            broken.add(name)
            continue
        ratio = indicator.ratio_metric
        found[name] = Slo(
            name=name,
            target=shape.spec.objectives[0].share,
            within_ms=ratio.good.metric_source.spec.within,
            where=ratio.total.metric_source.spec.where,
            window_s=openslo_window_s(
                shape.spec.time_window[0].duration if shape.spec.time_window else _USUAL_WINDOW
            ),
            document=document,
        )
    return found, broken


def on_trial(spec: Any) -> set[str]:
    """The SLOs that a gate's specification speaks of, whatever else is wrong with it."""
    if not isinstance(spec, dict):
        return set()
    refs, objectives = spec.get("sloRefs"), spec.get("objectives")
    named = (
        [one.get("slo") for one in objectives or () if isinstance(one, dict)]
        if isinstance(objectives, list)
        else []
    )
    return {str(one) for one in (*(refs if isinstance(refs, list) else ()), *named)}


def _concerned(documents: list[Document], on_trial: set[str] | None) -> list[Document]:
    if on_trial is None:
        return documents
    slos = [d for d in documents if d.data.get("kind") == "SLO" and written_name(d) in on_trial]
    specs = [d.data["spec"] for d in slos if isinstance(d.data.get("spec"), dict)]
    needed = {str(spec.get("indicatorRef")) for spec in specs}
    slis = [d for d in documents if d.data.get("kind") == "SLI" and written_name(d) in needed]
    return [*slis, *slos]


def written_name(document: Document) -> str:
    """The name a document gives itself, whatever else is wrong with it."""
    metadata = document.data.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""
