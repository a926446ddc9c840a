"""The laws of the evidence: what a row of samples, of the generator and of the timeline must be,
whoever wrote it. A row that breaks one is named; nothing that rests on it is believed.

docs/evidence.md lists them. Nothing here compares with null or NaN: `number` refuses both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.model import Outcome

Array = NDArray[Any]

_LATEST_NS = (1 << 63) - 1
OPS = frozenset({"read", "write"})
OUTCOMES = frozenset(outcome.value for outcome in Outcome)
# Numbers that every row of the generator has, and those it has unless nothing was sent.
COUNTS = ("planned", "sent", "not_sent", "rows")
MEASURES = ("window_s", "cpu")
# Those it may have: absent they are 0, present they are numbers.
MAYBE = ("unreached", "waiting", "engine_errors", "locked_out", "flow_errors_over_failures")
LAGS = ("send_lag_p99_ms", "send_lag_max_ms")
SPAN_KINDS = ("server", "client", "internal")
UNDO_SCHEMA = "stormgate.undo/1"
UNDO_STEPS = ("intent", "applied", "undone", "void")


def number(row: Mapping[str, Any], key: str) -> float:
    """A finite number that is not negative. Raises ValueError with the reason for anything else."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {'missing' if key not in row else repr(value)}, not a number")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} is {value}, not a number from 0 up")
    return float(value)


def time_of(row: Mapping[str, Any]) -> int | None:
    """A row's `at_ns` when it is a time: an integer of ns that fits 63 bits; else None."""
    at = row.get("at_ns")
    return at if type(at) is int and 0 <= at <= _LATEST_NS else None


def generator_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a generator row this one breaks, or None."""
    try:
        for key in (*COUNTS, *MEASURES):
            number(row, key)
        for key in MAYBE:
            if key in row:
                number(row, key)
        if number(row, "sent") > 0:
            for key in LAGS:
                number(row, key)
    except ValueError as error:
        return str(error)
    return None


def undo_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a row of the undo ledger this one breaks, or None."""
    step = row.get("step")
    if step == "target":
        schema = row.get("schema", UNDO_SCHEMA)
        return (
            None if schema == UNDO_SCHEMA else f"schema {str(schema)[:60]!r} is not {UNDO_SCHEMA}"
        )
    if step not in UNDO_STEPS:
        return f"step {str(step)[:60]!r} is not one of target, {', '.join(UNDO_STEPS)}"
    if not isinstance(row.get("id"), str) or not row["id"]:
        return f"a row of step {step} has no id"
    return None


def reading_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a reading this one breaks, or None. A value that is no number is no breach: the
    reading failed, and whoever asked for it hears so.
    """
    if time_of(row) is None:
        return "at_ns is no time in ns"
    if not isinstance(row.get("probe"), str):
        return "probe is no word"
    if row.get("error") is not None and not isinstance(row["error"], str):
        return f"error is {row['error']!r}, neither null nor words"
    if "duration_ms" in row:
        try:
            number(row, "duration_ms")
        except ValueError as error:
            return str(error)
    return None


MACHINE_NUMBERS = ("window_s", "own", "others", "steal", "waited")


def machine_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a row of machine.ndjson this one breaks, or None."""
    if time_of(row) is None:
        return "at_ns is no time in ns"
    try:
        for key in MACHINE_NUMBERS:
            number(row, key)
        if number(row, "cores") < 1:
            return "cores is below 1"
    except ValueError as error:
        return str(error)
    return None


