"""Ways to break things, one file each, found by being there: `backends/<name>.py` with a `BACKEND`.

A backend declares all that others ask of it (handle, modes and their parameters, hosts, how its
parts are seen, when they are gone): nobody else knows one by its name.

A backend separates planning from doing, so that the undo ledger can hold everything needed to take
a fault back *before* it exists. It never waits for an effect and never decides whether one is
proven: it looks once, and says what it saw.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from stormgate.faults.declared import CheckRow, Handle, Parameters, checked
from stormgate.faults.errors import CannotBreak
from stormgate.model import Component, Observe, Target
from stormgate.net.references import resolved

Params = Mapping[str, Any]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at whether something is so: `seen`, and in words what was there."""

    seen: bool
    saw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRequest:
    """Break this part this way. `token` is unique and goes into every name the backend makes."""

    part: Component
    mode: str
    params: Params
    token: str
    target: Target


class Backend:
    """What every backend offers; the defaults are those of most. All methods may be called from
    several threads, for different parts.
    """

    handle: type[Handle] = Handle
    """What its components need in a target document."""
    modes: ClassVar[Mapping[str, type[Parameters]]] = {}
    """The ways it can break a component, and what each may be told."""
    undo_stage: int = 0
    """Orders the undoing within one fault: lower first (links before the processes that start
    through them)."""
    in_targets: bool = True
    """Whether a target document may give a component to it."""
    of_parts: bool = False
    """Its components break through their `parts`, and have at least one; all others have none."""
    breaks_whole: bool = False
    """It alone breaks a component in every mode; a mode it does not offer is not looked for on the
    links that lead there."""

    proof_s: float = 0.0
    """How long an effect may take to be seen, where an action says nothing else."""
    undo_s: float = 0.0
    """How long undoing may take, until it is seen, where nobody says anything else."""

    refuses: ClassVar[Mapping[str, str]] = {}
    """Modes that somebody may well ask of it and that it cannot do, each with the reason and what
    comes nearest."""

    def modes_of(self, handle: Mapping[str, Any]) -> Mapping[str, type[Parameters]]:
        """The modes of the component with this handle, where not all have the same."""
        return self.modes

    def hosts(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        """The hosts it will contact for the component with this handle: each must be allowed."""
        return ()

    def programs(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        """The programs it starts for the component with this handle, beside those whose words stand
        in the handle: the gate at the socket cannot hold them.
        """
        return ()

    def observed_at(self, part: Component, target: Target) -> Observe | None:
        """Where the part is looked at from outside; None where only the backend itself can say.
        Raises CannotBreak.
        """
        return part.observe

    def called(self, part: Component, record: Record) -> Collection[str]:
        """By which names users' answers may call what a fault breaks, in a label; for the proof by
        users.
        """
        return ()

    def arrivals(self, part: Component) -> tuple[str, ...]:
        """The addresses (host:port) where the part's traffic arrives, for a look at its exposure;
        none where that is not known.
        """
        if part.observe is None:
            return ()
        try:
            return (resolved(part.observe.address, os.environ),)
        except KeyError:
            return ()

    def are_gone(self, parts: Sequence[Component]) -> bool:
        """Whether nothing is left of these parts that a fault could be in. Unknown is not gone."""
        return not parts

    def stands(self, part: Component) -> Observation | None:
        """Whether the platform that runs the part says that it is whole; None where none does. One
        look. Raises CannotBreak.
        """
        return None

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        """What `stormgate check` has to know of this component before a run: is it found, may it be
        broken in these `modes` (what the gate's experiments will ask of it; none: nothing), and is
        there what takes that back. Looks, or asks for a dry run, and changes nothing; each look
        within a few seconds. What it raises is shown as a row that is wrong. That its `observe`
        says healthy has been looked at already.
        """
        return ()

    def permissions(self, wanted: Sequence[tuple[Component, Collection[str]]]) -> str:
        """What breaking these components in these modes needs to be allowed, as the document that
        allows it where they run; "" where nobody has to allow anything. Asks nobody.
        """
        return ""

    def permissions_to_look(self, target: Target) -> str:
        """What finding what is left of a run (`left`) needs to be allowed beside that, as the
        document that allows it; "" where nobody has to allow anything. Asks nobody.
        """
        return ""

    def left(self, target: Target) -> Iterator[tuple[Component, Record, str | None]]:
        """What the system itself says is broken by a run of ours, in all places that the target's
        components name: the component and the record to undo, and who, still alive, holds that
        place. Raises CannotBreak, ValueError where it cannot be read.
        """
        return iter(())

    def plan(self, request: FaultRequest) -> Record:
        """Everything needed to apply and to undo, as JSON-ready data. Looks at the part, changes
        nothing.

        Raises CannotBreak (not this way), NotWhole (its state before could not be told from the
        fault).
        """
        raise NotImplementedError

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        """Break it; when `stop` is set, end early one way or the other. Raises NotApplied; then it
        may or may not be broken.
        """
        raise NotImplementedError

    def changed(self, part: Component, record: Record, params: Params) -> Record | None:
        """The record of the same fault with other parameters (complete, as `plan` gets them), for
        `apply` to change it in place while it stands, under what `undo` of the first one takes
        back as well. None where it has to be taken back and made anew.
        """
        return None

    def keep(self, part: Component, record: Record, *, standing: bool) -> str:
        """Make again what the fault stands in, where that was lost (a Toxiproxy that was restarted
        forgets its proxies), and the fault itself where it ought to be `standing`; what was done in
        words, "" for nothing. Raises NotApplied while that cannot be done.
        """
        return ""

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        """Take it back. Idempotent; also right for a record that was planned but never applied.
        Raises UndoFailed.
        """
        raise NotImplementedError

    def in_effect(self, part: Component, record: Record) -> Observation:
        """Look once, from outside, whether the fault has its effect."""
        raise NotImplementedError

    def is_whole(self, part: Component, record: Record) -> Observation:
        """Look once, from outside, whether nothing of the fault is left."""
        raise NotImplementedError


@functools.cache
def names() -> tuple[str, ...]:
    """The backends there are."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(__path__)))


@functools.cache
def get(name: str) -> Backend:
    """The backend of this name. Raises CannotBreak with the names there are."""
    if name not in names():
        raise CannotBreak(f"no backend {name!r} (there are {', '.join(names())})")
    backend = getattr(importlib.import_module(f"{__name__}.{name}"), "BACKEND", None)
    if not isinstance(backend, Backend):
        raise TypeError(f"faults/backends/{name}.py defines no BACKEND of type Backend")
    return backend


def writable() -> tuple[str, ...]:
    """The backends that a target document may name."""
    return tuple(name for name in names() if get(name).in_targets)


@functools.cache
def known_modes() -> tuple[str, ...]:
    """Every mode that some backend offers whatever the component; a handle may name more."""
    return tuple(sorted({mode for name in names() for mode in get(name).modes}))


def modes_of(part: Component) -> Mapping[str, type[Parameters]]:
    """The modes its backend offers for this component. Raises CannotBreak for no such backend."""
    return get(part.backend).modes_of(part.handle)


def parameters(part: Component, mode: str, params: Params) -> dict[str, Any]:
    """What the mode is told, held to its model. Raises CannotBreak for a mode or a value that does
    not fit.
    """
    offered = modes_of(part)
    if mode not in offered:
        raise CannotBreak(
            f"{part.name}: backend {part.backend!r} cannot {mode} (it can "
            f"{', '.join(sorted(offered)) or 'nothing by itself'})"
        )
    return checked(part.name, mode, offered[mode], params)
