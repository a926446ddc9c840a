"""What is broken on this machine now, fault by fault: what proves it, how old it is, who broke it,
and until when.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from stormgate.evidence.read import read_ndjson
from stormgate.evidence.undo import intents
from stormgate.evidence.write import TIMELINE, UNDO
from stormgate.faults.ledger import Entry, open_entries
from stormgate.faults.pointers import Pointer, pointers
from stormgate.faults.state import Fate
from stormgate.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingFault:
    """One fault that is not undone. `id` names it for `stormgate undo`; `since` and `until` are
    UTC, None where nobody knows; `proof` is what was seen of it from outside, empty while nobody
    has. `pointer` is its run.
    """

    id: str
    target: str
    fault: str
    component: str
    mode: str
    parts: tuple[str, ...]
    proof: tuple[str, ...]
    by: str
    since: datetime | None
    until: datetime | None
    folder: Path
    pointer: Pointer

    def age_s(self, now: datetime) -> float | None:
        """Seconds since it was about to be broken."""
        return None if self.since is None else max(0.0, (now - self.since).total_seconds())

    @property
    def kept(self) -> bool:
        """Whether the process that broke it lives, and takes it back itself."""
        return self.pointer.fate is Fate.LIVE


@dataclass(frozen=True, slots=True)
class StandingFaults:
    """Every open fault of this user on this machine, and the runs of which nobody can tell."""

    faults: tuple[StandingFault, ...]
    unknown: tuple[str, ...]


def standing_faults(target: str | None = None) -> StandingFaults:
    """See StandingFaults; of one target, or of all. Raises OSError when the state folder cannot be
    looked into.
    """
    found: list[StandingFault] = []
    unknown: list[str] = []
    for pointer in pointers(target):
        if pointer.problem:
            unknown.append(f"{pointer.path}: {pointer.problem}")
            continue
        try:
            entries = open_entries(pointer.folder)
        except (OSError, ValueError) as error:
            unknown.append(f"{pointer.target}: {pointer.folder}: {error}")
            continue
        if entries:
            found += _of_run(pointer, entries)
    return StandingFaults(tuple(found), tuple(unknown))


def _of_run(pointer: Pointer, entries: Iterable[Entry]) -> list[StandingFault]:
    rows, _ = read_ndjson(pointer.folder / TIMELINE)
    ledger, _ = read_ndjson(pointer.folder / UNDO)
    meant = intents(ledger)
    begun = {str(r.get("fault")): r for r in rows if r.get("event") == Event.CHAOS_BEGIN}
    seen = {str(r.get("id")): r for r in rows if r.get("event") == Event.FAULT_OBSERVED}
    found = []
    for instance, group in groupby(
        sorted(entries, key=lambda one: one.instance), key=lambda one: one.instance
    ):
        own = list(group)
        first = own[0]
        begin = begun.get(first.fault, {})
        found.append(
            StandingFault(
                id=instance,
                target=pointer.target,
                fault=first.fault,
                component=first.component,
                mode=first.asked,
                parts=tuple(entry.part.name for entry in own),
                proof=_saws(seen.get(instance, {})),
                by=str(begin.get("by") or pointer.owner or ""),
                since=_utc(meant.get(first.id, {}).get("utc")),
                until=_until(begin, seen.get(instance)),
                folder=pointer.folder,
                pointer=pointer,
            )
        )
    return sorted(found, key=lambda one: (one.since is None, one.since, one.id))


def _saws(observed: Mapping[str, Any]) -> tuple[str, ...]:
    proof = observed.get("proof")
    listed = proof if isinstance(proof, list) else []
    return tuple(
        f"{one.get('component')}: {one.get('saw')}" for one in listed if isinstance(one, Mapping)
    )


def _until(begin: Mapping[str, Any], observed: Mapping[str, Any] | None) -> datetime | None:
    """When it is taken back by itself: its time runs from when it was seen. The clock of the rows
    is this boot's.
    """
    for_s = begin.get("for_s")
    if observed is None or not isinstance(for_s, int | float):
        return None
    left_s = int(observed["at_ns"]) / 1e9 + for_s - time.monotonic()
    return datetime.now(UTC) + timedelta(seconds=left_s)


def _utc(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
