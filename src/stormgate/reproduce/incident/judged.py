"""Which objectives of a gate look at an incident: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stormgate.judge.registry import kinds
from stormgate.model import Objective

FAULT = "fault"


def judged_during(objectives: Sequence[Objective]) -> tuple[list[Objective], list[str]]:
    """The objectives, and the names of those that look at the incident only now: where none of them
    looks at what is broken while it is broken (they were written for calm phases), all that name
    phases do. An incident that nobody looks at would pass whatever it did.
    """
    if any(_looks(one) for one in objectives):
        return list(objectives), []
    found, names = [], []
    for one in objectives:
        phases = one.spec.get("phases")
        if isinstance(phases, list | tuple):
            one = replace(one, spec={**one.spec, "phases": [*phases, FAULT]})  # noqa: PLW2901
            names.append(one.name)
        found.append(one)
    return found, names


def _looks(objective: Objective) -> bool:
    kind = kinds().get(objective.kind)
    if kind is not None and (kind.over_faults or kind.users == "faults"):
        return True
    phases = objective.spec.get("phases") or ()
    return any(str(phase).partition("[")[0] == FAULT for phase in phases)
