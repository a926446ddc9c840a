"""Ways to break things, one file each, found by being there: `backends/<name>.py` with a `BACKEND`.

A backend separates planning from doing, so that the undo ledger can hold everything needed to take
a fault back *before* it exists. It never waits for an effect and never decides whether one is
proven: it looks once, and says what it saw.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stormgate.faults.errors import CannotBreak
from stormgate.model import Component, Target

Params = Mapping[str, Any]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at whether something is so: `seen`, and in words what was there."""

    seen: bool
    saw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Break this part this way. `token` is unique and goes into every name the backend makes."""

    part: Component
    mode: str
    params: Params
    token: str
    target: Target


class Backend(Protocol):
    """What every backend offers. All methods may be called from several threads, for different
    parts.

    `undo_stage` orders the undoing within one fault: lower first (links before the processes that
    start through them).
    """

    modes: frozenset[str]
    undo_stage: int

    def plan(self, request: Request) -> Record:
        """Everything needed to apply and to undo, as JSON-ready data. Looks at the part, changes
        nothing.

        Raises CannotBreak (not this way), NotWhole (its state before could not be told from the
        fault).
        """

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        """Break it; when `stop` is set, end early one way or the other. Raises NotApplied; then it
        may or may not be broken.
        """

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        """Take it back. Idempotent; also right for a record that was planned but never applied.
        Raises UndoFailed.
        """

    def in_effect(self, part: Component, record: Record) -> Observation:
        """Look once, from outside, whether the fault has its effect."""

    def is_whole(self, part: Component, record: Record) -> Observation:
        """Look once, from outside, whether nothing of the fault is left."""


@functools.cache
def names() -> tuple[str, ...]:
    """The backends there are."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(__path__)))


@functools.cache
def get(name: str) -> Backend:
    """The backend of this name. Raises CannotBreak with the names there are."""
    if name not in names():
        raise CannotBreak(
            f"no backend {name!r} (there are {', '.join(names())}); `group` components break "
            "through their parts"
        )
    backend: Backend = importlib.import_module(f"{__name__}.{name}").BACKEND
    return backend
