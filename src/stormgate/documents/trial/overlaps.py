"""Faults of a gate that stand together, and what a trial waits for: that they can, before anything
starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stormgate import model
from stormgate.documents.components import Components
from stormgate.documents.gate_shape import FaultShape, GateSpec, ProbeShape, ReadingShape, WhenShape
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.signatures import module
from stormgate.documents.trial.checking import Touched
from stormgate.documents.trial.readings import check_call
from stormgate.documents.yamlfile import Document
from stormgate.faults.asked import PROBES

# Arguments of our probes that name something of the target.
_NAMING = ("component", "region", "link")


def check_overlaps(
    spec: GateSpec, touched: Mapping[str, Touched], gate: Document, problems: Problems
) -> None:
    """Note faults that are to overlap what is not there, or each other in a circle, and those of
    one group that would break the same thing in the same way at once.
    """

    def note(index: int, message: str, fix: str, *loc: str) -> None:
        problems.add(gate.file, gate.line("spec", "faults", index, *loc), message, fix)

    names = [fault.name for fault in spec.faults]
    sound = True
    for index, fault in enumerate(spec.faults):
        if fault.overlaps is None:
            if fault.after is not None:
                message = f"fault {fault.name!r} begins after what? It overlaps no other"
                note(index, message, "add overlaps: NAME of another fault", "after")
            continue
        if fault.overlaps not in names:
            sound = False
            fix = nearest(fault.overlaps, [n for n in names if n != fault.name], what="faults")
            note(index, f"there is no fault {fault.overlaps!r} to overlap", fix, "overlaps")
        elif circle := _circle(fault, spec.faults):
            sound = False
            message = f"{' overlaps '.join(circle)}: none of them can begin first"
            note(index, message, "let one of them overlap no other", "overlaps")
    if not sound or len(set(names)) < len(names):
        return
    together = [model.Fault(name=f.name, experiment="", recovery_s=0, overlaps=f.overlaps)
                for f in spec.faults]  # fmt: skip
    for group in model.groups(together):
        for one, other in itertools.combinations([fault.name for fault in group], 2):
            for what, mode in sorted(_broken(touched[one]) & _broken(touched[other])):
                message = f"{one} and {other} may stand together, and both {mode} {what}"
                fix = "break another part or in another way, or let them not overlap"
                note(max(names.index(one), names.index(other)), message, fix, "overlaps")


def _circle(fault: FaultShape, faults: Sequence[FaultShape]) -> list[str]:
    """The names around the circle that a fault is in; empty where it is in none."""
    before = {one.name: one.overlaps for one in faults}
    path = [fault.name]
    while (name := before.get(path[-1])) is not None:
        path.append(name)
        if name == fault.name:
            return path
        if name in path[:-1]:
            break
    return []


def _broken(touched: Touched) -> set[tuple[str, str]]:
    """(what, mode), as far as it is known before the run."""
    parts = {(name, mode) for name, modes in touched.asked.items() for mode in modes}
    return parts | touched.broken


def read_when(shape: WhenShape | None, readings: Sequence[ReadingShape]) -> model.When | None:
    """What a trial waits for, of a gate without a problem."""
    if shape is None:
        return None
    asked = _asked(shape.probe, readings)
    return model.When(
        module=asked.module,
        func=asked.func,
        arguments=asked.arguments,
        tolerance=shape.is_,
        within_s=shape.within,
        every_s=shape.every,
    )


def check_when(
    spec: GateSpec,
    gate: Document,
    root: Path,
    target: model.Target | None,
    problems: Problems,
) -> None:
    """Note probes to wait for that are not there, take other arguments, or ask about what the
    target lacks; and answers that no probe gives.
    """
    for index, fault in enumerate(spec.faults):
        if fault.when is None:
            continue

        def note(message: str, fix: str, *loc: str, index: int = index) -> None:
            line = gate.line("spec", "faults", index, "when", *loc)
            problems.add(gate.file, line, message, fix)

        if fault.when.is_ is None:
            note("nothing measured (null) is within no tolerance", "write what it is to be", "is")
        probe = fault.when.probe
        if isinstance(probe, str) and probe not in {one.name for one in spec.readings}:
            ours = module(PROBES, root)
            known = ours.names if ours is not None else []
            if probe not in known:
                there = [*(one.name for one in spec.readings), *known]
                fix = nearest(probe, there, what="readings and probes")
                note(f"there is no probe {probe!r}", fix, "probe")
                continue
        asked = _asked(probe, spec.readings)
        check_call(asked.module, asked.func, asked.arguments, root, _below(note))
        if target is not None:
            _check_names(asked, Components(target), note)


def _below(note: Any) -> Any:
    return lambda message, fix, *loc: note(message, fix, "probe", *loc)


def _asked(probe: str | ProbeShape, readings: Sequence[ReadingShape]) -> ProbeShape:
    """The call that a probe stands for: a reading of the gate by its name, else one of ours."""
    if not isinstance(probe, str):
        return probe
    reading = next((one for one in readings if one.name == probe), None)
    if reading is None:
        return ProbeShape(func=probe)
    return ProbeShape(module=reading.module, func=reading.func, arguments=reading.arguments)


def _check_names(asked: ProbeShape, components: Components, note: Any) -> None:
    if asked.module != PROBES:
        return
    for key in _NAMING:
        name = asked.arguments.get(key)
        known = components.regions if key == "region" else components.names
        if isinstance(name, str) and name not in known:
            what = "regions" if key == "region" else "components"
            message = f"{asked.func}: the target has no {key} {name!r}"
            note(message, nearest(name, known, what=what), "probe")
