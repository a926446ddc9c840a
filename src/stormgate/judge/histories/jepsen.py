"""Histories in the shape of Jepsen's, for checkers of others (elle, Knossos): each operation once
when it was invoked and once when it ended, in the order of time, a process doing one at a time.

The maps are those of https://github.com/jepsen-io/history; a process that ended in `info` does
nothing any more, as there.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator
from typing import Any

from stormgate.evidence.operations import FAIL, KINDS, NOTHING, OK, OUTCOMES, History

# Model -> the kinds that it is made of.
MODELS: dict[str, tuple[str, str]] = {
    "rw-register": ("write", "read"),
    "register": ("write", "read"),
    "list-append": ("append", "list"),
    "bank": ("transfer", "balance"),
    "counter": ("add", "count"),
}
Ops = tuple[str, Any, Any]


class _Word(str):
    """A keyword of EDN: `:ok`; in JSON a string."""

    __slots__ = ()


def jepsen_history(
    history: History, model: str, key: str | None = None
) -> Iterator[dict[str, Any]]:
    """The operations of a model as Jepsen's maps: index, type, process, time (ns), f, value. A
    `register` is one `key`; the other models are of all.
    """
    writes, reads = MODELS[model]
    mask = history.of(writes, reads)
    if key is not None:
        names = history.names.keys.names
        mask &= history.key == (names.index(key) if key in names else -1)
    some = history.take(mask)
    firsts = _firsts(some)
    events: list[tuple[int, int, int]] = []
    spans = {}
    for number, (row, rows) in enumerate(firsts):
        spans[number] = (row, rows)
        invoked, completed = int(some.invoked_ns[row]), int(some.completed_ns[row])
        # At one time those that begin come first: what is not surely over may still be going on.
        events += [(invoked, 0, number), (completed, 1, number)]
    events.sort()
    processes = _Processes()
    shape = _SHAPES[model]
    for index, (at, ended, number) in enumerate(events):
        row, rows = spans[number]
        function, asked, answered = shape(some, row, rows)
        outcome = int(some.outcome[row])
        kind = OUTCOMES[outcome] if ended else "invoke"
        if ended:
            process = processes.end(number, gone=outcome not in (OK, FAIL))
        else:
            process = processes.begin(number, (int(some.worker[row]), int(some.session[row])))
        yield {
            "index": index,
            "type": _Word(kind),
            "process": process,
            "time": at,
            "f": _Word(function),
            "value": answered if ended and outcome == OK else asked,
        }


def _firsts(history: History) -> list[tuple[int, list[int]]]:
    """(first row, all rows) of each operation: rows of one snapshot are one."""
    found: dict[tuple[int, int, int], list[int]] = {}
    for row in range(len(history)):
        snapshot = int(history.snapshot[row])
        op = int(history.op[row])
        place = (int(history.worker[row]), int(history.store[row]))
        found.setdefault((*place, op if snapshot == NOTHING else snapshot), []).append(row)
    return [(rows[0], rows) for rows in found.values()]


class _Processes:
    """Operations of one session that overlap are of several processes."""

    def __init__(self) -> None:
        self._free: dict[Any, list[int]] = {}
        self._of: dict[int, tuple[int, Any]] = {}
        self._next = 0

    def begin(self, number: int, who: Any) -> int:
        free = self._free.setdefault(who, [])
        if free:
            process = heapq.heappop(free)
        else:
            process, self._next = self._next, self._next + 1
        self._of[number] = process, who
        return process

    def end(self, number: int, *, gone: bool) -> int:
        process, who = self._of.pop(number)
        if not gone:
            heapq.heappush(self._free[who], process)
        return process


def _number(value: int) -> int | None:
    return None if value == NOTHING else value


def _version(history: History, row: int) -> Any:
    """The version; of a write of which nobody knows it a word of its own."""
    version = _number(int(history.version[row]))
    if version is None and KINDS[int(history.kind[row])] == "write":
        return f"?{int(history.worker[row])}-{int(history.op[row])}"
    return version


def _key(history: History, row: int) -> str:
    return history.names.keys.names[int(history.key[row])]


def _rw_register(history: History, row: int, rows: list[int]) -> Ops:
    key, version = _key(history, row), _version(history, row)
    if KINDS[int(history.kind[row])] == "write":
        done = [[_Word("w"), key, version]]
        return "txn", done, done
    return "txn", [[_Word("r"), key, None]], [[_Word("r"), key, version]]


def _register(history: History, row: int, rows: list[int]) -> Ops:
    version = _version(history, row)
    if KINDS[int(history.kind[row])] == "write":
        return "write", version, version
    return "read", None, version


def _list_append(history: History, row: int, rows: list[int]) -> Ops:
    key = _key(history, row)
    if KINDS[int(history.kind[row])] == "append":
        done = [[_Word("append"), key, int(history.version[row])]]
        return "txn", done, done
    held = [v for r in rows if (v := _number(int(history.version[r]))) is not None]
    return "txn", [[_Word("r"), key, None]], [[_Word("r"), key, held]]


def _bank(history: History, row: int, rows: list[int]) -> Ops:
    if KINDS[int(history.kind[row])] == "transfer":
        to = history.names.keys.names[int(history.to[row])]
        done = {"from": _key(history, row), "to": to, "amount": int(history.value[row])}
        moved = {_Word(name): value for name, value in done.items()}
        return "transfer", moved, moved
    held = {_key(history, r): _number(int(history.value[r])) for r in rows}
    return "read", None, held


def _counter(history: History, row: int, rows: list[int]) -> Ops:
    value = _number(int(history.value[row]))
    return (
        ("add", value, value) if KINDS[int(history.kind[row])] == "add" else ("read", None, value)
    )


_SHAPES: dict[str, Callable[[History, int, list[int]], Ops]] = {
    "rw-register": _rw_register,
    "register": _register,
    "list-append": _list_append,
    "bank": _bank,
    "counter": _counter,
}


def edn(value: Any) -> str:
    """A value as EDN (https://github.com/edn-format/edn)."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Word):
        return f":{value}"
    if isinstance(value, str):
        # Strings of EDN know fewer escapes than those of JSON, and take any other character as it
        # is.
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return '"' + escaped.replace("\r", "\\r").replace("\t", "\\t") + '"'
    if isinstance(value, dict):
        inner = ", ".join(f"{edn(key)} {edn(one)}" for key, one in value.items())
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + " ".join(edn(one) for one in value) + "]"
    return str(value)


def written(operations: Iterator[dict[str, Any]], form: str) -> Iterator[str]:
    """The lines of a file: a vector of maps in EDN, an array of objects in JSON, an operation a
    line.
    """
    yield "["
    before = None
    for operation in operations:
        if before is not None:
            yield before + ("," if form == "json" else "")
        if form == "json":
            before = json.dumps(operation, ensure_ascii=False)
        else:
            before = edn({_Word(name): value for name, value in operation.items()})
    if before is not None:
        yield before
    yield "]"
