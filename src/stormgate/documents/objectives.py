"""Objectives: the keys a document writes, translated to the fields the objective's kind declares.

One rule serves every kind, so that a kind is added by adding its file in judge/: field `lte_ms` is
written `lte: 50ms`, `sustained_s` is `sustained: 1s`, `min_samples` is `minSamples`, and a fraction
may be written `99%`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from stormgate import model
from stormgate.documents.gate_shape import ObjectiveShape
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.shapes import explain
from stormgate.documents.slo.read import Slo
from stormgate.documents.slo.refs import promise_of
from stormgate.documents.values import SHARE, duration_ms, duration_s, fraction
from stormgate.documents.yamlfile import Document, Loc

Kinds = Mapping[str, type[BaseModel]]

FIXED_PHASES = ("steady", "final")
FAULT_PHASES = ("fault", "recovery")


def kinds() -> Kinds:
    """The objective kinds by name, as the judge registers them."""
    from stormgate.judge import registry

    return {name: kind.spec for name, kind in registry.kinds().items()}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an objective may refer to."""

    kinds: Kinds
    slos: Mapping[str, Slo]
    broken_slos: frozenset[str]
    slo_refs: tuple[str, ...]
    faults: tuple[str, ...]
    target: model.Target | None
    # the gate's file as evidence names it: relative to the suite's root, the same on every machine
    source: str


def written_keys(spec: type[BaseModel]) -> dict[str, str]:
    """Document key -> field of a kind's spec. Fields that differ in their unit alone keep it in
    their keys.
    """
    short = {name: to_camel(re.sub(r"_(ms|s)$", "", name)) for name in spec.model_fields}
    shared = [key for key in short.values() if list(short.values()).count(key) > 1]
    return {to_camel(name) if key in shared else key: name for name, key in short.items()}


def read_objective(
    index: int,
    shape: ObjectiveShape,
    document: Document,
    around: Surroundings,
    problems: Problems,
    within: Loc = ("spec", "objectives"),
) -> model.Objective | None:
    """The objective at `index` of the list `within` with its SLO reference resolved, or None with
    what is wrong noted.
    """
    loc: Loc = (*within, index)
    before = len(problems)
    spec_type = around.kinds.get(shape.kind)
    if spec_type is None:
        _unknown_kind(shape, loc, document, around, problems)
        return None
    keys = written_keys(spec_type)
    said = _from_slo(shape, spec_type, loc, document, around, problems)
    fields = dict(said or {})
    for key, value in (shape.model_extra or {}).items():
        line = document.line(*loc, key)
        if key not in keys:
            allowed = ("name", "kind", "slo", "sloObjective", *keys)
            problems.add(
                document.file,
                line,
                f"unknown key {key!r} in objective {shape.name!r}",
                nearest(key, allowed),
            )
            continue
        if shape.slo is not None and keys[key] in fields and key != "where":
            problems.add(
                document.file,
                line,
                f"{key!r} is already said by SLO {shape.slo!r}",
                f"remove {key!r}, or 'slo'",
            )
            continue
        try:
            read = _value(keys[key], value)
        except ValueError as error:
            context = getattr(error, "context", None) or {"what": str(error), "fix": "correct it"}
            problems.add(document.file, line, f"{key}: {context['what']}", context["fix"])
            continue
        fields[keys[key]] = (
            {**fields.get("where", {}), **read}
            if key == "where" and isinstance(read, dict)
            else read
        )
    # What an SLO that cannot be used would have said is not missing here.
    complete = said is not None
    spec = _fit(
        spec_type, fields, keys, loc, document, problems, name=shape.name, complete=complete
    )
    read = fields if spec is None else spec
    _check_references(read, set(fields), loc, document, around, problems)
    if "fault" in spec_type.model_fields and not around.faults:
        problems.add(
            document.file,
            document.line(*loc, "kind"),
            f"{shape.kind!r} judges faults, but the gate has none",
            "add a fault",
        )
    if spec is None or len(problems) > before:
        return None
    return model.Objective(
        name=shape.name, kind=shape.kind, spec=spec, source=f"{around.source}:{document.line(*loc)}"
    )


