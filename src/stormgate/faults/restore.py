"""Undoing from any process, after kill -9 of everything: replay a run's ledger, verify, and say
whether the target is whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stormgate.evidence.read import read_ndjson
from stormgate.evidence.write import TIMELINE, UNDO
from stormgate.faults import ledger
from stormgate.faults.admit import admitted
from stormgate.faults.context import Context, make_context
from stormgate.faults.errors import ChaosError, UndoFailed
from stormgate.faults.ledger import Entry, intended_in, ledger_target, open_entries
from stormgate.faults.pointers import Pointer, forget_moved, pointers, unregister
from stormgate.faults.provisioned import WHY, is_gone, is_gone_soon
from stormgate.faults.state import Fate
from stormgate.faults.undo import undo_entries, void_entries
from stormgate.model import Event, Target
from stormgate.net.allow import AllowList
from stormgate.net.guard import holding
from stormgate.net.references import know_secrets
from stormgate.net.status import wait_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restore came to.

    `void`: nothing was left to undo, for the lab of this run is gone with its processes. `whole`:
    what the target says of itself afterwards; None when it cannot say or nothing had been open.
    """

    folder: Path
    target: str = ""
    undone: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    void: bool = False
    whole: bool | None = None
    why: str = ""

    @property
    def clean(self) -> bool:
        """Everything is undone and seen to be, and the target does not say otherwise. False is the
        verdict DIRTY.
        """
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What someone has to look at, one line each; empty when clean."""
        return (*self.failed, *((self.why,) if self.whole is False else ()))


@dataclass(frozen=True, slots=True)
class Only:
    """A choice among what is open: components, by their own names or as part of one that was asked
    for (a region), and faults, by the names the gate gives them. Empty: any.
    """

    components: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def chooses(self, entry: Entry) -> bool:
        """Whether an entry is meant."""
        return (not self.faults or entry.fault in self.faults) and (
            not self.components or bool({entry.part.name, entry.component} & set(self.components))
        )

    def __str__(self) -> str:
        return ", ".join((*self.components, *(f"fault {name}" for name in self.faults)))


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """A run on this machine whose faults are not all undone.

    `lost`: its ledger is gone or unreadable, and why. `doubt`: nothing is open by a ledger that is
    not what this user wrote. `owner`: the process that broke them, unless
    it is known to be dead; it may yet undo them. `pointer`: what this machine remembers of it.
    """

    target: str
    folder: Path
    open: tuple[str, ...]
    lost: str = ""
    doubt: str = ""
    owner: str | None = None
    pointer: Pointer | None = None


def restore(
    folder: Path,
    deadline_s: float = 30.0,
    *,
    whole_s: float | None = None,
    trust: bool = False,
    present: Target | None = None,
    only: Only | None = None,
    say: Callable[[str], object] = str,
) -> RestoreReport:
    """Undo everything the run in `folder` left broken, verify it, and wait until the target is
    whole (`whole_s`, else the rest).

    `only`: undo what it chooses and nothing else; what stays open is a problem of the report.
    `trust`: play a ledger that is not this user's own, too. `present`: undo with the commands and
    addresses that the target's document has today. `say` is told within seconds what is stuck.
    Never raises for what it finds: the report says it. Idempotent. A folder without open entries is
    clean at once.
    """
    end = time.monotonic() + deadline_s
    opened = look_into(folder, trust=trust, present=present)
    if isinstance(opened, RestoreReport):
        return opened
    report = RestoreReport(folder=folder, target=opened.context.target.name)
    context, entries = opened.context, opened.entries
    chosen = [entry for entry in entries if only is None or only.chooses(entry)]
    left = tuple(f"still open: {_words(entry)}" for entry in entries if entry not in chosen)
    if not chosen:
        return replace(report, failed=left, why=f"nothing is open of {only}")
    # Also where a ledger's own record names another address than its target does.
    with holding(AllowList(context.target.allow)):
        try:
            if is_gone_soon(context.target):
                void_entries(context, entries)
                return replace(report, void=True, why=WHY)
            undone = undo_entries(context, chosen, max(end - time.monotonic(), 1.0), say)
        except UndoFailed as error:
            failed = (*str(error).split("; "), *left)
            return replace(report, failed=failed, why=str(error))
        except (OSError, ValueError) as error:
            return replace(report, failed=(f"{folder}: {error}",), why="the ledger cannot be kept")
        if left:
            why = f"{len(left)} more of this run are still broken"
            return replace(report, undone=tuple(undone), failed=left, why=why)
        forget(folder, context.target.name)
        left_s = whole_s if whole_s is not None else max(end - time.monotonic(), 1.0)
        return report_whole(context, replace(report, undone=tuple(undone)), left_s)


def _words(entry: Entry) -> str:
    return f"{entry.part.name} ({entry.mode}) of fault {entry.fault}"


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger with open entries that may be played."""

    context: Context
    entries: list[Entry]


