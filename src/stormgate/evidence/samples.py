"""Samples as numpy blocks: dictionary columns become codes that mean the same in every block,
attempts become requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.arrow import Interner, buffer, is_words, numbers, valid, words
from stormgate.evidence.laws import OPS, OUTCOMES, RowLaws
from stormgate.evidence.schema import SAMPLES_SCHEMA

Array = NDArray[Any]
CODED = ("population", "route", "op", "outcome")
_FIXED = ("intended_ns", "sent_ns", "done_ns", "request", "attempt", "status", "bytes_in")


class Columns:
    """The interner of every string column of a run."""

    def __init__(self) -> None:
        self.interners: dict[str, Interner] = {}

    def __getitem__(self, column: str) -> Interner:
        if column not in self.interners:
            self.interners[column] = Interner()
        return self.interners[column]


@dataclass
class Block:
    """Some rows as columns. `codes` holds one int32 array per string column; `cache` what one
    objective derived and others reuse.
    """

    intended_ns: Array
    done_ns: Array
    request: Array
    attempt: Array
    status: Array
    ok: Array
    not_sent: Array
    codes: dict[str, Array]
    columns: Columns
    cache: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.intended_ns)

    @property
    def latency_ns(self) -> Array:
        """From the intended start to the end, failures included."""
        if "latency" not in self.cache:
            self.cache["latency"] = self.done_ns - self.intended_ns
        latency: Array = self.cache["latency"]
        return latency

    def label(self, column: str) -> Array:
        """The codes of a string column; all null where the column was never recorded."""
        if column not in self.codes:
            self.codes[column] = np.zeros(len(self), np.int32)
        return self.codes[column]

    def good(self, within_ms: float | None) -> Array:
        """Answered correctly, and within the limit if there is one."""
        key = ("good", within_ms)
        if key not in self.cache:
            limit = None if within_ms is None else round(within_ms * 1e6)
            self.cache[key] = self.ok if limit is None else self.ok & (self.latency_ns <= limit)
        good: Array = self.cache[key]
        return good

    def take(self, mask: Array) -> Block:
        """The rows under a mask or of an index, as a block of its own."""
        return Block(
            intended_ns=self.intended_ns[mask],
            done_ns=self.done_ns[mask],
            request=self.request[mask],
            attempt=self.attempt[mask],
            status=self.status[mask],
            ok=self.ok[mask],
            not_sent=self.not_sent[mask],
            codes={name: codes[mask] for name, codes in self.codes.items()},
            columns=self.columns,
        )


class Decoder:
    """Record batches to blocks. A dictionary that did not change since the last batch is not looked
    up again.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._seen: dict[str, tuple[Any, Array]] = {}

    def block(self, batch: Any) -> Block:
        """One batch as a block. Raises ValueError naming the column that is not as it must be."""
        version = (batch.schema.metadata or {}).get(b"schema", SAMPLES_SCHEMA.encode())
        if version != SAMPLES_SCHEMA.encode():
            raise ValueError(f"schema {version.decode(errors='replace')!r} is not {SAMPLES_SCHEMA}")
        codes = {
            name: self._codes(name, words(name, batch.column(i)))
            for i, name in enumerate(batch.schema.names)
            if name not in _FIXED and (name in CODED or is_words(batch.column(i)))
        }
        for name in CODED:
            if name not in codes:
                raise ValueError(f"column {name!r} is missing")
        outcome = codes["outcome"]
        interner = self.columns["outcome"]
        return Block(
            intended_ns=numbers(batch, "intended_ns"),
            done_ns=numbers(batch, "done_ns"),
            request=numbers(batch, "request"),
            attempt=numbers(batch, "attempt"),
            status=numbers(batch, "status"),
            ok=outcome == interner.code("ok"),
            not_sent=outcome == interner.code("not_sent"),
            codes=codes,
            columns=self.columns,
        )

    def _codes(self, name: str, column: Any) -> Array:
        dictionary = column.dictionary
        seen = self._seen.get(name)
        if seen is None or not seen[0].equals(dictionary):
            interner = self.columns[name]
            table = np.array([interner.code(v) for v in dictionary.to_pylist()] or [0], np.int32)
            seen = self._seen[name] = (dictionary, table)
        indices = column.indices
        values = buffer(indices)
        if indices.null_count == 0:
            codes: Array = seen[1][values]
            return codes
        mask = valid(indices)
        return np.where(mask, seen[1][np.where(mask, values, 0)], 0).astype(np.int32)

    def lawful(self, batch: Any, block: Block) -> dict[str, Array]:
        """The columns that the laws of a row are about (`RowLaws.check`)."""
        index = batch.schema.get_field_index("sent_ns")
        if index < 0:
            raise ValueError("column 'sent_ns' is missing")
        sent = batch.column(index)
        was_sent = valid(sent)
        sent_ns = numbers(batch, "sent_ns", nullable=True)
        outcomes = self.columns["outcome"]
        answered = block.ok | (block.codes["outcome"] == outcomes.code("bad_status"))
        return {
            "intended_ns": block.intended_ns,
            "done_ns": block.done_ns,
            "sent_ns": sent_ns,
            "was_sent": was_sent,
            "ghost": answered & ~was_sent,
            "not_sent": block.not_sent,
            "ok": block.ok,
            "request": block.request,
            "attempt": block.attempt,
            "known": outcomes.known(OUTCOMES)[block.codes["outcome"]],
            "known_op": self.columns["op"].known(OPS)[block.codes["op"]],
            "nobody": block.codes["population"] == 0,
            "nowhere": block.codes["route"] == 0,
        }


