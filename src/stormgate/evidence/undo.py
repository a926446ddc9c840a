"""What a run's undo ledger says, row by row: what was meant to be broken, and what is still open.

`undo.ndjson` holds rows `{step, id, ...}` with the steps `intent`, `applied`, `undone` and `void`
(docs/evidence.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]


def intents(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows that say what was about to be broken, by id, the first of each, oldest first."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.get("step") == "intent":
            found.setdefault(str(row.get("id")), row)
    return found


def open_intents(rows: Iterable[Row]) -> dict[str, Row]:
    """Those that are neither undone nor void. A row that makes no sense closes nothing."""
    rows = list(rows)
    closed = {str(row.get("id")) for row in rows if row.get("step") in ("undone", "void")}
    return {name: row for name, row in intents(rows).items() if name not in closed}
