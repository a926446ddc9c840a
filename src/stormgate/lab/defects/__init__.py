"""Known faults of design that can be planted in the lab: one per file, each a change to the
settings.

A file defines `SUMMARY` (one line) and `apply(settings) -> settings`; its name with dashes is the
defect's name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from stormgate.lab.design.settings import Settings
from stormgate.lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Defect:
    """One known fault of design."""

    name: str
    summary: str
    apply: Callable[[Settings], Settings]


def defects() -> dict[str, Defect]:
    """All defects by name, sorted."""
    found = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        name = info.name.replace("_", "-")
        found[name] = Defect(name, module.SUMMARY, module.apply)
    return found


def settings_with(defect: str | None) -> Settings:
    """The healthy settings, or those with the named defect planted. Raises LabError for an unknown
    name.
    """
    if defect is None:
        return Settings()
    known = defects()
    if defect not in known:
        raise LabError(f"no lab defect {defect!r}; there are: {', '.join(known)}")
    return known[defect].apply(Settings())
