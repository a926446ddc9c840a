"""What a gate takes from SLOs: for each promise, which share of which requests is good.

OpenSLO v1 is read as it allows; an SLO on trial is refused only for what cannot be judged by what
users saw, and the reason is said. One whose source is somebody else's (Prometheus, ...) is judged
by what the gate's `metricSources` says that source counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.documents.gate_shape import CountedShape
from stormgate.documents.problems import Problems
from stormgate.documents.shapes import ShapeT, fit
from stormgate.documents.slo.shape import (
    BadSpec,
    GoodSpec,
    IndicatorSpec,
    MetricSource,
    SliDocument,
    SloDocument,
    SloObjective,
    ThresholdSpec,
    TotalSpec,
)
from stormgate.documents.values import openslo_window_s
from stormgate.documents.yamlfile import Document, Loc

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
# What is promised without a window is promised over a month.
_USUAL_WINDOW = "30d"
_UNITS_MS = {"latencyMs": 1.0, "latencyS": 1000.0}

Where = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Promise:
    """One objective of an SLO: share `target` of the requests `where` good `within_ms`. `label`:
    its displayName, else its number from 1.
    """

    label: str
    number: int
    target: float
    within_ms: float | None
    where: Where


@dataclass(frozen=True, slots=True)
class Slo:
    """An SLO as the gate uses it: its promises hold over `window_s` seconds."""

    name: str
    promises: tuple[Promise, ...]
    window_s: float
    document: Document

    def promise(self, said: str | int | None) -> Promise | None:
        """The one meant by its displayName or its number from 1; None said: the only one."""
        if said is None:
            return self.promises[0] if len(self.promises) == 1 else None
        return next((one for one in self.promises if said in (one.label, one.number)), None)


@dataclass(frozen=True, slots=True)
class _Written:
    """An indicator, where it is written, and the names that a gate may call its source by."""

    spec: IndicatorSpec
    document: Document
    loc: Loc
    names: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    problems: Problems
    mapped: Mapping[str, CountedShape] | None
    shared: dict[str, _Written] = field(default_factory=dict)
    slis: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def read_slos(
    documents: list[Document],
    problems: Problems,
    on_trial: set[str] | None = None,
    mapped: Mapping[str, CountedShape] | None = None,
) -> tuple[dict[str, Slo], set[str]]:
    """The SLOs by name, and the names of those that are there but wrong (so that nobody is told
    they are missing). Only those `on_trial` (None: all), and the indicators they share, are held
    to what a run can measure: the others are other people's. `mapped`: what the sources of others
    count, by the name of an SLO or of its indicator; None where the gate cannot say.
    """
    reading = _Reading(problems, mapped)
    reading.slis = [written_name(one) for one in documents if one.data.get("kind") == "SLI"]
    shapes: list[tuple[Document, SloDocument]] = []
    broken: set[str] = set()
    for document in _concerned(documents, on_trial):
        if document.data.get("kind") == "SLI":
            sli = fit(SliDocument, document, problems)
            if sli is not None:
                name = sli.metadata.name
                reading.shared[name] = _Written(sli.spec, document, ("spec",), (name,))
        elif document.data.get("kind") == "SLO":
            slo = fit(SloDocument, document, problems)
            if slo is None:
                broken.add(written_name(document))
            else:
                shapes.append((document, slo))
    found: dict[str, Slo] = {}
    for document, shape in shapes:
        name = shape.metadata.name
        if name in found:
            problems.add(
                document.file,
                document.line("metadata", "name"),
                f"SLO {name!r} is defined twice (first at {found[name].document.at()})",
                "rename one",
            )
        elif (read := _slo(shape, document, reading)) is None:
            broken.add(name)
        else:
            found[name] = read
    return found, broken


def indicators(spec: Any) -> list[str]:
    """The names of a spec's indicators, and of those of its objectives."""
    if not isinstance(spec, dict):
        return []
    found = [str(spec["indicatorRef"])] if spec.get("indicatorRef") else []
    inline = spec.get("indicator")
    if isinstance(inline, dict) and isinstance(inline.get("metadata"), dict):
        found.append(str(inline["metadata"].get("name")))
    objectives = spec.get("objectives")
    for one in objectives if isinstance(objectives, list) else []:
        found += indicators(one)
    return found


