"""Known faults of design that can be planted in the lab, one per file, here or in a folder below.
Healthy code knows none of them.

A file defines `SUMMARY` (one line), its name with dashes is the defect's name, and it does one or
more of three things, by what it defines:

- `settings(settings) -> settings`: other time limits and sizes;
- `layout(layout) -> layout`: other links or processes;
- `PROGRAMS = {kind: start}`: another program in a role, usually the healthy one with a method of
  its class replaced (`start(config)` as in services/serving.py).

`FOUND_BY` names the kinds of objective that ought to find it; `stormgate detect` counts a gate that
failed by another kind alone as not having found it. A defect without it waits for its objective.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.lab.design.layout import Layout
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.errors import LabError
from stormgate.lab.kinds import kinds
from stormgate.lab.services.serving import Start

_DOES = ("settings", "layout", "PROGRAMS")


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Defect:
    """One known fault of design; what it leaves alone stays as it is."""

    name: str
    summary: str
    settings: Callable[[LabSettings], LabSettings] = _same
    layout: Callable[[Layout], Layout] = _same
    programs: Mapping[str, Start] = field(default_factory=dict)
    found_by: tuple[str, ...] = ()


def _modules() -> dict[str, str]:
    """The module of each defect, by its name; a folder is a room of them."""
    found = pkgutil.walk_packages(__path__, f"{__name__}.")
    return {
        info.name.rpartition(".")[2].replace("_", "-"): info.name
        for info in found
        if not info.ispkg
    }


def names() -> list[str]:
    """The defects there are."""
    return sorted(_modules())


def planted(name: str | None) -> Defect:
    """The named defect, or one that changes nothing. Raises LabError for an unknown name."""
    if name is None:
        return Defect("none", "the healthy lab")
    where = _modules()
    if name not in where:
        raise LabError(f"no lab defect {name!r}; there are: {', '.join(names())}")
    module = importlib.import_module(where[name])
    done = {what.lower(): getattr(module, what) for what in _DOES if hasattr(module, what)}
    if not done:
        raise LabError(f"lab defect {name!r} changes nothing: it needs one of {', '.join(_DOES)}")
    return Defect(name, module.SUMMARY, **done, found_by=getattr(module, "FOUND_BY", ()))


def defects() -> dict[str, Defect]:
    """All defects by name, sorted."""
    return {name: planted(name) for name in names()}


def programs(defect: str | None) -> dict[str, Start]:
    """Every kind's program, those of the named defect in the place of the healthy ones. Raises
    LabError for an unknown name, or a program in a role that the lab does not have.
    """
    own = planted(defect).programs
    roles = {kind.name: kind.program for kind in kinds().values() if kind.program is not None}
    if strange := sorted(set(own) - set(roles)):
        raise LabError(f"lab defect {defect!r} has a program for {strange[0]!r}, which is no role")
    return {role: own.get(role) or _load(path) for role, path in roles.items()}


def _load(path: str) -> Start:
    module, _, attribute = path.partition(":")
    start: Start = getattr(importlib.import_module(module), attribute)
    return start
