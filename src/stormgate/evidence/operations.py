"""What users did to data: the format of `operations/`, and its blocks as one history in columns.

`operations/<worker>.arrow` is what users wrote and read while the load ran, `final.arrow` what a
process of its own then read back, `planned.arrow` what that process set out to read. The meaning
of each column is in docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.arrow import Interner, buffer, numbers, valid, words

Array = NDArray[Any]
OPERATIONS_SCHEMA = "stormgate.operations/1"
OPERATIONS = "operations"
FINAL, PLANNED, RESIDENCY = "final", "planned", "residency.ndjson"
# Pairs of what changes data and what reads it: a register, a list, a bank, a counter.
KINDS = ("write", "read", "append", "list", "transfer", "balance", "add", "count")
WRITES = frozenset({"write", "append", "transfer", "add"})
OUTCOMES = ("ok", "fail", "info")
OK, FAIL, INFO = range(3)
# What a null version, value, snapshot or row is in a History: below every other.
NOTHING = -(1 << 63)
LONGEST_KEY, LONGEST_ERROR = 512, 200
_WORDS = ("session", "population", "region", "shard", "error")


def arrow_schema(worker: str, *, final: bool = False) -> Any:
    """The pyarrow schema of a worker's operations; with `final` that of final.arrow."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    fields = [
        pa.field("op", pa.uint64(), nullable=False),
        pa.field("kind", word, nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("version", pa.int64()),
        pa.field("session", word, nullable=final),
        *(pa.field(name, word) for name in ("population", "region", "shard")),
        pa.field("invoked_ns", pa.int64(), nullable=False),
        pa.field("completed_ns", pa.int64(), nullable=False),
        pa.field("outcome", word, nullable=False),
        pa.field("value", pa.int64()),
        pa.field("to", pa.string()),
        pa.field("snapshot", pa.uint64()),
        pa.field("error", word),
    ]
    if final:
        fields += [pa.field(name, word, nullable=False) for name in ("store", "phase")]
    return pa.schema(fields, metadata={"schema": OPERATIONS_SCHEMA, "worker": worker})


