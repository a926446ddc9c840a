"""The undo ledger: what was broken and how to take it back, on disk before anything is broken
(write-ahead, fsynced).

`undo.ndjson` of the run folder, rows `{step, id, ...}`:
  target    {target}: the whole resolved target, so that the file can be replayed without anything
            else
  intent    {entry}: about to break this; `record` is all the backend needs to do it and to take it
            back
  applied   {id}: the backend says it is done
  undone    {id, saw}: taken back, and seen to be
  void      {id, why}: nothing is left to undo (the target itself is gone)
An entry is open from its intent to its undone or void. A pointer to each run with open entries lies
in this machine's state folder (stormgate.faults.pointers).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stormgate.evidence.manifest import MANIFEST
from stormgate.evidence.read import read_ndjson, read_regular
from stormgate.evidence.undo import intents, open_intents
from stormgate.evidence.write import RESTORED, UNDO
from stormgate.faults import pointers, trust
from stormgate.faults.hands.halt import not_halted
from stormgate.model import Component, Target, from_json, to_json
from stormgate.system import secrets
from stormgate.system.files import sync_folder
from stormgate.system.secrets import redacted_data

SCHEMA = "stormgate.undo/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that is (about to be) broken.

    Entries of one `instance` are one fault in the timeline; those of one `batch` were broken at
    once and are undone at once. `component` and `asked` are what the experiment asked to break and
    how; `part` and `mode` what that came to here.
    """

    id: str
    instance: str
    batch: str
    fault: str
    component: str
    asked: str
    part: Component
    mode: str
    record: Mapping[str, Any]


