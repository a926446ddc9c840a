"""Appending to a run folder from several processes at once, so that what was written survives a
kill -9 of the writer.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stormgate.model import Event
from stormgate.system import secrets

TIMELINE = "timeline.ndjson"
GENERATOR = "generator.ndjson"
READINGS = "readings.ndjson"
TRACES = "traces.ndjson"
MACHINE = "machine.ndjson"
UNDO = "undo.ndjson"
SURGE = "surge.ndjson"
# What `stormgate restore` does after a run was sealed: its ledger and timeline go on in here.
RESTORED = "restored"
# What joins rows with each other and with the plan: names out of documents.
JOINING = frozenset(
    ("event", "fault", "id", "phase", "worker", "component", "mode", "step", "by", "kind", "model")
) | {"probe", "population", "populations", "outcome"}


class Journal:
    """An append-only NDJSON file. Each row is one `write` on an O_APPEND descriptor, so rows of
    several processes never mix.

    No secret that this process knows is written (system/secrets.py).

    With `fsync` a row is on disk before `append` returns. Raises OSError when the row could not be
    written whole.
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self.path = path
        self._fsync = fsync
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def append(self, row: Mapping[str, Any]) -> None:
        row = secrets.redacted_data(row, keep=JOINING)
        data = (
            json.dumps(row, separators=(",", ":"), ensure_ascii=False, default=str).encode() + b"\n"
        )
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(
                f"{self.path}: only {written} of {len(data)} bytes of a row were written (disk "
                "full?)"
            )
        if self._fsync:
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Timeline(Journal):
    """timeline.ndjson of a run folder: `{at_ns, event, ...}`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / TIMELINE)

    def write(self, event: Event | str, /, *, at_ns: int | None = None, **fields: Any) -> int:
        """Append one event stamped now (or at `at_ns`) and return its time, CLOCK_MONOTONIC ns."""
        stamp = time.monotonic_ns() if at_ns is None else at_ns
        self.append({"at_ns": stamp, "event": str(event), **fields})
        return stamp