def _slo(shape: SloDocument, document: Document, reading: _Reading) -> Slo | None:
    """The SLO with its promises, or None with what cannot be judged noted."""
    name, spec = shape.metadata.name, shape.spec
    before = len(reading.problems)

    def note(message: str, fix: str, *loc: str | int) -> None:
        reading.problems.add(document.file, document.line("spec", *loc), message, fix)

    if spec.budgeting_method != "Occurrences":
        note(
            f"SLO {name!r} counts slices of time ({spec.budgeting_method}); a gate counts requests",
            "write budgetingMethod: Occurrences for an SLO on trial",
            "budgetingMethod",
        )
        return None
    promises = []
    for index, objective in enumerate(spec.objectives):
        own = objective.indicator is not None or objective.indicator_ref is not None
        loc: Loc = ("spec", "objectives", index) if own else ("spec",)
        if objective.composite_weight is not None:
            note(
                f"SLO {name!r} weighs its objectives into one; a gate judges each by itself",
                "remove compositeWeight from an SLO on trial",
                "objectives",
                index,
                "compositeWeight",
            )
        holder = objective if own else spec
        if holder.indicator is not None:
            called = holder.indicator.metadata.name
            at = (*loc, "indicator", "spec")
            indicator = _Written(holder.indicator.spec, document, at, (called, name))
        else:
            ref = holder.indicator_ref or ""
            if ref not in reading.shared:
                if ref not in reading.slis or not len(reading.problems):
                    listed = ", ".join(reading.slis) or "there are none"
                    note(
                        f"unknown SLI {ref!r}",
                        f"SLIs in the files read: {listed}",
                        *loc[1:],
                        "indicatorRef",
                    )
                return None
            sli = reading.shared[ref]
            indicator = _Written(sli.spec, sli.document, sli.loc, (*sli.names, name))
        at = ("spec", "objectives", index)
        counted = _counted(indicator, objective, (document, at), name, reading)
        if counted is not None:
            label = objective.display_name or str(index + 1)
            promises.append(Promise(label, index + 1, objective.share, *counted))
    labels = [one.label for one in promises]
    for index, label in enumerate(labels):
        if label in labels[:index]:
            fix = "give each objective its own displayName"
            note(f"two objectives of SLO {name!r} are called {label!r}", fix, "objectives", index)
    if len(reading.problems) > before:
        return None
    window = spec.time_window[0].duration if spec.time_window else _USUAL_WINDOW
    return Slo(name, tuple(promises), openslo_window_s(window), document)


def _counted(
    indicator: _Written,
    objective: SloObjective,
    place: tuple[Document, Loc],
    slo: str,
    reading: _Reading,
) -> tuple[float | None, Where] | None:
    """The time limit, ms, and the filter that say what is good; None with the reason noted."""
    ratio, threshold = indicator.spec.ratio_metric, indicator.spec.threshold_metric
    key = "ratioMetric" if ratio is not None else "thresholdMetric"
    sources = ratio.sources() if ratio is not None else {}
    if threshold is not None:
        sources = {"": threshold.metric_source}
    loc = (*indicator.loc, key)
    strange = {at: one for at, one in sources.items() if one.type != SOURCE_TYPE or at == "raw"}
    if strange:
        return _mapped(indicator, objective, place, slo, strange, loc, reading)
    if threshold is not None:
        spec = _spec(ThresholdSpec, indicator, (*loc, "metricSource", "spec"), reading)
        if spec is None:
            return None
        within = _limit(objective, spec.metric, place, slo, reading)
        return None if within is None else (within, spec.where)
    fitted = {
        at: _spec(shape, indicator, (*loc, at, "metricSource", "spec"), reading)
        for at, shape in (("good", GoodSpec), ("bad", BadSpec), ("total", TotalSpec))
        if at in sources
    }
    good, bad, total = fitted.get("good"), fitted.get("bad"), fitted.get("total")
    if None in fitted.values() or not isinstance(total, TotalSpec):
        return None
    if isinstance(good, GoodSpec):
        return good.within, total.where
    return (bad.beyond if isinstance(bad, BadSpec) else None), total.where


