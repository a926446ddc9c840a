"""Samples as rows of packed bytes while the engine runs, and as Arrow blocks a few times a second.

A row costs one `struct.pack`; everything else happens per block, on columns.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stormgate.evidence.schema import COMMON_LABELS, SAMPLES_SCHEMA
from stormgate.model import Outcome
from stormgate.system.secrets import redacted

OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_UNSENT = -1
_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("intended_ns", "q", "<i8"),
    ("sent_ns", "q", "<i8"),
    ("done_ns", "q", "<i8"),
    ("request", "Q", "<u8"),
    ("series", "I", "<u4"),
    ("bytes_in", "I", "<u4"),
    ("status", "H", "<u2"),
    ("attempt", "B", "|u1"),
    ("outcome", "B", "|u1"),
)


def array_column(
    values: NDArray[Any], kind: pa.DataType, null: NDArray[np.bool_] | None = None
) -> pa.Array:
    """A column from its buffers: `pa.array` imports pandas on first use, a second in which nothing
    could be sent.
    """
    validity = (
        None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little").tobytes())
    )
    return pa.Array.from_buffers(
        kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))]
    )


class Words:
    """A growing dictionary column: word to code, in order of first use."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words: list[str] = list(words)
        self._codes = {word: code for code, word in enumerate(self.words)}
        self._array: pa.Array | None = None

    def code(self, word: str) -> int:
        """The code of a word. Raises TypeError for what is none."""
        code = self._codes.get(word)
        if code is None:
            if not isinstance(word, str):
                raise TypeError(f"a word of a sample is a string, not a {type(word).__name__}")
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        return code

    def column(
        self, codes: NDArray[Any], null: NDArray[np.bool_] | None = None
    ) -> pa.DictionaryArray:
        indices = array_column(codes.astype(np.int32), pa.int32(), null)
        return pa.DictionaryArray.from_arrays(indices, self._dictionary())

    def _dictionary(self) -> pa.Array:
        if self._array is None or len(self._array) != len(self.words):
            # Half of a character cannot be written: it must not keep all else from being.
            encoded = [word.encode(errors="backslashreplace") for word in self.words]
            offsets = np.zeros(len(encoded) + 1, np.int32)
            np.cumsum([len(word) for word in encoded], out=offsets[1:])
            buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(encoded))]
            self._array = pa.Array.from_buffers(pa.string(), len(encoded), buffers)
        return self._array


