"""Synthetic runs for the judge's tests: vectorised, seeded, in memory or written out as a real run
folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stormgate.judge.synthetic import (
    ORIGIN_NS,
    MemoryRun,
    batch_of,
    generator_of,
    stretches_of,
    timeline_of,
)
from stormgate.model import Fault, Load, Objective, Plan, Population, Target, to_json

S = 1_000_000_000
OUTCOMES = ("ok", "reset", "bad_status", "not_sent")
OK, RESET, BAD, NOT_SENT = range(4)


@dataclass
class Rows:
    """All requests of a run as columns; change them, then `synthetic` builds the run."""

    intended_ns: np.ndarray
    latency_ms: np.ndarray
    population: np.ndarray
    op: np.ndarray
    outcome: np.ndarray
    request: np.ndarray
    attempt: np.ndarray
    worker: np.ndarray
    shard: np.ndarray
    served_by: np.ndarray
    cache: np.ndarray

    def select(self, index: np.ndarray) -> Rows:
        return Rows(**{k: v[index] for k, v in vars(self).items()})

    def append(self, other: Rows) -> Rows:
        return Rows(**{k: np.concatenate([v, getattr(other, k)]) for k, v in vars(self).items()})


def objective(kind: str, name: str = "", **spec: Any) -> Objective:
    return Objective(name=name or kind, kind=kind, spec=spec, source=f"gate.yaml:{len(spec)}")


def plan_of(
    objectives: Sequence[Objective] = (),
    *,
    steady_s: float = 100.0,
    rate: float = 400.0,
    faults: Sequence[str] = (),
    populations: Sequence[tuple[str, float]] = (("london", 0.5), ("tokyo", 0.3), ("lima", 0.2)),
    recovery_s: float = 20.0,
    **more: Any,
) -> Plan:
    target = Target(
        name="made-up",
        populations=tuple(
            Population(name=n, share=s, latitude=0.0, longitude=0.0) for n, s in populations
        ),
    )
    plan = Plan(
        gate="test",
        seed=1,
        confidence=0.95,
        target=target,
        load=Load(locustfile="loadtests/x.py", rate_per_s=rate, users=10, workers=2),
        warmup_s=5.0,
        steady_s=steady_s,
        final_s=0.0,
        faults=tuple(
            Fault(
                name=f,
                experiment=f"experiments/{f}.yaml",
                recovery_s=recovery_s,
                rate_per_window=1.0,
            )
            for f in faults
        ),
        objectives=tuple(objectives),
        started_utc="2026-11-24T21:00:00+00:00",
    )
    return replace(plan, **more).sealed()


def rows_of(plan: Plan, seed: int = 7, workers: int = 2, fault_s: float = 20.0) -> Rows:
    """Healthy requests over all phases: evenly spread with jitter, 20 ms, every one ok."""
    rng = np.random.default_rng(seed)
    phases = stretches_of(plan, fault_s)
    begin, end = phases[0].begin_ns, phases[-1].end_ns or 0
    n = round((end - begin) / S * plan.load.rate_per_s)
    step = (end - begin) / n
    intended = begin + ((np.arange(n) + rng.random(n)) * step).astype(np.int64)
    shares = np.array([p.share for p in plan.target.populations])
    return Rows(
        intended_ns=intended,
        latency_ms=np.full(n, 20.0),
        population=rng.choice(len(shares), n, p=shares / shares.sum()).astype(np.int32),
        op=(rng.random(n) < 0.2).astype(np.int32),
        outcome=np.zeros(n, np.int32),
        request=np.arange(n, dtype=np.uint64),
        attempt=np.ones(n, np.uint8),
        worker=(np.arange(n) % workers).astype(np.int32),
        shard=rng.integers(0, 3, n).astype(np.int32),
        served_by=np.full(n, -1, np.int32),
        cache=np.full(n, -1, np.int32),
    )


def clean_journal(fault: str) -> dict[str, Any]:
    action = {
        "type": "action",
        "name": f"break {fault}",
        "provider": {"type": "python", "module": "m", "func": "f"},
    }
    return {
        "experiment": {"method": [action], "rollbacks": []},
        "status": "completed",
        "deviated": False,
        "steady_states": {"before": None, "after": None, "during": []},
        "run": [{"activity": action, "status": "succeeded", "output": True}],
        "rollbacks": [],
        "stormgate": {"open": []},
    }


def synthetic(
    plan: Plan,
    rows: Rows,
    *,
    fault_s: float = 20.0,
    block_rows: int = 20_000,
    order: Callable[[np.ndarray], np.ndarray] | None = None,
    labels_of: Callable[[Rows], dict[str, Any]] = lambda _: {},
) -> MemoryRun:
    """The run in which these requests were made. `order` permutes the rows of each worker before
    they are cut into blocks. `labels_of` some rows are further columns: codes and names.
    """
    phases = stretches_of(plan, fault_s)
    names = [p.name for p in plan.target.populations]
    blocks: list[tuple[str, Any]] = []
    planned: dict[str, np.ndarray] = {}
    for number in np.unique(rows.worker).tolist():
        worker = f"worker-{number}"
        index = np.flatnonzero(rows.worker == number)
        planned[worker] = np.sort(rows.intended_ns[index])
        if order is not None:
            index = order(index)
        for at in range(0, len(index), block_rows):
            r = rows.select(index[at : at + block_rows])
            lost = r.outcome == NOT_SENT
            columns = {
                "intended_ns": r.intended_ns,
                "sent_ns": r.intended_ns + 100_000,
                "not_sent": lost if lost.any() else None,
                "done_ns": r.intended_ns + (r.latency_ms * 1e6).astype(np.int64),
                "population": (r.population, names),
                "route": (np.zeros(len(lost), np.int32), ["read"]),
                "op": (r.op, ["read", "write"]),
                "request": r.request,
                "attempt": r.attempt,
                "status": np.select([r.outcome == OK, r.outcome == BAD], [200, 503]),
                "outcome": (r.outcome, OUTCOMES),
            }
            labels = {
                "shard": (r.shard, ["s0", "s1", "s2"]),
                "served_by": (r.served_by, ["eu", "us"]),
                "cache": (r.cache, ["hit", "miss"]),
                **labels_of(r),
            }
            blocks.append((worker, batch_of(worker, columns, labels)))
    end = phases[-1].end_ns or 0
    return MemoryRun(
        plan=plan,
        stretches=phases,
        timeline=timeline_of(plan, phases),
        generator=generator_of(ORIGIN_NS, end, planned),
        journals={f.name: clean_journal(f.name) for f in plan.faults},
        undo=[
            {"step": step, "id": f"{f.name}-1"}
            for f in plan.faults
            for step in ("intent", "applied", "undone")
        ],
        blocks=blocks,
    )


def write_folder(run: MemoryRun, folder: Path) -> Path:
    """The same run as files."""
    import pyarrow as pa

    for name in ("samples", "journals"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if run.plan is not None:
        (folder / "plan.json").write_text(json.dumps(to_json(run.plan)))
    for name in ("timeline", "generator", "readings", "undo"):
        text = "".join(json.dumps(row) + "\n" for row in getattr(run, name))
        (folder / f"{name}.ndjson").write_text(text)
    for name, journal in run.journals.items():
        (folder / "journals" / f"{name}.json").write_text(json.dumps(journal))
    by_worker: dict[str, list[Any]] = {}
    for worker, batch in run.batches():
        by_worker.setdefault(worker, []).append(batch)
    for worker, batches in by_worker.items():
        with (
            pa.OSFile(str(folder / "samples" / f"{worker}.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, batches[0].schema) as out,
        ):
            for batch in batches:
                out.write_batch(batch)
    return folder


def phase_window(run: MemoryRun, name: str) -> tuple[int, int]:
    found = next(s for s in run.stretches if s.name == name)
    return found.begin_ns, found.end_ns or 0
