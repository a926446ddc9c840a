"""Taking back: newest fault first, each verified from outside before the ledger closes it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stormgate.faults import backends
from stormgate.faults.context import Context
from stormgate.faults.errors import ChaosError, UndoFailed
from stormgate.faults.ledger import Entry, open_entries
from stormgate.faults.proof import wait_for
from stormgate.faults.provisioned import WHY, is_gone
from stormgate.model import Event
from stormgate.system.secrets import with_secrets

UNDO_S = 30.0
TELL_S = 3.0
_LOOK_S = 2.0
# What each gets at least, past the deadline if need be: one that hangs takes it from no other.
_LEAST_S = 2.0
_AGAIN_S = 0.2
_THREADS = 24


def undo_entries(
    context: Context,
    entries: Sequence[Entry],
    deadline_s: float = UNDO_S,
    say: Callable[[str], object] = str,
) -> list[str]:
    """Undo these entries, those of them that are still open. Returns what was undone, in words.

    In passes, newest first, until `deadline_s`: what cannot be undone at once is tried again after
    everything else has had its turn, so that a dead server of links keeps no process down. What is
    not undone after TELL_S is told at once, in the timeline and to `say`. Raises UndoFailed listing
    all that could not be undone or seen to be; they stay in the ledger.
    Idempotent, and safe beside another undo of the same entries.
    """
    context.watch.end(entry.id for entry in entries)
    done: list[str] = []
    failed: list[str] = []
    if deadline_s == UNDO_S:
        deadline_s = max([UNDO_S, *(_patience_s(entry) for entry in entries)])
    end = time.monotonic() + deadline_s
    stuck = {entry.id: "no answer yet" for entry in entries}
    with _telling(context, entries, stuck, say), context.lock:
        still = {entry.id for entry in open_entries(context.folder)}
        for name in stuck.keys() - still:
            del stuck[name]
        pending = _newest_first(entry for entry in entries if entry.id in still)
        while pending:
            results = {
                result.entry.id: result
                for batch in pending
                for result in _try_batch(context, batch, end, stuck)
            }
            last = time.monotonic() + _AGAIN_S >= end
            pending = [
                left
                for batch in pending
                if (left := _settle(context, batch, results, done, failed if last else None))
            ]
            if last:
                break
            if pending:
                time.sleep(_AGAIN_S)
        context.ledger.close_if_empty()
    if failed:
        raise UndoFailed("; ".join(failed))
    return done


def undo_all(
    context: Context, *, fault: str | None = None, deadline_s: float = UNDO_S
) -> list[str]:
    """Undo everything that is open in this run's ledger, or only what one fault broke. See
    `undo_entries`.
    """
    found = [
        entry for entry in open_entries(context.folder) if fault is None or entry.fault == fault
    ]
    return undo_entries(context, found, deadline_s)


def undo_instances(
    context: Context, instances: Iterable[str], deadline_s: float = UNDO_S
) -> list[str]:
    """Undo what these injections broke. See `undo_entries`."""
    wanted = set(instances)
    return undo_entries(
        context,
        [entry for entry in open_entries(context.folder) if entry.instance in wanted],
        deadline_s,
    )


def still_open(folder: Path, fault: str | None = None) -> list[str]:
    """What is still broken, in words."""
    return [
        f"{entry.part.name} ({entry.mode})"
        for entry in open_entries(folder)
        if fault is None or entry.fault == fault
    ]


def _newest_first(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries by what was broken at once, the last first. A batch was written together."""
    return [
        list(group) for _, group in groupby(reversed(list(entries)), key=lambda entry: entry.batch)
    ]


def void_entries(context: Context, entries: Sequence[Entry]) -> None:
    """Close entries of a target that is gone: nothing was undone, for there is nothing left."""
    with context.lock:
        context.ledger.void(entries, WHY)
        for instance in dict.fromkeys(entry.instance for entry in entries):
            first = next(entry for entry in entries if entry.instance == instance)
            _tell(context, Event.FAULT_CLEARED, first, void=True, why=WHY)
        context.ledger.close_if_empty()