class Ledger:
    """Writes one run's ledger. Safe from several threads; other processes may append to the same
    file.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder = folder.resolve()
        self.target = target
        self._path = going_on(self.folder) / UNDO
        self._lock = threading.Lock()

    def intend(self, entries: Sequence[Entry]) -> None:
        """Durable before this returns; only then may anything be broken. Raises OSError, and
        Halted while somebody's order to halt stands: then nothing may.
        """
        with not_halted():
            self._intend(entries)

    def _intend(self, entries: Sequence[Entry]) -> None:
        # In this order, each durable before the next: whatever is killed or deleted when, either a
        # ledger says what was broken, or the pointer says that a ledger is missing.
        pointers.register(self.target.name, self.folder)
        rows: list[Mapping[str, Any]] = []
        if not self._path.exists():
            pointers.remember(self.target)
            rows.append({"step": "target", "schema": SCHEMA, "target": to_json(self.target)})
        rows += [
            {"step": "intent", "id": entry.id, "utc": _utc(), "entry": _entry_json(entry)}
            for entry in entries
        ]
        self._append(rows)
        pointers.register(self.target.name, self.folder, [entry.id for entry in entries])

    def applied(self, entries: Iterable[Entry]) -> None:
        self._append([{"step": "applied", "id": entry.id, "utc": _utc()} for entry in entries])

    def undone(self, entry: Entry, saw: str, **more: str) -> None:
        told = redacted_data({"saw": saw, **more})
        self._append([{"step": "undone", "id": entry.id, "utc": _utc(), **told}])

    def void(self, entries: Iterable[Entry], why: str) -> None:
        self._append(
            [{"step": "void", "id": entry.id, "utc": _utc(), "why": why} for entry in entries]
        )

    def close_if_empty(self) -> None:
        """Forget the pointer when nothing is open any more."""
        if not open_entries(self.folder) and doubt(self.folder) is None:
            pointers.unregister(self.target.name, self.folder)

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        with self._lock:
            fresh = not self._path.exists()
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
            try:
                # Each row's digest follows the last one's, whichever process wrote that.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._write(descriptor, rows)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if fresh:
                sync_folder(self.folder)

    def _write(self, descriptor: int, rows: Sequence[Mapping[str, Any]]) -> None:
        before, lines = trust.last_mac(_read(self.folder)), []
        for row in rows:
            whole = trust.sealed(row, before)
            before = str(whole[trust.MAC])
            lines.append(json.dumps(whole, separators=(",", ":"), ensure_ascii=False) + "\n")
        data = "".join(lines).encode()
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data  # a writer died inside its row: ours must not be glued to it
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(
                f"{self._path}: only {written} of {len(data)} bytes were written (disk full?)"
            )


def fold(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """The open entries of a ledger's rows, oldest first. A row that makes no sense closes
    nothing.
    """
    return [_entry_from(row["entry"]) for row in open_intents(rows).values()]


def going_on(folder: Path) -> Path:
    """Where the ledger and the timeline of a run are written now: a sealed folder is not changed
    any more, and what is done afterwards stands in a folder of its own in it.
    """
    return folder / RESTORED if (folder / MANIFEST).exists() else folder


def _read(folder: Path) -> list[dict[str, Any]]:
    """The rows of a ledger and of what was done after its run was sealed. Raises ValueError for
    files that cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for path in (folder / UNDO, folder / RESTORED / UNDO):
        try:
            read_regular(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
        found, problems = read_ndjson(path)
        if not found and any("cannot be read" in problem for problem in problems):
            raise ValueError(f"{path}: {problems[0]}")
        rows += found
    return rows


def _rows(folder: Path) -> list[dict[str, Any]]:
    """A ledger's rows; none where there is no ledger. Raises ValueError when it cannot be read or
    lacks an intent: what is not known to be undone is not undone. A torn row is no harm by itself:
    a fault is injected only after its intent was written whole.
    """
    path = folder / UNDO
    rows = _read(folder)
    intended = set(intents(rows))
    lost = [str(row.get("id")) for row in rows if row.get("step") == "applied"]
    lost = [name for name in lost if name not in intended]
    if lost:
        raise ValueError(
            f"{path}: {lost[0]} was applied, and the row that says what it was is lost"
        )
    return rows


def intended_in(folder: Path) -> set[str]:
    """The ids of all that this run ever meant to break. Raises ValueError."""
    return set(intents(_rows(folder)))


def open_entries(folder: Path) -> list[Entry]:
    """What is still broken by the run in this folder, oldest first. Raises ValueError when the
    ledger makes no sense, or lacks what this machine knows to have been meant.
    """
    try:
        rows = _rows(folder)
        lost = pointers.intended(folder) - set(intents(rows))
        if lost:
            raise ValueError(
                f"{folder / UNDO}: the rows of {len(lost)} faults that this run was about to "
                f"inject are lost ({', '.join(sorted(lost)[:3])})"
            )
        return fold(rows)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / UNDO}: not an undo ledger ({error})") from error


def doubt(folder: Path) -> str | None:
    """Why this folder's ledger is not this user's own, from this machine; None when it is, or when
    there is none. Raises ValueError when it cannot be read.
    """
    return trust.doubt(rows) if (rows := _rows(folder)) else None


def ever_broken(folder: Path, fault: str) -> bool:
    """Whether this trial ever meant to break anything, undone or not."""
    rows = _rows(folder)
    return any(row["entry"].get("fault") == fault for row in intents(rows).values())


def ever_asked(folder: Path, fault: str) -> dict[str, str]:
    """What this trial was asked to break, undone or not: by its own name and by that of each of its
    parts.
    """
    found: dict[str, str] = {}
    for row in intents(_rows(folder)).values():
        entry = _entry_from(row["entry"])
        if entry.fault == fault:
            found.setdefault(entry.part.name, entry.component)
            found[entry.component] = entry.component
    return found


def ledger_target(folder: Path) -> Target | None:
    """The target a ledger was written for; None when nothing was ever intended."""
    for row in _rows(folder):
        if row.get("step") == "target":
            return from_json(Target, row["target"])
    return None


def _entry_json(entry: Entry) -> dict[str, Any]:
    record = secrets.without_secrets(dict(entry.record))
    return {**asdict(entry), "part": to_json(entry.part), "record": record}


def _entry_from(data: Mapping[str, Any]) -> Entry:
    return Entry(**{**data, "part": from_json(Component, data["part"])})


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
