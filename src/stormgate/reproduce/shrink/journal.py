"""What a search tried, line by line on disk: one that was stopped goes on where it stood."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormgate.reproduce.shrink.case import Case
from stormgate.reproduce.shrink.decide import Trying

JOURNAL = "shrink.ndjson"
SCHEMA = "stormgate.shrink/1"


class OtherSearchError(ValueError):
    """The journal is of another search; the message says of what."""


class ShrinkJournal:
    """The tries of one search. The first line says of which: `of` is whatever must be the same for
    a try to count. Raises OtherSearchError for one of another, OSError.
    """

    def __init__(self, path: Path, of: Mapping[str, Any]) -> None:
        self._path = path
        self._tries: dict[str, list[Trying]] = {}
        self.resumed = 0
        head = json.loads(json.dumps({"schema": SCHEMA, **of}))
        rows = _rows(path)
        if rows and rows[0] != head:
            told = json.dumps({k: v for k, v in rows[0].items() if head.get(k) != v})
            raise OtherSearchError(f"{path} is of another search: {told[:200]}")
        for row in rows[1:]:
            # What could not be decided before may be now: only answers count.
            if row.get("outcome") in (Trying.FAILS, Trying.HOLDS):
                self._tries.setdefault(str(row["case"]), []).append(Trying(row["outcome"]))
                self.resumed += 1
        if not rows:
            path.unlink(missing_ok=True)
            self._append(head)

    def tries(self, case: Case) -> list[Trying]:
        """Of a case, oldest first."""
        return list(self._tries.get(case.key, ()))

    def tried(self, case: Case, what: Trying, step: str) -> None:
        """Keep one, durably."""
        self._tries.setdefault(case.key, []).append(what)
        row = {"case": case.key, "step": step, "outcome": what.value}
        self._append(row)

    def _append(self, row: Mapping[str, Any]) -> None:
        with self._path.open("ab") as file:
            # A line that a kill cut off must not swallow this one.
            torn = file.tell() > 0 and not _ends_whole(self._path)
            file.write(b"\n" * torn + json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _rows(path: Path) -> list[dict[str, Any]]:
    """Every whole row; a line that is none is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