def look_into(folder: Path, *, trust: bool, present: Target | None) -> Opened | RestoreReport:
    """The open entries of a run, as they may be played; or the report, when there are none or they
    may not.
    """
    report = RestoreReport(folder=folder)
    try:
        entries, target, intended = open_entries(folder), ledger_target(folder), intended_in(folder)
        doubt = None if trust else ledger.doubt(folder)
    except (OSError, ValueError) as error:
        return replace(
            report,
            failed=(f"{folder / UNDO} cannot be read: {error}",),
            why="the ledger cannot be read",
        )
    if lost := _lost_faults(folder, intended):
        return replace(
            report,
            failed=(f"{TIMELINE} names faults that {UNDO} does not know: {', '.join(lost)}",),
            why="the ledger is incomplete",
        )
    if doubt is not None:
        # Also one with nothing open: that is what it says, and it is not ours.
        told = f"{folder / UNDO}: {doubt}; look at what it would run, then: --trust"
        return replace(report, failed=(told,), why="the ledger is not known to be this user's own")
    if not entries or target is None:
        if target is not None:
            forget(folder, target.name)
            report = replace(report, target=target.name)
        told = f"{len(intended)} in {UNDO}, all closed" if intended else f"no fault in {UNDO}"
        return replace(report, why=f"nothing was open ({told})")
    know_secrets(target, os.environ)
    try:
        own = ledger.doubt(folder) is None
        entries, target = admitted(entries, target, own=own, present=present)
        context = make_context(target, folder, fault=entries[-1].fault, seed=0)
    except (ChaosError, OSError, ValueError) as error:
        return replace(
            report,
            target=target.name,
            failed=(str(error),),
            why="the ledger cannot be replayed",
        )
    return Opened(context, entries)


def forget(folder: Path, target_name: str) -> None:
    """Forget the pointer of a run of which nothing is open, wherever its folder lay before."""
    unregister(target_name, folder)
    forget_moved(intended_in(folder))


def open_ledgers(target_name: str | None = None) -> list[OpenLedger]:
    """Every run on this machine with open entries (for this target), and every one of which nobody
    can tell. A pointer whose run is all undone is forgotten. Raises OSError when the state folder
    cannot be looked into.
    """
    found = []
    for pointer in pointers(target_name):
        if pointer.problem:
            told = f"{pointer.path}: {pointer.problem}"
            found.append(
                OpenLedger(pointer.path.parent.name, pointer.path, (), lost=told, pointer=pointer)
            )
            continue
        name, folder = pointer.target, pointer.folder
        owner = str(pointer.owner) if pointer.fate is not Fate.DEAD else None
        try:
            entries = open_entries(folder)
            doubt = ledger.doubt(folder)
        except (OSError, ValueError) as error:
            gone = f"the run folder {folder} is gone, and with it what it had broken"
            why = str(error) if folder.is_dir() else gone
            found.append(OpenLedger(name, folder, (), lost=why, owner=owner, pointer=pointer))
            continue
        if entries:
            broken = tuple(f"{entry.part.name} ({entry.mode})" for entry in entries)
            found.append(OpenLedger(name, folder, broken, owner=owner, pointer=pointer))
        elif doubt is not None:
            told = f"{folder / UNDO} says that nothing is open, and {doubt}"
            found.append(OpenLedger(name, folder, (), doubt=told, owner=owner, pointer=pointer))
        elif owner is None:
            pointer.forget()
    return found


def _lost_faults(folder: Path, intended: set[str]) -> list[str]:
    """The faults that the timeline saw requested, and never cleared, while the ledger holds
    nothing at all.
    """
    if intended:
        return []
    rows, _ = read_ndjson(folder / TIMELINE)
    cleared = {row.get("id") for row in rows if row.get("event") == Event.FAULT_CLEARED}
    return [
        f"{row.get('component')} ({row.get('mode')})"
        for row in rows
        if row.get("event") == Event.FAULT_REQUESTED and row.get("id") not in cleared
    ]


def report_whole(context: Context, report: RestoreReport, deadline_s: float) -> RestoreReport:
    """The report with what the target says of itself within `deadline_s`."""
    target = context.target
    if target.status_url is None:
        return replace(report, why="the target has no status_url")
    status = wait_whole(target, deadline_s)
    if not status.reached and is_gone(target):  # it died while we were at it
        return replace(report, void=True, why=WHY)
    why = (
        "the target is whole"
        if status.whole
        else f"everything was undone, yet the target is not whole: {status.why}"
    )
    return replace(report, whole=status.whole, why=why)