def _unknown_kind(
    shape: ObjectiveShape, loc: Loc, document: Document, around: Surroundings, problems: Problems
) -> None:
    """Note that there is no such kind, and whatever else is wrong without knowing it."""
    fix = nearest(shape.kind, around.kinds, what="kinds")
    problems.add(document.file, document.line(*loc, "kind"), f"unknown kind {shape.kind!r}", fix)
    loose = dict(shape.model_extra or {})
    _check_references(loose, set(loose), loc, document, around, problems)


def _from_slo(
    shape: ObjectiveShape,
    spec_type: type[BaseModel],
    loc: Loc,
    document: Document,
    around: Surroundings,
    problems: Problems,
) -> dict[str, Any] | None:
    """What the SLO an objective refers to says, in the fields of the objective's kind."""
    if shape.slo is None:
        if shape.slo_objective is not None:
            at = document.line(*loc, "sloObjective")
            problems.add(document.file, at, "sloObjective without slo", "add slo: its name")
        return {}
    line = document.line(*loc, "slo")
    slo = around.slos.get(shape.slo)
    if slo is None:
        if shape.slo not in around.broken_slos:
            problems.add(
                document.file,
                line,
                f"unknown SLO {shape.slo!r}",
                nearest(shape.slo, around.slos, what="SLOs"),
            )
        return None
    # A reference to no SLO there is, is said where it stands: likely this one was meant.
    slips = [name for name in around.slo_refs if name not in around.slos]
    if shape.slo not in around.slo_refs and not slips:
        problems.add(
            document.file,
            line,
            f"SLO {shape.slo!r} is not in sloRefs",
            f"add {shape.slo!r} to sloRefs",
        )
    promise = promise_of(slo, shape.slo_objective, loc, document, problems)
    if promise is None:
        return None
    names = spec_type.model_fields
    said: dict[str, Any] = {}
    if "quantile" in names and "lte_ms" in names:
        if promise.within_ms is None:
            problems.add(
                document.file,
                line,
                f"SLO {slo.name!r} names no time limit",
                "add 'within' to its good spec",
            )
            return None
        said = {"quantile": promise.target, "lte_ms": promise.within_ms}
    elif "target" in names:
        said = {
            "target": promise.target,
            "within_ms": promise.within_ms,
            "window_s": slo.window_s,
        }
    elif "within_ms" in names and promise.within_ms is not None:
        said = {"within_ms": promise.within_ms}
    if not said:
        problems.add(
            document.file,
            line,
            f"an objective of kind {shape.kind!r} takes nothing from an SLO",
            "remove 'slo'",
        )
        return None
    if promise.where and "where" in names:
        said["where"] = dict(promise.where)
    return {name: value for name, value in said.items() if name in names and value is not None}


def _value(field: str, value: Any) -> Any:
    if value is None:
        return None
    if field.endswith("_ms"):
        return duration_ms(value)
    if field.endswith("_s"):
        return duration_s(value)
    if isinstance(value, str) and re.fullmatch(SHARE, value):
        return fraction(value)
    return value


def _fit(
    spec_type: type[BaseModel],
    fields: dict[str, Any],
    keys: dict[str, str],
    loc: Loc,
    document: Document,
    problems: Problems,
    *,
    name: str,
    complete: bool,
) -> dict[str, Any] | None:
    written = {field: key for key, field in keys.items()}
    try:
        return spec_type.model_validate(fields).model_dump(mode="json")
    except ValidationError as error:
        for one in error.errors(include_url=False):
            where, message, fix = explain(spec_type, one)
            message = message if where else f"objective {name!r}: {message}"
            if one["type"] == "missing" and len(one["loc"]) == 1:
                if not complete:
                    continue
                key = written.get(str(one["loc"][-1]), str(one["loc"][-1]))
                problems.add(
                    document.file, document.line(*loc), f"objective lacks {key!r}", f"add {key!r}"
                )
                continue
            step = (written.get(str(where[0]), where[0]), *where[1:]) if where else ()
            for field, key in written.items():
                message = message.replace(field, key) if message.startswith(field) else message
            problems.add(document.file, document.line(*loc, *step), message, fix)
        return None


