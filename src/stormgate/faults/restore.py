"""Undoing from any process, after kill -9 of everything: replay a run's ledger, verify, and say
whether the target is whole.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from stormgate.evidence.write import UNDO
from stormgate.faults.context import Context, make_context
from stormgate.faults.errors import ChaosError, UndoFailed
from stormgate.faults.ledger import ledger_target, open_entries, pointers, unregister
from stormgate.faults.provisioned import WHY, is_gone, is_gone_soon
from stormgate.faults.undo import undo_all, void_entries
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
class OpenLedger:
    """A run on this machine whose faults are not all undone.

    `lost`: its ledger is gone or unreadable, and why. `owner`: the process that broke them, while
    it lives and may yet undo them.
    """

    target: str
    folder: Path
    open: tuple[str, ...]
    lost: str = ""
    owner: int | None = None


def restore(
    folder: Path, deadline_s: float = 30.0, *, whole_s: float | None = None
) -> RestoreReport:
    """Undo everything the run in `folder` left broken, verify it, and wait until the target is
    whole (`whole_s`, else the rest).

    Never raises for what it finds: the report says it. Idempotent. A folder without open entries is
    clean at once.
    """
    end = time.monotonic() + deadline_s
    try:
        entries, target = open_entries(folder), ledger_target(folder)
    except (OSError, ValueError) as error:
        return RestoreReport(
            folder=folder,
            failed=(f"{folder / UNDO} cannot be read: {error}",),
            why="the ledger cannot be read",
        )
    if not entries or target is None:
        if target is not None:
            unregister(target.name, folder)
        return RestoreReport(
            folder=folder, target=target.name if target else "", why="nothing was open"
        )
    try:
        context = make_context(target, folder, fault=entries[-1].fault, seed=0)
    except (ChaosError, OSError) as error:
        return RestoreReport(
            folder=folder,
            target=target.name,
            failed=(str(error),),
            why="the ledger cannot be replayed",
        )
    try:
        if is_gone_soon(target):
            void_entries(context, entries)
            return RestoreReport(folder=folder, target=target.name, void=True, why=WHY)
        undone = undo_all(context, deadline_s=max(end - time.monotonic(), 1.0))
    except UndoFailed as error:
        return RestoreReport(
            folder=folder, target=target.name, failed=tuple(str(error).split("; ")), why=str(error)
        )
    return _report_whole(
        context, undone, whole_s if whole_s is not None else max(end - time.monotonic(), 1.0)
    )


def open_ledgers(target_name: str | None = None) -> list[OpenLedger]:
    """Every run on this machine with open entries (for this target). A pointer whose run is all
    undone is forgotten.
    """
    found = []
    for pointer in pointers():
        name, folder = pointer.target, pointer.folder
        if target_name is not None and name != target_name:
            continue
        if not (folder / UNDO).exists():
            # registered, and then killed before the first intent (or not there yet): nothing was
            # broken
            if folder.is_dir():
                if pointer.owner is None:
                    unregister(name, folder)
            else:
                found.append(
                    OpenLedger(
                        name,
                        folder,
                        (),
                        lost=f"the run folder {folder} is gone, and with it what it had broken",
                    )
                )
            continue
        try:
            entries = open_entries(folder)
        except ValueError as error:
            found.append(OpenLedger(name, folder, (), lost=str(error)))
            continue
        if entries:
            broken = tuple(f"{entry.part.name} ({entry.mode})" for entry in entries)
            found.append(OpenLedger(name, folder, broken, owner=pointer.owner))
        elif pointer.owner is None:
            unregister(name, folder)
    return found


def _report_whole(context: Context, undone: list[str], deadline_s: float) -> RestoreReport:
    target = context.target
    if target.status_url is None:
        return RestoreReport(
            folder=context.folder,
            target=target.name,
            undone=tuple(undone),
            why="the target has no status_url",
        )
    status = wait_whole(target, deadline_s)
    if not status.reached and is_gone(target):  # it died while we were at it
        return RestoreReport(
            folder=context.folder, target=target.name, undone=tuple(undone), void=True, why=WHY
        )
    why = (
        "the target is whole"
        if status.whole
        else f"everything was undone, yet the target is not whole: {status.why}"
    )
    return RestoreReport(
        folder=context.folder, target=target.name, undone=tuple(undone), whole=status.whole, why=why
    )
