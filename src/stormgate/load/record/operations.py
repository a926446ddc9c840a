"""What users did to data, noted by their flows in one call each: rows of packed bytes while the
engine runs, Arrow blocks a few times a second (docs/data-safety.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stormgate.evidence.operations import (
    FAIL,
    INFO,
    KINDS,
    LONGEST_KEY,
    NOTHING,
    OK,
    OUTCOMES,
    arrow_schema,
)
from stormgate.load.record.recorder import Recorder, Words, array_column
from stormgate.model import Outcome
from stormgate.system.secrets import redacted

if TYPE_CHECKING:
    from stormgate.load.flow import Reply

_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("version", "q", "<i8"),
    ("value", "q", "<i8"),
    ("invoked_ns", "q", "<i8"),
    ("completed_ns", "q", "<i8"),
    ("snapshot", "q", "<i8"),
    ("session", "I", "<u4"),
    ("region", "I", "<u4"),
    ("shard", "I", "<u4"),
    ("status", "H", "<u2"),
    ("kind", "B", "|u1"),
    ("ended", "B", "|u1"),
    ("outcome", "B", "|u1"),
)
_pack = struct.Struct("<" + "".join(code for _, code, _ in _FIELDS)).pack
_DTYPE = np.dtype([(name, kind) for name, _, kind in _FIELDS])
_WRITE, _READ, _APPEND, _LIST, _TRANSFER, _BALANCE, _ADD, _COUNT = range(len(KINDS))
_ENDS = {outcome: code for code, outcome in enumerate(Outcome)}
# Not a byte of these reached anybody who could have done it.
_NEVER = {Outcome.NOT_SENT, Outcome.REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.DNS, Outcome.TLS}
_WRITTEN = {o: OK if o is Outcome.OK else FAIL if o in _NEVER else INFO for o in Outcome}
_OK = Outcome.OK
# A refusal in so many words; a time-out of the server's own (408, 499) may have done it all the
# same.
_REFUSED = frozenset(range(400, 500)) - {408, 499}


class OperationLog:
    """The operations of a worker's users since the last block.

    `recorder` is that of the worker's samples, whose words for regions and shards are these, too.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.worker = recorder.worker
        self.schema = arrow_schema(recorder.worker)
        self.rows: list[bytes] = []
        self.keys: list[str] = []
        self.to: dict[int, str] = {}
        self._recorder = recorder
        self._places = tuple(
            recorder.observed.index(name) if name in recorder.observed else -1
            for name in ("served_by", "shard")
        )
        self._sessions = Words()
        self._populations = Words()
        self._of_session: list[tuple[int, int, int]] = []
        self._errors = Words()
        self._taken = 0

    @property
    def next_op(self) -> int:
        """The op of the row that is noted next."""
        return self._taken + len(self.rows) + 1

    def begin_session(self, population: str, labels: Mapping[str, str]) -> int:
        """The code of a new session; `labels` are the facts known of its population."""
        code = len(self._of_session)
        self._sessions.code(f"{self.worker}/{code}")
        region, shard = (
            self._recorder.label_code(name, labels[name]) if name in labels else 0
            for name in ("served_by", "shard")
        )
        self._of_session.append((self._populations.code(population), region, shard))
        return code

    def note(
        self,
        kind: int,
        key: str,
        version: int | None,
        reply: Reply,
        value: int | None,
        session: int,
        snapshot: int = NOTHING,
    ) -> None:
        """One row. Raises TypeError for what is no key, version or value."""
        ended = reply.outcome
        if ended is _OK:
            outcome = OK
        elif kind & 1:  # what reads has changed nothing
            outcome = FAIL
        else:
            outcome = _WRITTEN[ended]
            if ended is Outcome.BAD_STATUS and reply.status in _REFUSED:
                outcome = FAIL
            if outcome == FAIL and reply.tried_again:  # nobody knows of the attempts before
                outcome = INFO
        if type(key) is not str or not key:
            raise TypeError(f"a key is a string of some length, not {key!r:.60}")
        region = shard = 0
        if (labels := reply.labels) is not None:
            at, shard_at = self._places
            if at >= 0:
                region = labels[at]
            if shard_at >= 0:
                shard = labels[shard_at]
        try:
            row = _pack(
                NOTHING if version is None else version,
                NOTHING if value is None else value,
                reply.intended_ns,
                reply.done_ns,
                snapshot,
                session,
                region,
                shard,
                reply.status,
                kind,
                _ENDS[ended],
                outcome,
            )
        except struct.error:
            raise TypeError(
                f"version and value are integers of 64 bits or None, not {version!r:.40} "
                f"and {value!r:.40}"
            ) from None
        self.rows.append(row)
        self.keys.append(key)

    def take(self, offset_ns: int = 0) -> pa.RecordBatch | None:
        """The rows since the last call as a record batch of `schema`, `offset_ns` later, and
        forget them; None: none.
        """
        if not self.rows:
            return None
        rows = np.frombuffer(b"".join(self.rows), _DTYPE)
        keys, to, first = self.keys[:], self.to, self._taken + 1
        self._taken += len(rows)
        if offset_ns:
            rows = rows.copy()
            for column in ("invoked_ns", "completed_ns"):
                rows[column] += offset_ns
        self.rows.clear()
        self.keys.clear()
        self.to = {}
        return self._batch(rows, keys, to, first)

    def _batch(
        self, rows: NDArray[np.void], keys: list[str], to: dict[int, str], first: int
    ) -> pa.RecordBatch:
        recorder, sessions = self._recorder, rows["session"]
        population, region, shard = np.array(self._of_session, np.int64)[sessions].T
        place = {
            name: np.where(rows[name] > 0, rows[name].astype(np.int64), known)
            for name, known in (("region", region), ("shard", shard))
        }
        words = {"region": "served_by", "shard": "shard"}
        going = [to.get(at, "") for at in range(len(rows))] if to else None
        columns = {
            "op": array_column(np.arange(first, first + len(rows), dtype=np.uint64), pa.uint64()),
            "kind": _KIND_WORDS.column(rows["kind"]),
            "key": _strings(keys),
            "session": self._sessions.column(sessions),
            "population": self._populations.column(population),
            "outcome": _OUTCOME_WORDS.column(rows["outcome"]),
            "to": pa.nulls(len(rows), pa.string()) if going is None else _strings(going),
            "error": self._error(rows),
        }
        for name, codes in place.items():
            known = recorder.label_words[words[name]]
            columns[name] = known.column(np.maximum(codes - 1, 0), codes == 0)
        for name in ("invoked_ns", "completed_ns"):
            columns[name] = array_column(rows[name], pa.int64())
        for name in ("version", "value"):
            columns[name] = array_column(rows[name], pa.int64(), rows[name] == NOTHING)
        snapshot = rows["snapshot"]
        columns["snapshot"] = array_column(
            snapshot.astype(np.uint64), pa.uint64(), snapshot == NOTHING
        )
        return pa.RecordBatch.from_arrays(
            [columns[f] for f in self.schema.names], schema=self.schema
        )

    def _error(self, rows: NDArray[np.void]) -> pa.DictionaryArray:
        """Why operations were not ok: the outcome of the request, and the status."""
        ended, status = rows["ended"].astype(np.int64), rows["status"].astype(np.int64)
        wrong = ended != _ENDS[_OK]
        codes = np.zeros(len(rows), np.int64)
        for row in np.flatnonzero(wrong).tolist():
            told = _ENDED[int(ended[row])]
            codes[row] = self._errors.code(f"{told} {status[row]}" if status[row] else told)
        return self._errors.column(codes, ~wrong)


