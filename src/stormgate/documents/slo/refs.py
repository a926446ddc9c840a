"""What a gate says of SLOs: which are on trial, that each of their promises is judged, and what the
sources of others count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from stormgate.documents.gate_shape import GateSpec
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.slo.read import Promise, Slo, indicators
from stormgate.documents.yamlfile import Document, Loc


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


def check_known(
    refs: Any,
    gate: Document,
    slos: Mapping[str, Slo],
    broken: Collection[str],
    problems: Problems,
) -> None:
    """Note each of a gate's references to an SLO that is nowhere, whatever else is wrong with it.
    Those that are `broken` have been told where they stand.
    """
    for index, name in enumerate(refs if isinstance(refs, list) else []):
        if isinstance(name, str) and name not in slos and name not in broken:
            line = gate.line("spec", "sloRefs", index)
            problems.add(gate.file, line, f"unknown SLO {name!r}", nearest(name, slos, what="SLOs"))


def check_refs(
    spec: GateSpec,
    gate: Document,
    slos: Mapping[str, Slo],
    broken: frozenset[str],
    problems: Problems,
) -> None:
    """Note an SLO on trial that is not there, and a promise that no objective judges."""
    used = {objective.slo for objective in spec.objectives}
    judged = {
        (objective.slo, promise.number)
        for objective in spec.objectives
        if (slo := slos.get(objective.slo or "")) is not None
        and (promise := slo.promise(objective.slo_objective)) is not None
    }
    check_known(spec.slo_refs, gate, slos, broken, problems)
    for index, name in enumerate(spec.slo_refs):
        line = gate.line("spec", "sloRefs", index)
        if name in spec.slo_refs[:index]:
            problems.add(gate.file, line, f"SLO {name!r} is listed twice", "remove one")
        elif name not in slos:
            continue  # `check_known` tells it
        elif name not in used:
            fix = f"add an objective with slo: {name}, or remove it from sloRefs"
            what = f"SLO {name!r} is on trial, but no objective judges it"
            problems.add(gate.file, line, what, fix)
        elif len(slos[name].promises) > 1:
            for promise in slos[name].promises:
                if (name, promise.number) not in judged:
                    what = f"SLO {name!r} is on trial, but no objective judges {promise.label!r}"
                    fix = f"add an objective with slo: {name} and sloObjective: {promise.label}"
                    problems.add(gate.file, line, what, fix)


def check_mapped(
    spec: GateSpec, gate: Document, slos: Mapping[str, Slo], problems: Problems
) -> None:
    """Note what the gate maps although no SLO on trial has it."""
    known: list[str] = []
    for slo in slos.values():
        known += [slo.name, *indicators(slo.document.data.get("spec"))]
    for name in spec.metric_sources:
        if name not in known:
            line = gate.line("spec", "metricSources", name)
            fix = nearest(name, known, what="SLOs on trial, and their indicators")
            problems.add(gate.file, line, f"no SLO on trial has a source {name!r}", fix)


def promise_of(
    slo: Slo, said: str | int | None, loc: Loc, document: Document, problems: Problems
) -> Promise | None:
    """The promise of an SLO that an objective speaks of; None with what is wrong noted."""
    promise = slo.promise(said)
    if promise is None:
        labels = [one.label for one in slo.promises]
        if said is None:
            what = f"SLO {slo.name!r} has {len(labels)} objectives"
            fix = f"say which: sloObjective: {' or '.join(labels)}"
        else:
            what = f"SLO {slo.name!r} has no objective {said!r}"
            fix = nearest(str(said), labels, what="it has")
        at = document.line(*loc, "slo" if said is None else "sloObjective")
        problems.add(document.file, at, what, fix)
    return promise