class Recorder:
    """Rows of the block being filled, and how to make an Arrow record batch of them.

    `labels` are the label columns after the core ones. `pack` takes intended_ns, sent_ns (-1:
    never), done_ns, request, series, bytes_in, status, attempt, outcome code, then one code per
    label of `observed` (0: unknown).
    """

    def __init__(self, worker: str, observed: Sequence[str] = ()) -> None:
        self.worker = worker
        self.observed = tuple(observed)
        self.labels = (
            *COMMON_LABELS,
            *(name for name in self.observed if name not in COMMON_LABELS),
        )
        codes = "".join(code for _, code, _ in _FIELDS) + "I" * len(self.observed)
        self.pack: Callable[..., bytes] = struct.Struct("<" + codes).pack
        self.dtype = np.dtype(
            [(name, kind) for name, _, kind in _FIELDS]
            + [(f"label:{name}", "<u4") for name in self.observed]
        )
        self.rows: list[bytes] = []
        self._bulk: list[NDArray[Any]] = []
        self.label_words = {name: Words() for name in self.labels}
        self._populations = Words()
        self._routes = Words()
        self._ops = Words(("read", "write"))
        self._series: dict[tuple[str, str, str, str], int] = {}
        self.series: list[tuple[str, str, str, str]] = []
        self._series_codes: list[tuple[int, int, int]] = []
        self._defaults: list[tuple[int, ...]] = []
        self._known: dict[str, Mapping[str, str]] = {}
        self.schema = self._schema()

    def _schema(self) -> pa.Schema:
        word = pa.dictionary(pa.int32(), pa.string())
        fields = [
            pa.field("intended_ns", pa.int64(), nullable=False),
            pa.field("sent_ns", pa.int64()),
            pa.field("done_ns", pa.int64(), nullable=False),
            pa.field("population", word, nullable=False),
            pa.field("route", word, nullable=False),
            pa.field("op", word, nullable=False),
            pa.field("request", pa.uint64(), nullable=False),
            pa.field("attempt", pa.uint8(), nullable=False),
            pa.field("status", pa.uint16(), nullable=False),
            pa.field("bytes_in", pa.uint32(), nullable=False),
            pa.field("outcome", word, nullable=False),
            *(pa.field(name, word) for name in self.labels),
        ]
        return pa.schema(fields, metadata={"schema": SAMPLES_SCHEMA, "worker": self.worker})

    def know(self, population: str, labels: Mapping[str, str]) -> None:
        """Labels of a population's samples where a response gives none. Call before its first
        series.
        """
        self._known[population] = labels

    def series_code(self, population: str, route: str, method: str, op: str) -> int:
        """The code that stands for a row's population, route, method and op."""
        key = (population, route, method, op)
        code = self._series.get(key)
        if code is None:
            shown = self._routes.code(redacted(route))
            codes = self._populations.code(population), shown, self._ops.code(op)
            code = self._series[key] = len(self.series)
            self.series.append(key)
            self._series_codes.append(codes)
            known = self._known.get(population, {})
            self._defaults.append(
                tuple(self.label_code(n, known[n]) if n in known else 0 for n in self.labels)
            )
        return code

    def label_code(self, label: str, value: str) -> int:
        """A label value's code for `pack`; 0 is kept for unknown."""
        return self.label_words[label].code(redacted(value)) + 1

    def add_unsent(
        self, intended_ns: NDArray[np.int64], series: NDArray[Any], first_request: int, now_ns: int
    ) -> None:
        """Rows of arrivals that were dropped in bulk, without running their flows."""
        block = np.zeros(len(intended_ns), self.dtype)
        block["intended_ns"] = intended_ns
        block["sent_ns"] = _UNSENT
        block["done_ns"] = now_ns
        block["request"] = np.arange(first_request, first_request + len(block), dtype=np.uint64)
        block["series"] = series
        block["attempt"] = 1
        block["outcome"] = CODE[Outcome.NOT_SENT]
        self._bulk.append(block)

    def take(self) -> NDArray[Any]:
        """The rows gathered since the last call, and forget them."""
        rows = np.frombuffer(b"".join(self.rows), self.dtype)
        self.rows.clear()  # the engine holds this list's append
        if self._bulk:
            rows = np.concatenate([rows, *self._bulk])
            self._bulk = []
        return rows

    def batch(self, rows: NDArray[Any]) -> pa.RecordBatch:
        """Rows of `take` as a record batch of `schema`."""
        series = rows["series"]
        population, route, op = np.array(self._series_codes, np.int32).reshape(-1, 3)[series].T
        defaults = np.array(self._defaults, np.int64).reshape(-1, len(self.labels))
        columns = [
            array_column(rows["intended_ns"], pa.int64()),
            array_column(rows["sent_ns"], pa.int64(), rows["sent_ns"] == _UNSENT),
            array_column(rows["done_ns"], pa.int64()),
            self._populations.column(population),
            self._routes.column(route),
            self._ops.column(op),
            array_column(rows["request"], pa.uint64()),
            array_column(rows["attempt"], pa.uint8()),
            array_column(rows["status"], pa.uint16()),
            array_column(rows["bytes_in"], pa.uint32()),
            _OUTCOME_WORDS.column(rows["outcome"]),
        ]
        for position, name in enumerate(self.labels):
            codes = defaults[series, position]
            if name in self.observed:
                seen = rows[f"label:{name}"].astype(np.int64)
                codes = np.where(seen > 0, seen, codes)
            columns.append(self.label_words[name].column(np.maximum(codes - 1, 0), codes == 0))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


_OUTCOME_WORDS = Words([outcome.value for outcome in OUTCOMES])


class BlockStream:
    """An Arrow IPC stream cut into blocks: each `write` returns the bytes of one block, the schema
    going before the first.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._parts: list[bytes] = []
        self.closed = False
        self._writer = pa.ipc.new_stream(pa.PythonFile(self, mode="w"), schema)

    # The file the writer writes to.
    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts = []
        return data

    def block(self, batch: pa.RecordBatch) -> bytes:
        self._writer.write_batch(batch)
        return self.take()

    def end(self) -> bytes:
        """The end-of-stream marker."""
        self._writer.close()
        return self.take()


class BlockFile:
    """`samples/<worker>.arrow` (or another room of a run folder): whole blocks appended, so it
    reads up to the last one after a kill -9.
    """

    def __init__(self, folder: Path, worker: str, room: str = "samples") -> None:
        """Raises FileExistsError rather than mixing two runs' samples."""
        (folder / room).mkdir(parents=True, exist_ok=True)
        self._file = (folder / room / f"{worker}.arrow").open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def close(self) -> None:
        self._file.close()