def trace_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a row of traces.ndjson this one breaks, or None."""
    if time_of(row) is None:
        return "at_ns is no time in ns"
    for key in ("trace", "span"):
        if not isinstance(row.get(key), str) or not row[key]:
            return f"{key} is {row.get(key)!r}, not a word"
    if not isinstance(row.get("parent"), str):
        return f"parent is {row.get('parent')!r}, not a word"
    if row.get("kind") not in SPAN_KINDS:
        return f"kind is {row.get('kind')!r}, not one of {', '.join(SPAN_KINDS)}"
    status = row.get("status")
    if type(status) is not int or status < 0:
        return f"status is {status!r}, not 0 or more"
    if type(row.get("error", False)) is not bool:
        return f"error is {row['error']!r}, not true or false"
    begin, took = row.get("begin_unix_ns", 1), row.get("duration_ms", 0)
    if type(begin) is not int or begin <= 0:
        return f"begin_unix_ns is {begin!r}, not when it began"
    if type(took) not in (int, float) or not 0 <= took < math.inf:
        return f"duration_ms is {took!r}, not how long it took"
    return None


def residency_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a row of operations/residency.ndjson this one breaks, or None."""
    if time_of(row) is None:
        return "at_ns is no time in ns"
    for key in ("class", "canary", "store", "phase"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            return f"{key} is {row.get(key)!r}, not a word"
    if type(row.get("scanned")) is not bool:
        return f"scanned is {row.get('scanned')!r}, not true or false"
    if row["scanned"]:
        if type(row.get("found")) is not bool:
            return f"found is {row.get('found')!r}, not true or false, although it was scanned"
        searched = row.get("searched")
        if type(searched) is not int or searched < 0:
            return f"searched is {searched!r}, not how much was looked through"
    elif not isinstance(row.get("why"), str) or not row["why"].strip():
        return "not scanned, and no why"
    return None


def refusal_problem(row: Mapping[str, Any]) -> str | None:
    """Which law of a `net.refused` row this one breaks, or None."""
    if row.get("by") not in ("load", "chaos"):
        return f"by is {row.get('by')!r}, not load or chaos"
    for key in ("who", "where"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            return f"{key} is {row.get(key)!r}, not a word"
    count = row.get("count")
    return None if type(count) is int and count >= 1 else f"count is {count!r}, not 1 or more"


@dataclass(frozen=True, slots=True)
class Firsts:
    """First attempts: acted on (whose outcome is not `not_sent`), of them written (they have a
    `sent_ns`), and not sent; and further attempts, acted on.
    """

    acted: int = 0
    written: int = 0
    unsent: int = 0
    again: int = 0


def exposure_of(value: Any) -> tuple[bool | None, str]:
    """What the `exposure` of a `fault.requested` row says: whether traffic was seen to run through
    what was broken (None: nobody could tell, or nobody looked), and what was seen. A yes without a
    word of what was seen is none. Raises ValueError for anything that is no exposure.
    """
    if value is None:
        return None, "nobody looked"
    if not isinstance(value, Mapping):
        raise ValueError(f"exposure is {value!r}, not {{used, saw}}")
    used, saw = value.get("used", "missing"), value.get("saw")
    if used is not True and used is not False and used is not None:
        raise ValueError(f"exposure says used: {used}, not true, false or null")
    if not isinstance(saw, str) or not saw.strip():
        raise ValueError("exposure does not say what was seen")
    return used, saw


@dataclass
class RowLaws:
    """Holds every block of samples against the laws of a row, worker by worker.

    `problems` names the first row of each worker that breaks a law, and how many do. `firsts` are
    what the first attempts of each worker came to, `failed` counts all its rows that are not ok.
    """

    begin_ns: int | None = None
    end_ns: int | None = None
    firsts: dict[str, Firsts] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    _broken: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _firsts: dict[str, list[Array]] = field(default_factory=dict)
    _answered: dict[str, list[Array]] = field(default_factory=dict)
    _later: dict[str, list[Array]] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def check(self, worker: str, columns: Mapping[str, Array]) -> None:
        """`columns`: intended_ns, done_ns, sent_ns and was_sent (a mask), request, attempt,
        not_sent, ok, known and known_op (outcomes and operations that are words of the format),
        nobody and nowhere (population or route null), ghost (answered but never sent), all of
        one block.
        """
        intended, done, sent = columns["intended_ns"], columns["done_ns"], columns["sent_ns"]
        was_sent = columns["was_sent"]
        self._note(worker, "done_ns is before intended_ns", done < intended)
        self._note(worker, "sent_ns is before intended_ns", was_sent & (sent < intended))
        self._note(worker, "done_ns is before sent_ns", was_sent & (done < sent))
        self._note(worker, "outcome is not one of the format", ~columns["known"])
        self._note(worker, "op is neither read nor write", ~columns["known_op"])
        self._note(worker, "population is null", columns["nobody"])
        self._note(worker, "route is null", columns["nowhere"])
        self._note(worker, "outcome says answered, sent_ns says never sent", columns["ghost"])
        self._note(worker, "attempt is 0", columns["attempt"] == 0)
        if self.begin_ns is not None:
            self._note(worker, "intended_ns is before the run began", intended < self.begin_ns)
        if self.end_ns is not None:
            self._note(worker, "done_ns is after the run ended", done > self.end_ns)
        first = columns["attempt"] == 1
        before, unsent = self.firsts.get(worker, Firsts()), columns["not_sent"]
        self.firsts[worker] = Firsts(
            before.acted + int(np.count_nonzero(first & ~unsent)),
            before.written + int(np.count_nonzero(first & ~unsent & was_sent)),
            before.unsent + int(np.count_nonzero(first & unsent)),
            before.again + int(np.count_nonzero(~first & ~unsent)),
        )
        failed = int(np.count_nonzero(~columns["ok"]))
        self.failed[worker] = self.failed.get(worker, 0) + failed
        if first.all():
            self._firsts.setdefault(worker, []).append(columns["request"])
            self._answered.setdefault(worker, []).append(columns["ok"])
        else:
            self._firsts.setdefault(worker, []).append(columns["request"][first])
            self._answered.setdefault(worker, []).append(columns["ok"][first])
            rest = np.stack([columns["request"][~first], columns["attempt"][~first]], axis=1)
            self._later.setdefault(worker, []).append(rest.astype(np.uint64))
        self._rows[worker] = self._rows.get(worker, 0) + len(intended)

    def problems(self) -> list[str]:
        """What broke, by worker and law, with the first row (counted from 0) and the count."""
        found = [
            f"samples of {worker}: row {row}: {law}" + (f" ({count:,} rows)" if count > 1 else "")
            for (worker, law), (row, count) in sorted(self._broken.items())
        ]
        for worker, parts in sorted(self._firsts.items()):
            twice = _repeated(np.concatenate(parts))
            if twice is not None:
                found.append(f"samples of {worker}: request {twice}, attempt 1 stands there twice")
        for worker, parts in sorted(self._later.items()):
            pairs = np.concatenate(parts)
            _, at, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
            if (counts > 1).any():
                request, attempt = pairs[at[np.argmax(counts > 1)]].tolist()
                found.append(
                    f"samples of {worker}: request {request}, attempt {attempt} stands there twice"
                )
            found += [f"samples of {worker}: {told}" for told in self._again(worker, pairs)]
        return found

    def _again(self, worker: str, pairs: Array) -> list[str]:
        """What is wrong with a worker's later attempts, (request, attempt) each: only a failed one
        is followed by another, and none is left out.
        """
        firsts = np.concatenate(self._firsts[worker]).astype(np.uint64)
        answered = np.concatenate(self._answered[worker])
        request, attempt = pairs[:, 0], pairs[:, 1]
        found = []
        again = np.isin(request, firsts[answered])
        if again.any():
            number = int(request[np.argmax(again)])
            found.append(f"request {number} was asked again although it had been answered")
        whole = np.where(attempt == 2, np.isin(request, firsts), attempt == 0)
        if (attempt > 2).any():
            known = {tuple(pair) for pair in pairs.tolist()}
            for row in np.flatnonzero(attempt > 2).tolist():
                whole[row] = (int(request[row]), int(attempt[row]) - 1) in known
        if not whole.all():
            number, last = pairs[int(np.argmin(whole))].tolist()
            found.append(f"request {number} has an attempt {last} and not the one before it")
        return found

    def _note(self, worker: str, law: str, broken: Array) -> None:
        count = int(np.count_nonzero(broken))
        if not count:
            return
        row, before = self._broken.get((worker, law), (-1, 0))
        if row < 0:
            row = self._rows.get(worker, 0) + int(np.argmax(broken))
        self._broken[(worker, law)] = (row, before + count)


def _repeated(values: Array) -> int | None:
    """A value that occurs twice, or None. Request numbers are dense, so a table is fastest."""
    if not len(values):
        return None
    low, high = int(values.min()), int(values.max())
    if high - low < 16 * len(values) + 1024:
        counts = np.bincount((values - values.dtype.type(low)).astype(np.int64))
        return low + int(np.argmax(counts > 1)) if counts.max() > 1 else None
    ordered = np.sort(values)
    same = ordered[1:] == ordered[:-1]
    return int(ordered[1:][np.argmax(same)]) if same.any() else None