def tell_cleared(
    context: Context, entries: Sequence[Entry], saws: Mapping[str, str], **more: str
) -> None:
    """Say in the timeline that one fault is over; `saws`: what was seen, by the id of the entry."""
    proof = [{"component": entry.part.name, "saw": saws[entry.id]} for entry in entries]
    _tell(context, Event.FAULT_CLEARED, entries[0], proof=proof, **more)


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of one try at an entry: seen to be whole (`saw`), `problem`, or void because the
    target itself is gone.
    """

    entry: Entry
    saw: str = ""
    problem: str | None = None
    void: bool = False


@contextlib.contextmanager
def _telling(
    context: Context,
    entries: Sequence[Entry],
    stuck: Mapping[str, str],
    say: Callable[[str], object],
) -> Iterator[None]:
    """Tell after TELL_S what of the entries is `stuck` then (by id, and why), unless all is over by
    then. By a thread: whoever undoes may be waiting for somebody who does not answer.
    """

    def tell() -> None:
        left = dict(stuck)
        for entry in entries:
            if entry.id in left:
                why = f"{entry.part.name} ({entry.mode}), after {TELL_S:g} s: {left[entry.id]}"
                _tell(context, Event.FAULT_UNDO_PENDING, entry, why=why)
                say(f"still not undone: {why}")

    timer = threading.Timer(TELL_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _try_batch(
    context: Context, batch: Sequence[Entry], end: float, stuck: dict[str, str]
) -> list[_Result]:
    """One try at all of a batch, stage by stage, at once within a stage; `stuck` loses what is
    over.
    """

    def attempt(entry: Entry) -> _Result:
        result = _recorded(context, _try(context, entry, end))
        if result.problem is None:
            stuck.pop(entry.id, None)
        else:
            stuck[entry.id] = result.problem
        return result

    found: list[_Result] = []
    for stage in sorted({_stage(entry) for entry in batch}):
        own = [entry for entry in batch if _stage(entry) == stage]
        with ThreadPoolExecutor(max_workers=min(_THREADS, len(own))) as pool:
            found += pool.map(attempt, own)
    return found


def _settle(
    context: Context,
    batch: Sequence[Entry],
    results: Mapping[str, _Result],
    done: list[str],
    failed: list[str] | None,
) -> list[Entry]:
    """Tell which faults of a batch are over, and return the entries of those that are not; with
    `failed`, give those up.
    """
    left: list[Entry] = []
    for instance in dict.fromkeys(entry.instance for entry in batch):
        own = [results[entry.id] for entry in batch if entry.instance == instance]
        first = own[0].entry
        problems = [result.problem for result in own if result.problem is not None]
        if not problems:
            void = any(result.void for result in own)
            proof = [{"component": result.entry.part.name, "saw": result.saw} for result in own]
            _tell(
                context,
                Event.FAULT_CLEARED,
                first,
                **({"void": True, "why": WHY} if void else {"proof": proof}),
            )
            done.append(f"{first.component} ({first.asked})")
        elif failed is not None:
            _tell(context, Event.FAULT_UNDO_FAILED, first, why="; ".join(problems))
            failed += problems
        left += [result.entry for result in own if result.problem is not None]
    return left


def _recorded(context: Context, result: _Result) -> _Result:
    """Close the entry. A ledger that cannot be written (a full disk) must not keep the rest from
    being undone.
    """
    entry = result.entry
    try:
        if result.void:
            context.ledger.void([entry], WHY)
        elif result.problem is None:
            context.ledger.undone(entry, result.saw)
    except OSError as error:
        return _Result(
            entry,
            problem=f"{entry.part.name} ({entry.mode}): undone, but the ledger cannot say so: "
            f"{error}",
        )
    return result


def _tell(context: Context, event: Event, first: Entry, **more: Any) -> None:
    """A row about one fault. Undoing goes on when it cannot be written; the ledger is what
    counts.
    """
    about: dict[str, Any] = {
        "fault": first.fault,
        "component": first.component,
        "mode": first.asked,
        "id": first.instance,
    }
    with contextlib.suppress(OSError):
        context.timeline.write(event, **about, **more)


def _patience_s(entry: Entry) -> float:
    try:
        return backends.get(entry.part.backend).undo_s
    except ChaosError:
        return 0.0  # of a version that had this backend; undoing it will say so


def _stage(entry: Entry) -> int:
    try:
        return backends.get(entry.part.backend).undo_stage
    except ChaosError:
        return 0  # written by a version that had this backend; undoing it will say so


def _try(context: Context, entry: Entry, end: float) -> _Result:
    """Never raises: the others have to be undone, too."""
    name = f"{entry.part.name} ({entry.mode})"
    try:
        record = with_secrets(entry.record, os.environ)
    except KeyError as error:
        why = f"undoing it needs the secret ${{{error.args[0]}}}, which is not set here: export it"
        return _Result(entry, problem=f"{name}: {why}")
    try:
        backend = backends.get(entry.part.backend)
        backend.undo(entry.part, record, max(end - time.monotonic(), _LEAST_S))
        look_s = min(max(end - time.monotonic(), 0.0), _LOOK_S)
        seen, _ = wait_for(lambda: backend.is_whole(entry.part, record), look_s)
    except Exception as error:
        kind = "" if isinstance(error, ChaosError) else f"{type(error).__name__}: "
        problem = f"{name}: {kind}{error}"
    else:
        if seen.seen:
            return _Result(entry, saw=seen.saw)
        problem = f"{name}: undone, but not seen to be: {seen.saw}"
    # A lab that has died meanwhile will never be whole again, and is not worth the whole wait.
    return _Result(entry, void=True) if is_gone(context.target) else _Result(entry, problem=problem)
