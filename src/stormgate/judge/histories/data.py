"""The data evidence of one run: users' operations, the final reads and what they were to be, looks
for canaries; and everything that the harness itself lost of it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.laws import number
from stormgate.evidence.operations import FINAL, OPERATIONS, PLANNED, History, HistoryReader

Array = NDArray[Any]
FINAL_PHASE = "final"


class HasOperations(Protocol):
    """What is read of a run folder here."""

    @property
    def generator(self) -> list[dict[str, Any]]: ...
    @property
    def residency(self) -> list[dict[str, Any]]: ...
    @property
    def operation_files(self) -> Mapping[str, Any]: ...
    def operations(self, *which: str) -> Iterator[tuple[str, Any]]: ...


@dataclass
class Data:
    """`users` is what the load did, `final` what was read back; `planned` are the (key, store,
    kind) codes of what was to be read. `problems` are what the harness lost or wrote wrong, in
    words: with any, nothing that was not found proves anything. `unnoted` counts flows that raised,
    each of which may have written something it did not note.
    """

    users: History
    final: History
    planned: tuple[Array, Array, Array]
    residency: Sequence[Mapping[str, Any]] = ()
    problems: list[str] = field(default_factory=list)
    unnoted: int = 0
    clock_error_ns: int = 0
    begin_ns: int = 0

    def keys(self, pattern: str) -> Array:
        """A mask over the codes of keys: which match a glob pattern."""
        names = self.users.names.keys.names
        if pattern == "*":
            mask = np.ones(len(names), bool)
        else:
            mask = np.array([fnmatch.fnmatchcase(name, pattern) for name in names], bool)
        mask[0] = False
        return mask

    @cached_property
    def settled(self) -> History:
        """The final reads that are final: answered, in the phase `final`, and begun after the last
        operation that changed their key had ended.
        """
        final, users = self.final, self.users
        phases = final.names["phase"].names
        is_final = np.array([name == FINAL_PHASE for name in phases], bool)[final.phase]
        last = np.full(len(users.names.keys.names), np.iinfo(np.int64).min)
        writes = users.of("write", "append", "transfer", "add")
        np.maximum.at(last, users.key[writes], users.completed_ns[writes])
        moved = users.of("transfer")
        np.maximum.at(last, users.to[moved], users.completed_ns[moved])
        return final.take(is_final & final.ok & (final.invoked_ns >= last[final.key]))

    def seconds(self, at_ns: int) -> float:
        """Seconds since the run began."""
        return (int(at_ns) - self.begin_ns) / 1e9


def data_of(run: HasOperations, begin_ns: int | None, end_ns: int | None) -> Data:
    """Read a run's data evidence; `begin_ns` and `end_ns` are those of the run."""
    reader = HistoryReader(begin_ns=begin_ns, end_ns=None)
    reader.end_ns = end_ns
    users = reader.read(run.operations())
    counted = dict(reader.rows)
    final = reader.read(run.operations(FINAL), final=True)
    planned = reader.planned(run.operations(PLANNED))
    problems = [*reader.problems]
    for name, file in sorted(run.operation_files.items()):
        if file.problem is not None:
            problems.append(file.problem)
        elif not file.ended:
            problems.append(f"{OPERATIONS}/{name}.arrow: cut, no end of stream")
    unnoted, error_ns, last = _generator(run.generator)
    problems += _uncounted(last, counted)
    return Data(
        users=users,
        final=final,
        planned=planned,
        residency=run.residency,
        problems=problems,
        unnoted=unnoted,
        clock_error_ns=error_ns,
        begin_ns=begin_ns or 0,
    )


def _generator(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, dict[str, Mapping[str, Any]]]:
    """(flows that raised, the largest clock error of a worker in ns, each worker's last row)."""
    unnoted, error_ms = 0, 0.0
    last: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: int(row["at_ns"])):
        last[str(row.get("worker"))] = row
        for key in ("flow_errors", "flow_errors_over_failures", "engine_errors"):
            unnoted += int(_number(row, key))
        error_ms = max(error_ms, _number(row, "clock_error_ms"))
    return unnoted, round(error_ms * 1e6), last


def _number(row: Mapping[str, Any], key: str) -> float:
    try:
        return number(row, key) if key in row else 0.0
    except ValueError:
        return 0.0  # the laws of the generator's rows name it


def _uncounted(last: Mapping[str, Mapping[str, Any]], counted: Mapping[str, int]) -> list[str]:
    """Operations that a worker says it wrote and that are not there, or the other way round."""
    problems = []
    for worker in sorted(last.keys() | counted.keys()):
        row, rows = last.get(worker, {}), counted.get(worker, 0)
        if "operations" not in row:
            if rows:
                problems.append(
                    f"{OPERATIONS} of {worker}: {rows:,} rows, and nobody counted them "
                    "(generator.ndjson)"
                )
            continue
        said = row["operations"]
        if type(said) is not int or said != rows:
            problems.append(
                f"{OPERATIONS} of {worker}: {rows:,} rows, but the worker says it wrote {said}"
            )
        if not row.get("final"):
            problems.append(f"{OPERATIONS} of {worker}: the worker did not end on purpose")
    return problems
