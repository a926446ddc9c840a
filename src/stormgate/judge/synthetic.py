"""Runs that never happened, in memory: what the rule canaries are judged on, and what tests build
upon.

Deterministic: requests are spread evenly, nothing is drawn. pyarrow is imported when batches are
made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operations import FINAL, PLANNED
from stormgate.evidence.schema import CORE_COLUMNS, SAMPLES_SCHEMA
from stormgate.evidence.timeline import SECOND_NS
from stormgate.model import Event, Plan, expected_spans

Array = NDArray[Any]
ORIGIN_NS = 1_000 * SECOND_NS
FAULT_S = 20.0
_DRAINED_NS = 60 * SECOND_NS
# When within its fault phase a fault is requested, proven and taken back, as shares of the phase.
_REQUESTED, _ACKNOWLEDGED, _OBSERVED, _ROLLBACK, _CLEARED = 0.1, 0.101, 0.11, 0.9, 0.95


@dataclass(frozen=True, slots=True)
class MadePhase:
    """A phase of a made-up run."""

    name: str
    begin_ns: int
    end_ns: int | None


@dataclass
class MemoryRun:
    """A run folder's contents without the folder."""

    plan: Plan | None
    stretches: list[MadePhase] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    generator: list[dict[str, Any]] = field(default_factory=list)
    readings: list[dict[str, Any]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    machine: list[dict[str, Any]] = field(default_factory=list)
    undo: list[dict[str, Any]] = field(default_factory=list)
    journals: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    blocks: list[tuple[str, Any]] = field(default_factory=list)
    operated: dict[str, Any] = field(default_factory=dict)
    residency: list[dict[str, Any]] = field(default_factory=list)
    operation_files: dict[str, Any] = field(default_factory=dict)

    def phases(self) -> Sequence[MadePhase]:
        return self.stretches

    def batches(self) -> Iterator[tuple[str, Any]]:
        yield from sorted(self.blocks, key=lambda pair: pair[0])

    def operations(self, *which: str) -> Iterator[tuple[str, Any]]:
        for worker, batch in sorted(self.operated.items()):
            if worker in which or (not which and worker not in (FINAL, PLANNED)):
                yield worker, batch


def stretches_of(plan: Plan, fault_s: float = FAULT_S) -> list[MadePhase]:
    """The phases of a plan from ORIGIN_NS, back to back but for those of faults that overlap, each
    fault phase `fault_s` long.
    """
    return [
        MadePhase(name, ORIGIN_NS + round(begin * SECOND_NS), ORIGIN_NS + round(end * SECOND_NS))
        for name, begin, end in expected_spans(plan, fault_s)
        if end > begin
    ]


def timeline_of(plan: Plan, stretches: Sequence[MadePhase]) -> list[dict[str, Any]]:
    """A timeline in which everything went as planned and every fault was proven and cleared."""
    rows: list[dict[str, Any]] = [{"at_ns": ORIGIN_NS, "event": Event.RUN_BEGIN.value}]
    named = {s.name: s for s in stretches}
    for s in stretches:
        rows.append({"at_ns": s.begin_ns, "event": Event.PHASE_BEGIN.value, "phase": s.name})
        rows.append({"at_ns": s.end_ns, "event": Event.PHASE_END.value, "phase": s.name})
    for fault in plan.faults:
        phase = named[f"fault[{fault.name}]"]
        assert phase.end_ns is not None  # noqa: S101 - stretches_of ends every phase
        length = phase.end_ns - phase.begin_ns
        base = {
            "fault": fault.name,
            "component": "made-up",
            "mode": "crash",
            "id": f"{fault.name}-1",
        }
        for event, share in (
            (Event.FAULT_REQUESTED, _REQUESTED),
            (Event.FAULT_ACKNOWLEDGED, _ACKNOWLEDGED),
            (Event.FAULT_OBSERVED, _OBSERVED),
            (Event.CHAOS_ROLLBACK, _ROLLBACK),
            (Event.FAULT_CLEARED, _CLEARED),
        ):
            row: dict[str, Any] = {
                **base,
                "at_ns": phase.begin_ns + round(share * length),
                "event": event.value,
            }
            if event is Event.FAULT_REQUESTED:
                row["exposure"] = {"used": True, "saw": "made-up: connections"}
            if event is Event.FAULT_OBSERVED:
                row["proof"] = [{"component": "made-up", "saw": "refused"}]
            rows.append(row)
    rows.append(
        {
            # What was sent in the last phase is waited for before a run ends.
            "at_ns": max((s.end_ns or 0 for s in stretches), default=ORIGIN_NS) + _DRAINED_NS,
            "event": Event.RUN_END.value,
        }
    )
    return sorted(rows, key=lambda row: row["at_ns"])


def generator_of(begin_ns: int, end_ns: int, planned: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Rows of workers that kept to their plan: `planned` holds the sorted intended starts of each
    worker.
    """
    rows: list[dict[str, Any]] = []
    edges = np.arange(begin_ns, end_ns + SECOND_NS, SECOND_NS)
    for worker, intended in sorted(planned.items()):
        counts = np.diff(np.searchsorted(intended, edges))
        total = 0
        for seq, (end, count) in enumerate(zip(edges[1:].tolist(), counts.tolist(), strict=True)):
            total += count
            rows.append(generator_row(end, worker, seq, count, total))
        rows[-1].update(final=True, rows=len(intended))
    return rows


def generator_row(at_ns: int, worker: str, seq: int, count: int, rows: int) -> dict[str, Any]:
    """One second of a fit worker."""
    return {
        "at_ns": at_ns,
        "worker": worker,
        "seq": seq,
        "window_s": 1.0,
        "planned": count,
        "sent": count,
        "completed": count,
        "not_sent": 0,
        "rows": rows,
        "blocks": seq + 1,
        "send_lag_p50_ms": 0.1,
        "send_lag_p99_ms": 0.5,
        "send_lag_max_ms": 1.0,
        "loop_lag_max_ms": 1.0,
        "cpu": 0.2,
        "open_connections": 1,
        "new_connections": 0,
        "streams": 1,
        "flow_errors": 0,
        "model": "open",
        "final": False,
    }


def batch_of(worker: str, columns: Mapping[str, Any], labels: Mapping[str, Any]) -> Any:
    """A record batch as a load worker writes it. String columns are (codes, names) pairs; code -1
    is null.
    """
    import pyarrow as pa

    def coded(pair: tuple[Array, Sequence[str]]) -> Any:
        codes, names = pair
        mask = codes < 0
        indices = pa.array(
            np.where(mask, 0, codes).astype(np.int32), mask=mask if mask.any() else None
        )
        return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))

    types = {
        "status": pa.uint16(),
        "bytes_in": pa.uint32(),
        "attempt": pa.uint8(),
        "request": pa.uint64(),
    }
    n = len(columns["intended_ns"])
    arrays, names = [], []
    for name in (*CORE_COLUMNS, *labels):
        value = labels.get(name, columns.get(name))
        if isinstance(value, tuple):
            arrays.append(coded(value))
        elif name in types:
            arrays.append(
                pa.array(np.asarray(value if value is not None else np.zeros(n)), types[name])
            )
        elif name == "sent_ns":
            missing = columns.get("not_sent")
            arrays.append(pa.array(np.asarray(value), pa.int64(), mask=missing))
        else:
            arrays.append(pa.array(np.asarray(value), pa.int64()))
        names.append(name)
    schema = pa.schema(
        [pa.field(n, a.type) for n, a in zip(names, arrays, strict=True)],
        {"schema": SAMPLES_SCHEMA, "worker": worker},
    )
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
