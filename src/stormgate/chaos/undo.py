"""Taking back: newest fault first, each verified from outside before the ledger closes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stormgate.chaos import backends
from stormgate.chaos.context import Context
from stormgate.chaos.errors import ChaosError, UndoFailed
from stormgate.chaos.gone import WHY, is_gone
from stormgate.chaos.ledger import Entry, open_entries
from stormgate.chaos.proof import wait_for
from stormgate.model import Event

UNDO_S = 30.0
_STRETCH_S = 2.0
_THREADS = 24


def undo_entries(context: Context, entries: Sequence[Entry], deadline_s: float = UNDO_S) -> list[str]:
    """Undo these entries, those of them that are still open. Returns what was undone, in words.

    Every one is tried, whatever happens to the others. Raises UndoFailed listing all that could not be undone or verified;
    they stay in the ledger. Idempotent, and safe beside another undo of the same entries.
    """
    wanted = {entry.id for entry in entries}
    done, failed = [], []
    end = time.monotonic() + deadline_s
    with context.lock:
        still_open = [entry for entry in open_entries(context.folder) if entry.id in wanted]
        for batch in _newest_first(still_open):
            for name, problems in _undo_batch(context, batch, end):
                failed += problems
                done += [] if problems else [name]
        context.ledger.close_if_empty()
    if failed:
        raise UndoFailed("; ".join(failed))
    return done


def undo_all(context: Context, *, fault: str | None = None, deadline_s: float = UNDO_S) -> list[str]:
    """Undo everything that is open in this run's ledger, or only what one fault broke. See `undo_entries`."""
    found = [entry for entry in open_entries(context.folder) if fault is None or entry.fault == fault]
    return undo_entries(context, found, deadline_s)


def undo_instances(context: Context, instances: Iterable[str], deadline_s: float = UNDO_S) -> list[str]:
    """Undo what these injections broke. See `undo_entries`."""
    wanted = set(instances)
    return undo_entries(context, [entry for entry in open_entries(context.folder) if entry.instance in wanted], deadline_s)


def still_open(folder: Path, fault: str | None = None) -> list[str]:
    """What is still broken, in words."""
    return [f"{entry.part.name} ({entry.mode})" for entry in open_entries(folder) if fault is None or entry.fault == fault]


def _newest_first(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries by what was broken at once, the last first. A batch was written together."""
    return [list(group) for _, group in groupby(reversed(list(entries)), key=lambda entry: entry.batch)]


def void_entries(context: Context, entries: Sequence[Entry]) -> None:
    """Close entries of a target that is gone: nothing was undone, for there is nothing left."""
    with context.lock:
        context.ledger.void(entries, WHY)
        for instance in dict.fromkeys(entry.instance for entry in entries):
            context.timeline.write(Event.FAULT_CLEARED, **_about(entries, instance), void=True, why=WHY)
        context.ledger.close_if_empty()


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of undoing one entry: seen to be whole (`saw`), `problem`, or void because the target itself is gone."""

    saw: str = ""
    problem: str | None = None
    void: bool = False


def _undo_batch(context: Context, batch: Sequence[Entry], end: float) -> list[tuple[str, list[str]]]:
    """Undo all of a batch at once, stage by stage; per fault in it, its name and what went wrong."""
    results: dict[str, _Result] = {}
    for stage in sorted({backends.get(entry.part.backend).undo_stage for entry in batch}):
        own = [entry for entry in batch if backends.get(entry.part.backend).undo_stage == stage]
        with ThreadPoolExecutor(max_workers=min(_THREADS, len(own))) as pool:
            for entry, result in zip(own, pool.map(lambda entry: _undo_one(context, entry, end), own), strict=True):
                results[entry.id] = result
                if result.void:
                    context.ledger.void([entry], WHY)
                elif result.problem is None:
                    context.ledger.undone(entry, result.saw)
    found = []
    for instance in dict.fromkeys(entry.instance for entry in batch):
        entries = [entry for entry in batch if entry.instance == instance]
        problems = [problem for entry in entries if (problem := results[entry.id].problem) is not None]
        about = _about(batch, instance)
        if problems:
            context.timeline.write(Event.FAULT_UNDO_FAILED, **about, why="; ".join(problems))
        elif any(results[entry.id].void for entry in entries):
            context.timeline.write(Event.FAULT_CLEARED, **about, void=True, why=WHY)
        else:
            seen = [{"component": entry.part.name, "saw": results[entry.id].saw} for entry in entries]
            context.timeline.write(Event.FAULT_CLEARED, **about, proof=seen)
        found.append((f"{entries[0].component} ({entries[0].asked})", problems))
    return found


def _about(entries: Sequence[Entry], instance: str) -> dict[str, Any]:
    first = next(entry for entry in entries if entry.instance == instance)
    return {"fault": first.fault, "component": first.component, "mode": first.asked, "id": instance}


def _undo_one(context: Context, entry: Entry, end: float) -> _Result:
    """Tried again until `end`: a server may be busy dying or starting."""
    backend = backends.get(entry.part.backend)
    waiter = threading.Event()
    while True:
        left = max(end - time.monotonic(), 0.1)
        try:
            backend.undo(entry.part, entry.record, left)
        except ChaosError as error:
            if is_gone(context.target):
                return _Result(void=True)
            if time.monotonic() >= end or waiter.wait(0.2):
                return _Result(problem=f"{entry.part.name} ({entry.mode}): {error}")
            continue
        while True:
            # In short stretches: a lab that dies meanwhile will never be whole again, and is not worth the whole wait.
            seen, _ = wait_for(
                lambda: backend.is_whole(entry.part, entry.record), min(max(end - time.monotonic(), 0.0), _STRETCH_S)
            )
            if seen.seen:
                return _Result(saw=seen.saw)
            if is_gone(context.target):
                return _Result(void=True)
            if time.monotonic() >= end:
                break
        return _Result(problem=f"{entry.part.name} ({entry.mode}): undone, but not seen to be: {seen.saw}")
