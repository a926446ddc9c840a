"""What stores said of keys, as rows of final.arrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormgate.evidence.operation_files import FinalFile
from stormgate.supervise.stores import KeyRead, StoreReader

_FLUSH_ROWS = 2000
_MANY = frozenset({"list", "balance"})


class FinalRows:
    """Reads of keys as rows of final.arrow (docs/evidence.md): a list has a row for each element,
    all accounts of one answer share its snapshot.
    """

    def __init__(self, file: FinalFile, read_as: Mapping[str, str], phase: str) -> None:
        self._file = file
        self._read_as = read_as
        self._phase = phase
        self._snapshots: dict[tuple[str, int], int] = {}

    def add(self, reader: StoreReader, one: KeyRead) -> None:
        """One key of one store."""
        kind = self._read_as[one.key]
        common: dict[str, Any] = {
            "region": reader.store.region,
            "invoked_ns": one.invoked_ns,
            "completed_ns": one.completed_ns,
            "outcome": one.outcome,
            "error": one.error,
            "store": reader.store.name,
            "phase": self._phase,
        }
        if kind in ("count", "balance") and one.error is None and len(one.values) != 1:
            # No value is no answer: nobody may take it for zero.
            why = f"{len(one.values)} values where one is wanted"
            common |= {"outcome": "fail", "error": why}
        ok = common["outcome"] == "ok"
        if kind == "list":
            first = self._file.rows + 1
            for value in (one.values if ok else ()) or (None,):
                self._file.add(kind, one.key, version=value, snapshot=first, **common)
        elif kind == "read":
            version = max(one.values, default=None) if ok else None
            self._file.add(kind, one.key, version=version, **common)
        else:
            value = one.values[0] if ok else None
            shared = (reader.store.name, one.answer if ok else -self._file.rows - 1)
            snapshot = self._snapshots.setdefault(shared, self._file.rows + 1)
            named = {"snapshot": snapshot} if kind in _MANY else {}
            self._file.add(kind, one.key, value=value, **named, **common)
        if self._file.rows % _FLUSH_ROWS == 0:
            self._file.flush()