def _spec(shape: type[ShapeT], indicator: _Written, loc: Loc, reading: _Reading) -> ShapeT | None:
    return fit(shape, indicator.document, reading.problems, loc)


def _mapped(
    indicator: _Written,
    objective: SloObjective,
    place: tuple[Document, Loc],
    slo: str,
    strange: Mapping[str, MetricSource],
    loc: Loc,
    reading: _Reading,
) -> tuple[float | None, Where] | None:
    """What the gate says that somebody else's source counts."""
    if reading.mapped is None:
        return None
    said = next((reading.mapped[n] for n in indicator.names if n in reading.mapped), None)
    at, source = next(iter(strange.items()))
    if said is None:
        what = source.type or source.metric_source_ref
        asks = f"asks {what}" if what and what != SOURCE_TYPE else "asks nobody known"
        indicator_at = (*loc, *((at,) if at else ()), "metricSource")
        document = indicator.document
        reading.problems.add(
            document.file,
            document.line(*indicator_at, "type" if source.type else "spec"),
            f"SLO {slo!r} {asks}: the gate measures users itself",
            f"write `type: stormgate`, or say in the gate what it counts: metricSources: "
            f"{{{indicator.names[0]}: {{within: 2s}}}}",
        )
        return None
    where = dict(said.where)
    if indicator.spec.threshold_metric is None:
        return said.within, where
    document, gate_loc = place
    if said.metric is None:
        reading.problems.add(
            document.file,
            document.line(*gate_loc),
            f"SLO {slo!r} holds a number against a value, and nobody says which number",
            f"say in the gate: metricSources: {{{indicator.names[0]}: {{metric: latencyMs}}}}",
        )
        return None
    within = _limit(objective, said.metric, place, slo, reading)
    return None if within is None else (within, where)


def _limit(
    objective: SloObjective,
    metric: str,
    place: tuple[Document, Loc],
    slo: str,
    reading: _Reading,
) -> float | None:
    """The time limit of an objective over a thresholdMetric, ms."""
    document, loc = place
    op, value = objective.op, objective.value
    if op in ("lte", "lt") and value is not None and value > 0:
        limit = value * _UNITS_MS[metric]
        # Strictly less: the largest latency that still is.
        return limit if op == "lte" else math.nextafter(limit, 0.0)
    if op in ("gte", "gt"):
        what, fix, key = f"{op} promises slow answers", "write op: lte", "op"
    elif op is None:
        what, fix, key = "has no op for its thresholdMetric", "write op: lte and a value", "op"
    else:
        what, fix, key = "has no value above 0", "write the limit as its value", "value"
    line = document.line(*loc, key)
    reading.problems.add(document.file, line, f"an objective of SLO {slo!r} {what}", fix)
    return None


def _concerned(documents: list[Document], on_trial: set[str] | None) -> list[Document]:
    if on_trial is None:
        return documents
    slos = [d for d in documents if d.data.get("kind") == "SLO" and written_name(d) in on_trial]
    needed = {name for d in slos for name in indicators(d.data.get("spec"))}
    slis = [d for d in documents if d.data.get("kind") == "SLI" and written_name(d) in needed]
    return [*slis, *slos]


def written_name(document: Document) -> str:
    """The name a document gives itself, whatever else is wrong with it."""
    metadata = document.data.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""