def planned_schema() -> Any:
    """The pyarrow schema of planned.arrow: one row per key and store to be read in the end."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    fields = [
        pa.field("key", pa.string(), nullable=False),
        pa.field("store", word, nullable=False),
        pa.field("kind", word, nullable=False),
    ]
    return pa.schema(fields, metadata={"schema": OPERATIONS_SCHEMA, "worker": PLANNED})


class Names:
    """The interners of a history: keys (and where transfers go) share one."""

    def __init__(self) -> None:
        self.keys = Interner()
        self.words: dict[str, Interner] = {}

    def __getitem__(self, column: str) -> Interner:
        if column in ("key", "to"):
            return self.keys
        return self.words.setdefault(column, Interner())

    def shown(self, column: str, code: int) -> str | None:
        """The word of a code; None for null."""
        return self[column].names[code] if code else None


class History:
    """Operations as columns, in the order they were read. Words are codes of `names` (0: null);
    `kind` and `outcome` are positions in KINDS and OUTCOMES; nulls of `version`, `value` and
    `snapshot` are NOTHING.
    """

    op: Array
    kind: Array
    key: Array
    version: Array
    session: Array
    population: Array
    region: Array
    shard: Array
    error: Array
    invoked_ns: Array
    completed_ns: Array
    outcome: Array
    value: Array
    to: Array
    snapshot: Array
    worker: Array
    store: Array
    phase: Array

    def __init__(self, names: Names, **columns: Array) -> None:
        self.names = names
        self._whole: History | None = None
        self._rows: Array = np.zeros(0, np.int64)
        self._count = len(columns["op"]) if columns else 0
        vars(self).update(columns)

    def __len__(self) -> int:
        return self._count

    def __getattr__(self, name: str) -> Array:
        """A column of some rows is taken when it is first asked for: most are not."""
        whole = vars(self).get("_whole")
        if whole is None or name not in COLUMNS:
            raise AttributeError(name)
        values: Array = vars(whole)[name][self._rows]
        vars(self)[name] = values
        return values

    def take(self, rows: Array) -> History:
        """The rows under a mask or of an index."""
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        some = History(self.names)
        some._count = len(rows)
        some._whole = self if self._whole is None else self._whole
        some._rows = rows if self._whole is None else self._rows[rows]
        return some

    def joined(self, other: History) -> History:
        """These rows, and those of another history of the same names."""
        columns = {n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in COLUMNS}
        return History(self.names, **columns)

    def of(self, *kinds: str) -> Array:
        """A mask of the rows of these kinds."""
        wanted = np.zeros(len(KINDS), bool)
        wanted[[KINDS.index(kind) for kind in kinds]] = True
        mask: Array = wanted[self.kind]
        return mask

    @property
    def ok(self) -> Array:
        mask: Array = self.outcome == OK
        return mask


_NUMBERS = ("version", "value", "snapshot")
COLUMNS = (
    *("op", "kind", "key", "version", *_WORDS, "invoked_ns", "completed_ns", "outcome"),
    *("value", "to", "snapshot", "worker", "store", "phase"),
)


@dataclass
class HistoryReader:
    """Blocks of operations in, one history out, each row held against the laws of the format.

    `problems` names what cannot be believed, `rows` counts what was read of each worker.
    `begin_ns` and `end_ns` are those of the run, where its timeline says.
    """

    names: Names = field(default_factory=Names)
    begin_ns: int | None = None
    end_ns: int | None = None
    problems: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def read(self, batches: Iterable[tuple[str, Any]], *, final: bool = False) -> History:
        """The history of some (worker, record batch). A block that does not fit is named and left
        out.
        """
        parts: dict[str, list[Array]] = {name: [] for name in COLUMNS}
        tables: dict[tuple[str, str], tuple[Any, Array]] = {}
        for worker, batch in batches:
            before = self.rows.get(worker, 0)
            self.rows[worker] = before + batch.num_rows
            if not batch.num_rows:
                continue
            try:
                columns = self._columns(worker, batch, tables, final=final)
            except (KeyError, ValueError, IndexError) as error:
                self._problem(f"{OPERATIONS} of {worker}: {error}")
                continue
            self._laws(worker, before, columns, final=final)
            for name, values in columns.items():
                parts[name].append(values)
        history = History(
            self.names,
            **{n: np.concatenate(v) if v else np.zeros(0, np.int64) for n, v in parts.items()},
        )
        self._unique(history)
        return history

    def planned(self, batches: Iterable[tuple[str, Any]]) -> tuple[Array, Array, Array]:
        """(key, store, kind) codes of what was to be read in the end."""
        found: list[tuple[Array, Array, Array]] = []
        tables: dict[tuple[str, str], tuple[Any, Array]] = {}
        for worker, batch in batches:
            try:
                key, store = (self._words(worker, batch, n, tables) for n in ("key", "store"))
                kind = self._fixed(worker, batch, "kind", KINDS, tables)
            except (KeyError, ValueError, IndexError) as error:
                self._problem(f"{OPERATIONS} of {worker}: {error}")
                continue
            if (key == 0).any() or (store == 0).any():
                self._problem(f"{OPERATIONS} of {worker}: a row without key or store")
            found.append((key, store, kind))
        empty = np.zeros(0, np.int32)
        if not found:
            return empty, empty, empty
        keys, stores, kinds = (np.concatenate(column) for column in zip(*found, strict=True))
        return keys, stores, kinds

    def _columns(
        self, worker: str, batch: Any, tables: dict[tuple[str, str], Any], *, final: bool
    ) -> dict[str, Array]:
        version = (batch.schema.metadata or {}).get(b"schema", b"none")
        if version != OPERATIONS_SCHEMA.encode():
            told = version.decode(errors="replace")
            raise ValueError(f"schema {told!r} is not {OPERATIONS_SCHEMA}")
        count = batch.num_rows
        columns: dict[str, Array] = {
            "op": numbers(batch, "op").astype(np.int64),
            "kind": self._fixed(worker, batch, "kind", KINDS, tables),
            "outcome": self._fixed(worker, batch, "outcome", OUTCOMES, tables),
            "invoked_ns": numbers(batch, "invoked_ns"),
            "completed_ns": numbers(batch, "completed_ns"),
            "worker": np.full(count, self.names["worker"].code(worker), np.int32),
        }
        for name in ("key", "to", *_WORDS):
            columns[name] = self._words(worker, batch, name, tables)
        for name in ("store", "phase"):
            columns[name] = (
                self._words(worker, batch, name, tables) if final else np.zeros(count, np.int32)
            )
        for name in _NUMBERS:
            values = numbers(batch, name, nullable=True).astype(np.int64)
            mask = valid(batch.column(batch.schema.get_field_index(name)))
            columns[name] = np.where(mask, values, NOTHING)
        return columns

    def _words(self, worker: str, batch: Any, name: str, tables: dict[Any, Any]) -> Array:
        """A string column as codes of the whole history. A dictionary that did not change since
        the worker's last block is not looked up again.
        """
        index = batch.schema.get_field_index(name)
        if index < 0:
            raise ValueError(f"column {name!r} is missing")
        column = words(name, batch.column(index))
        seen = tables.get((worker, name))
        if seen is None or not seen[0].equals(column.dictionary):
            code = self.names[name].code
            table = np.array([code(v) for v in column.dictionary.to_pylist()] or [0], np.int32)
            seen = tables[worker, name] = (column.dictionary, table)
        indices = column.indices
        values = buffer(indices)
        if indices.null_count == 0:
            codes: Array = seen[1][values]
            return codes
        mask = valid(indices)
        return np.where(mask, seen[1][np.where(mask, values, 0)], 0).astype(np.int32)

    def _fixed(
        self, worker: str, batch: Any, name: str, wanted: Sequence[str], tables: dict[Any, Any]
    ) -> Array:
        """A column whose words are those of the format, as positions among them. Raises
        ValueError for any other.
        """
        codes = self._words(worker, batch, name, tables)
        known = self.names[name].names
        place = np.array([wanted.index(w) if w in wanted else -1 for w in known], np.int8)
        place[0] = -1
        found: Array = place[codes]
        if (found < 0).any():
            odd = known[int(codes[int(np.argmin(found))])]
            raise ValueError(f"{name} {odd[:60]!r} is not one of {', '.join(wanted)}")
        return found

    def _laws(self, worker: str, before: int, c: dict[str, Array], *, final: bool) -> None:
        kinds = c["kind"]
        is_list = kinds == KINDS.index("list")
        versioned = kinds == KINDS.index("append")
        valued = np.isin(kinds, [KINDS.index(k) for k in ("transfer", "add")])
        told = (c["outcome"] == OK) & np.isin(kinds, [KINDS.index(k) for k in ("balance", "count")])
        transfer = kinds == KINDS.index("transfer")
        many = np.isin(kinds, [KINDS.index(k) for k in ("list", "balance")])
        broken = {
            "completed_ns is before invoked_ns": c["completed_ns"] < c["invoked_ns"],
            "key is null": c["key"] == 0,
            "an append without the element in version": versioned & (c["version"] == NOTHING),
            "a transfer or add without a value": valued & (c["value"] == NOTHING),
            "a transfer without a to": transfer & (c["to"] == 0),
            "a balance or count that was read without a value": told & (c["value"] == NOTHING),
            "a list or balance without a snapshot": many & (c["snapshot"] == NOTHING),
            "a snapshot of an operation that has none": ~many & (c["snapshot"] != NOTHING),
            "an element of a list without an ok": is_list
            & (c["outcome"] != OK)
            & (c["version"] != NOTHING),
        }
        if final:
            broken["store is null"] = c["store"] == 0
            broken["phase is null"] = c["phase"] == 0
            broken["a final read that writes"] = np.isin(kinds, [KINDS.index(k) for k in WRITES])
        else:
            broken["session is null"] = c["session"] == 0
        if self.begin_ns is not None:
            broken["invoked_ns is before the run began"] = c["invoked_ns"] < self.begin_ns
        if self.end_ns is not None:
            broken["completed_ns is after the run ended"] = c["completed_ns"] > self.end_ns
        for law, rows in broken.items():
            count = int(np.count_nonzero(rows))
            if count:
                row = before + int(np.argmax(rows))
                more = f" ({count:,} rows)" if count > 1 else ""
                self._problem(f"{OPERATIONS} of {worker}: row {row}: {law}{more}")

    def _unique(self, history: History) -> None:
        op, worker = history.op, history.worker
        order = np.lexsort((op, worker))
        same = (np.diff(op[order]) == 0) & (np.diff(worker[order]) == 0)
        if same.any():
            row = int(order[int(np.argmax(same))])
            name = self.names["worker"].names[int(worker[row])]
            self._problem(f"{OPERATIONS} of {name}: op {int(op[row])} stands there twice")

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)
