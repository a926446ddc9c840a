"""Taking faults back from outside, whoever broke them: its keeper is asked, another live run is
told to stop (it undoes everything, as at ctrl-C), and what a dead one left is replayed.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stormgate.evidence.write import Timeline
from stormgate.faults.hands.asking import NotKept, ask, keepers
from stormgate.faults.hands.standing import StandingFault
from stormgate.faults.ledger import going_on, open_entries
from stormgate.faults.pointers import Pointer
from stormgate.faults.restore import Only, restore
from stormgate.faults.state import Fate
from stormgate.model import Event
from stormgate.system.processes import signal_if_same

UNDO_S = 40.0
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was taken back and seen to be, and what was not, one line each."""

    undone: tuple[str, ...]
    failed: tuple[str, ...]


def withdraw(
    faults: Sequence[StandingFault],
    by: str,
    *,
    whole_runs: bool,
    say: Callable[[str], object] = str,
    deadline_s: float = UNDO_S,
) -> Withdrawn:
    """Take these back. A gate, or whatever else broke some of them and is no keeper, can only be
    stopped as a whole: without `whole_runs` that is a failure that says so. Never raises for what
    it finds.
    """
    undone: list[str] = []
    failed: list[str] = []
    end = time.monotonic() + deadline_s
    kept = {keeper.folder.resolve(): keeper for keeper in keepers()}
    for folder in dict.fromkeys(one.folder for one in faults):
        own = [one for one in faults if one.folder == folder]
        pointer = own[0].pointer
        keeper = kept.get(folder.resolve())
        if keeper is not None:
            try:
                question = {"op": "undo", "ids": [one.id for one in own], "by": by}
                reply = ask(keeper, question, say)
                failed += [str(line) for line in reply.get("failed", ())]
            except NotKept:
                pass  # it is ending, and undoes everything; looked at below
        elif pointer.fate is Fate.LIVE:
            if not whole_runs:
                failed.append(
                    f"{_names(own)}: broken by a run that lives ({pointer.owner}, {folder}); "
                    "stop that run, or stormgate halt"
                )
                continue
            _stop(pointer, by)
        elif pointer.fate is Fate.UNKNOWN:
            failed.append(
                f"{_names(own)}: broken from where nobody here can look ({pointer.owner}); "
                f"stop it there, or: stormgate restore {folder} --force"
            )
            continue
        done, left = _settle(own, pointer, end, say)
        undone += done
        failed += [line for line in left if line not in failed]
    return Withdrawn(tuple(undone), tuple(failed))


def _stop(pointer: Pointer, by: str) -> None:
    """The run's own stop, which takes everything back; its timeline says who asked."""
    with contextlib.suppress(OSError):
        Timeline(going_on(pointer.folder)).write(Event.CHAOS_WITHDRAWN, by=by)
    if pointer.owner is not None:
        with contextlib.suppress(PermissionError):
            signal_if_same(pointer.owner.pid, pointer.owner.start_ticks, signal.SIGTERM)


def _settle(
    own: Sequence[StandingFault], pointer: Pointer, end: float, say: Callable[[str], object]
) -> tuple[list[str], list[str]]:
    """Wait until a live run has taken them back; replay what a dead one left."""
    folder = own[0].folder
    while _open(folder, own) and time.monotonic() < end:
        if pointer.owner is None or pointer.owner.fate() is Fate.DEAD:
            only = Only(tuple({one.component for one in own}), tuple({one.fault for one in own}))
            report = restore(folder, max(end - time.monotonic(), 1.0), only=only, say=say)
            left = {one.id for one in _open(folder, own)}
            return _told(own, left), list(report.failed) if left else []
        time.sleep(_PAUSE_S)
    left = {one.id for one in _open(folder, own)}
    problems = [f"{_names([one])}: not undone in time" for one in own if one.id in left]
    return _told(own, left), problems


def _open(folder: Path, own: Iterable[StandingFault]) -> list[StandingFault]:
    """Those of them that are open still; all, where nobody can tell."""
    try:
        ids = {entry.instance for entry in open_entries(folder)}
    except (OSError, ValueError):
        return list(own)
    return [one for one in own if one.id in ids]


def _told(own: Sequence[StandingFault], left: set[str]) -> list[str]:
    return [_names([one]) for one in own if one.id not in left]


def _names(faults: Sequence[StandingFault]) -> str:
    return ", ".join(f"{one.component} ({one.mode})" for one in faults)