class Requests:
    """Attempts in, requests out: a request is judged by its last attempt, and its user waited since
    the first.

    Only a failed attempt is ever repeated, so first attempts that went well pass at once; the
    others wait for the end of the run, whichever block or order their successors come in. `rows`
    counts attempts per worker, for the check against generator.ndjson; `laws` holds each of them
    against what a row must be.
    """

    def __init__(self, batches: Iterable[tuple[str, Any]], laws: RowLaws | None = None) -> None:
        self._batches = batches
        self.laws = laws or RowLaws()
        self.columns = Columns()
        self.rows: dict[str, int] = {}
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[Block]:
        decoder, held = Decoder(self.columns), []
        for worker, batch in self._batches:
            self.rows[worker] = self.rows.get(worker, 0) + batch.num_rows
            try:
                block = decoder.block(batch)
                self.laws.check(worker, decoder.lawful(batch, block))
            except (KeyError, ValueError, IndexError) as error:
                text = f"samples of {worker}: {error}"
                if text not in self.problems:
                    self.problems.append(text)
                continue
            if not len(block):
                continue
            clear = block.ok & (block.attempt == 1)
            if clear.all():
                yield block
                continue
            rest = block.take(~clear)
            rest.codes["\0worker"] = np.full(
                len(rest), self.columns["\0worker"].code(worker), np.int32
            )
            held.append(rest)
            if clear.any():
                yield block.take(clear)
        if held:
            yield from _last_attempts(held, self.columns)


def _last_attempts(held: list[Block], columns: Columns) -> Iterator[Block]:
    names = sorted({name for block in held for name in block.codes})
    joined = Block(
        intended_ns=np.concatenate([b.intended_ns for b in held]),
        done_ns=np.concatenate([b.done_ns for b in held]),
        request=np.concatenate([b.request for b in held]),
        attempt=np.concatenate([b.attempt for b in held]),
        status=np.concatenate([b.status for b in held]),
        ok=np.concatenate([b.ok for b in held]),
        not_sent=np.concatenate([b.not_sent for b in held]),
        codes={name: np.concatenate([b.label(name) for b in held]) for name in names},
        columns=columns,
    )
    held.clear()
    worker = joined.codes.pop("\0worker")
    # An attempt that was never sent says nothing about the target, so it is last only if no other
    # attempt of its request was sent.
    order = np.lexsort((joined.attempt, ~joined.not_sent, joined.request, worker))
    request, worker = joined.request[order], worker[order]
    begins = np.flatnonzero(
        np.concatenate([[True], (request[1:] != request[:-1]) | (worker[1:] != worker[:-1])])
    )
    last = np.concatenate([begins[1:], [len(order)]]) - 1
    first_intended = np.minimum.reduceat(joined.intended_ns[order], begins)
    requests = joined.take(order[last])
    requests.intended_ns = first_intended
    # In pieces, so that what the objectives derive stays small even if every request of a run
    # failed.
    for begin in range(0, len(requests), 131072):
        yield requests.take(np.arange(begin, min(begin + 131072, len(requests))))
