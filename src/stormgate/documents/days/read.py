"""A game day's file to model: every mistake at once, with file, line and fix, before anybody is
asked anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormgate.documents.components import Components
from stormgate.documents.days.shape import DayDocument, InjectShape, StepShape
from stormgate.documents.heads import headed
from stormgate.documents.objectives import Surroundings, read_objective
from stormgate.documents.objectives import kinds as spec_kinds
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.shapes import fit
from stormgate.documents.yamlfile import Document, read_documents
from stormgate.faults import backends, expansion
from stormgate.faults.errors import ChaosError
from stormgate.faults.selection import Selector, select
from stormgate.judge.registry import kinds
from stormgate.model import Fault, Objective, Plan
from stormgate.model.gameday import GameDay, GameStep, Hypothesis

BY_HAND = "by hand"


def read_shape(path: Path) -> tuple[DayDocument, Document, Path]:
    """The document of a game day, and its gate's file. Raises DocumentErrors."""
    problems = Problems()
    documents = headed(read_documents(path, problems), problems)
    days = [one for one in documents if one.data.get("kind") == "GameDay"]
    if not days and not len(problems):
        problems.add(str(path), 1, "no GameDay in this file", "add a document with kind: GameDay")
    shape = fit(DayDocument, days[0], problems) if days else None
    gate = path.parent / (shape.spec.gate if shape is not None else "")
    if shape is not None and not gate.is_file():
        line = days[0].line("spec", "gate")
        problems.add(days[0].file, line, f"there is no file {shape.spec.gate!r}", "a ReleaseGate")
    problems.raise_any()
    if shape is None:  # unreachable: no shape without a problem
        raise AssertionError(path)
    return shape, days[0], gate


def read_day(shape: DayDocument, document: Document, plan: Plan, *, rehearsal: bool) -> GameDay:
    """The day, its steps held against the gate and its target. Raises DocumentErrors."""
    problems = Problems()
    names = [step.name for step in shape.spec.steps]
    around = Surroundings(
        kinds=spec_kinds(),
        slos={},
        broken_slos=frozenset(),
        slo_refs=(),
        faults=tuple(names),
        target=plan.target,
        source=document.file,
    )
    own: list[tuple[Objective, ...]] = []
    for index, step in enumerate(shape.spec.steps):
        loc = ("spec", "steps", index)
        if names.count(step.name) > 1:
            line = document.line(*loc, "name")
            problems.add(document.file, line, f"step {step.name!r} is listed twice", "rename one")
        own.append(_own(index, step, document, plan, around, problems))
        if (why := _cannot(step.inject, plan)) is not None:
            line = document.line(*loc, "inject")
            problems.add(document.file, line, why, "what its backend can: docs/faults.md")
    problems.raise_any()
    return GameDay(
        name=shape.metadata.name,
        steps=tuple(_step(*both) for both in zip(shape.spec.steps, own, strict=True)),
        roles=shape.spec.roles,
        rehearsal=rehearsal,
        source=document.file,
    )


def _own(
    index: int,
    step: StepShape,
    document: Document,
    plan: Plan,
    around: Surroundings,
    problems: Problems,
) -> tuple[Objective, ...]:
    """The objectives that a step's hypothesis writes itself; those it names must be the gate's."""
    within = ("spec", "steps", index, "hypothesis", "objectives")
    known = [objective.name for objective in plan.objectives]
    listed = step.hypothesis.objectives
    names = [one if isinstance(one, str) else one.name for one in listed]
    found: list[Objective] = []
    for at, one in enumerate(listed):
        line = document.line(*within, at)
        if names.count(names[at]) > 1:
            told = f"objective {names[at]!r} is listed twice in step {step.name!r}"
            problems.add(document.file, line, told, "rename one")
        if isinstance(one, str):
            if one not in known:
                fix = nearest(one, known, what="objectives")
                problems.add(document.file, line, f"the gate has no objective {one!r}", fix)
            continue
        said = {*(one.model_extra or ()), *(("slo",) if one.slo is not None else ())}
        for key in (foreign := sorted(said & {"slo", "phases", "fault"})):
            told = f"{key!r} in an objective of step {step.name!r}: it is held over this step alone"
            fix = "write its limit here" if key == "slo" else f"remove {key!r}"
            problems.add(document.file, document.line(*within, at, key), told, fix)
        if foreign:
            continue
        objective = read_objective(at, one, document, around, problems, within)
        found += [objective] if objective is not None else []
    return tuple(found)


def _step(step: StepShape, own: tuple[Objective, ...]) -> GameStep:
    said, inject = step.hypothesis, step.inject
    return GameStep(
        name=step.name,
        mode="crash" if inject.mode == "kill" else inject.mode,
        components=tuple(_selected(inject)),
        for_s=inject.for_,
        recovery_s=step.recovery,
        go=step.go,
        params=inject.with_,
        heals=inject.heals,
        hypothesis=Hypothesis(
            says=said.says,
            objectives=tuple(one for one in said.objectives if isinstance(one, str)),
            own=own,
            detected_within_s=said.detected_within,
            mitigated_within_s=said.mitigated_within,
        ),
    )


def _selected(inject: InjectShape) -> Sequence[str | Mapping[str, Any]]:
    one = inject.component
    return one if isinstance(one, list) else [one]


def _cannot(inject: InjectShape, plan: Plan) -> str | None:
    """Why this cannot be broken so, as far as that is known before."""
    most_s = plan.guard.max_fault_s * 0.8
    if inject.for_ > most_s:
        return f"for {inject.for_:g} s: the gate's abort.maxFaultDuration allows {most_s:g} s"
    mode = "crash" if inject.mode == "kill" else inject.mode
    try:
        for item in _selected(inject):
            selector = Selector.of(item)
            # Who is primary then, nobody knows now.
            known = Components(plan.target).known
            for component in select(known, replace(selector, role=None), seed=""):
                if not plan.target.components:
                    continue  # a lab that is not there yet: of which parts, it will say itself
                for part in expansion.parts_of(plan.target, component, mode):
                    backends.parameters(part.component, part.mode, inject.with_)
    except (ChaosError, TypeError) as error:
        return str(error)
    return None


def day_plan(day: GameDay, plan: Plan, *, steady_s: float, final_s: float) -> Plan:
    """The plan that measures a day: a fault for each step, and each objective of a hypothesis held
    over that step's own fault and recovery.
    """
    objectives = [
        _held_over(objective, step.name)
        for step in day.steps
        for objective in (
            *(one for one in plan.objectives if one.name in step.hypothesis.objectives),
            *step.hypothesis.own,
        )
    ]
    return replace(
        plan,
        gate=day.name,
        steady_s=steady_s,
        final_s=final_s,
        faults=tuple(
            Fault(name=step.name, experiment=BY_HAND, recovery_s=step.recovery_s)
            for step in day.steps
        ),
        objectives=tuple(objectives),
        waivers=(),
    )


def _held_over(objective: Objective, step: str) -> Objective:
    fields = kinds()[objective.kind].spec_model.model_fields
    own: dict[str, object] = {}
    if "phases" in fields:
        own["phases"] = [f"fault[{step}]", f"recovery[{step}]"]
    if "fault" in fields:
        own["fault"] = step
    name = f"{step}/{objective.name}"
    return replace(objective, name=name, spec={**objective.spec, **own})