_KIND_WORDS = Words(KINDS)
_OUTCOME_WORDS = Words(OUTCOMES)
_ENDED = [outcome.value for outcome in Outcome]


def _strings(texts: list[str]) -> pa.Array:
    """A column of strings, without what is secret in them, each cut to its most. An empty one is
    null.
    """
    joined = "\0".join(texts)
    if joined != redacted(joined):
        texts = [redacted(text) for text in texts]
    lengths = np.fromiter(map(len, texts), np.int32, len(texts))
    if lengths.max() > LONGEST_KEY:
        texts = [text[:LONGEST_KEY] for text in texts]
    data = "".join(texts).encode(errors="backslashreplace")
    if not joined.isascii() or lengths.max() > LONGEST_KEY:
        encoded = (len(text.encode(errors="backslashreplace")) for text in texts)
        lengths = np.fromiter(encoded, np.int32, len(texts))
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    null = lengths == 0
    validity = pa.py_buffer(np.packbits(~null, bitorder="little").tobytes()) if null.any() else None
    buffers = [validity, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


class Operations:
    """The part of a session that notes what its user did to data: call one of these with each
    reply that wrote or read something, first thing after the `yield`, whatever came of it.

    A reply that is not ok is noted as `fail` where certainly nothing was done, else as `info`.
    All raise TypeError for keys that are no strings, or numbers that are no integers of 64 bits.
    """

    _log: OperationLog | None = None
    _session = 0

    def notes_into(self, log: OperationLog, population: str, labels: Mapping[str, str]) -> None:
        """Note operations in `log` from now on; without one they are dropped."""
        self._log, self._session = log, log.begin_session(population, labels)

    def wrote(self, key: str, version: int | None, reply: Reply, value: int | None = None) -> None:
        """`version` of `key` was written (None: the server gives it, and nobody knows it).
        `value`: a number that tells this content from any other.
        """
        if (log := self._log) is not None:
            log.note(_WRITE, key, version, reply, value, self._session)

    def read(self, key: str, version: int | None, reply: Reply, value: int | None = None) -> None:
        """`key` was read and had `version` (None: it is not there)."""
        if (log := self._log) is not None:
            log.note(_READ, key, version, reply, value, self._session)

    def appended(self, key: str, element: int, reply: Reply) -> None:
        """`element`, a number that the list `key` gets once at most, was appended."""
        if (log := self._log) is not None:
            log.note(_APPEND, key, element, reply, None, self._session)

    def listed(self, key: str, elements: Iterable[int], reply: Reply) -> None:
        """The list `key` was read and holds `elements`, in this order."""
        if (log := self._log) is not None:
            first = log.next_op
            held = tuple(elements) if reply.outcome is _OK else ()
            for element in held or (None,):
                log.note(_LIST, key, element, reply, None, self._session, first)

    def transferred(self, account: str, to: str, amount: int, reply: Reply) -> None:
        """`amount` went from one account of a bank `to` another."""
        if (log := self._log) is not None:
            if type(to) is not str or not to:
                raise TypeError(f"a key is a string of some length, not {to!r:.60}")
            log.note(_TRANSFER, account, None, reply, amount, self._session)
            log.to[len(log.rows) - 1] = to

    def balances(self, accounts: Mapping[str, int], reply: Reply) -> None:
        """The accounts of a bank were read, all in one answer, and hold so much. Where the answer
        was not ok, the accounts asked for, with any numbers.
        """
        if (log := self._log) is not None:
            first, is_ok = log.next_op, reply.outcome is _OK
            for account, balance in accounts.items():
                value = balance if is_ok else None
                log.note(_BALANCE, account, None, reply, value, self._session, first)

    def added(self, counter: str, amount: int, reply: Reply) -> None:
        """`amount` was added to a counter."""
        if (log := self._log) is not None:
            log.note(_ADD, counter, None, reply, amount, self._session)

    def counted(self, counter: str, value: int, reply: Reply) -> None:
        """A counter was read, and stood at `value`."""
        if (log := self._log) is not None:
            log.note(_COUNT, counter, None, reply, value, self._session)