def phase_names(faults: Iterable[str]) -> list[str]:
    """Every phase an objective may name."""
    return [
        *FIXED_PHASES,
        *FAULT_PHASES,
        *(f"{kind}[{name}]" for name in faults for kind in FAULT_PHASES),
    ]


def _check_references(
    fields: dict[str, Any],
    written: set[str],
    loc: Loc,
    document: Document,
    around: Surroundings,
    problems: Problems,
) -> None:
    allowed = phase_names(around.faults)
    for key in ("phases", "versus"):
        for at, phase in enumerate(_listed(fields.get(key))):
            line = document.line(*loc, key, at)
            if phase == "warmup":
                problems.add(
                    document.file, line, "warmup is never judged", f"phases: {', '.join(allowed)}"
                )
            elif phase not in allowed:
                problems.add(
                    document.file,
                    line,
                    f"unknown phase {phase!r}",
                    nearest(str(phase), allowed, what="phases"),
                )
            elif phase in FAULT_PHASES and not around.faults:
                problems.add(
                    document.file,
                    line,
                    f"phase {phase!r}, but the gate has no fault",
                    "add a fault, or judge 'steady'",
                )
    fault = fields.get("fault")
    if isinstance(fault, str) and fault not in around.faults:
        fix = nearest(fault, around.faults, what="faults")
        problems.add(document.file, document.line(*loc, "fault"), f"unknown fault {fault!r}", fix)
    if around.target is None:
        return
    columns = columns_of(around.target)
    _check_columns(fields, written, columns, loc, document, problems)
    _check_where(fields.get("where"), columns, loc, document, around, problems)


def _check_columns(
    fields: dict[str, Any],
    written: set[str],
    columns: list[str],
    loc: Loc,
    document: Document,
    problems: Problems,
) -> None:
    """Note a column that no sample of the target has; `written`: the fields the document says."""
    for key in ("by", "label", "labels"):
        if key == "by" and isinstance(fields.get(key), str):
            continue  # one word, of operations: its kind has looked at it
        listed = _listed(fields.get(key))
        if key not in written and set(listed) & set(columns):
            continue  # a kind's own choice: it looks at those that are there
        for at, column in enumerate(listed):
            if column not in columns:
                line = document.line(*loc, key, at)
                fix = nearest(str(column), columns, what="columns")
                if not fix.startswith("did you"):
                    fix += f"; or add observe: {{{column}: x-a-header}} to the target"
                problems.add(document.file, line, f"samples have no column {column!r}", fix)


def _check_where(
    where: Any,
    columns: list[str],
    loc: Loc,
    document: Document,
    around: Surroundings,
    problems: Problems,
) -> None:
    if not isinstance(where, dict) or around.target is None:
        return
    known = {
        "population": [p.name for p in around.target.populations],
        "op": ["read", "write"],
        "outcome": [outcome.value for outcome in model.Outcome],
    }
    for column, wanted in where.items():
        line = document.line(*loc, "where", column)
        if column not in columns:
            problems.add(
                document.file,
                line,
                f"samples have no column {column!r}",
                nearest(column, columns, what="columns"),
            )
            continue
        for value in _listed(wanted):
            if column in known and value not in known[column]:
                fix = nearest(str(value), known[column], what=f"{column} is one of")
                problems.add(document.file, line, f"no {column} is called {value!r}", fix)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def columns_of(target: model.Target) -> list[str]:
    """The sample columns a document may split or filter by: names, not times."""
    labels = [label for population in target.populations for label in population.labels]
    return list(
        dict.fromkeys(
            [
                "population",
                "route",
                "op",
                "outcome",
                "status",
                *target.observe,
                *labels,
            ]
        )
    )
