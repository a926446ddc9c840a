"""Histories by hand: operations of a run with one fault, what was read back, and what an objective
says of them.
"""

from __future__ import annotations

from typing import Any

from stormgate.evidence.operation_files import rows_batch
from stormgate.evidence.operations import FINAL, PLANNED, arrow_schema, planned_schema
from stormgate.judge.engine import judge_objective
from stormgate.judge.synthetic import MemoryRun, generator_row, stretches_of, timeline_of
from stormgate.model import Fault, Finding, Load, Objective, Plan, Target

S = 1_000_000_000
WORKER = "w0"


def plan_with(*objectives: Objective, faults: int = 1) -> Plan:
    return Plan(
        gate="data",
        seed=1,
        confidence=0.95,
        target=Target(name="t"),
        load=Load(locustfile="l.py", rate_per_s=10, users=1),
        warmup_s=10,
        steady_s=20,
        final_s=20,
        faults=tuple(
            Fault(name=f"loss{i}" if i else "loss", experiment="e.json", recovery_s=20)
            for i in range(faults)
        ),
        objectives=objectives,
    )


class Book:
    """Rows of `operations/`; times are seconds since the run began. The run: warmup to 10, steady
    to 30, fault[loss] to 50 (requested at 32, taken back at 48, cleared at 49), recovery[loss] to
    70, final to 90.
    """

    def __init__(self, faults: int = 1) -> None:
        self.plan = plan_with(faults=faults)
        self.stretches = stretches_of(self.plan)
        self.begin_ns = self.stretches[0].begin_ns
        self.users: list[dict[str, Any]] = []
        self.final: list[dict[str, Any]] = []
        self.planned: list[dict[str, Any]] | None = None
        self.residency: list[dict[str, Any]] = []
        self.generator: dict[str, Any] = {}
        self.counted: int | None = None
        self.problems: list[str] = []

    def ns(self, seconds: float) -> int:
        return self.begin_ns + round(seconds * S)

    def op(self, kind: str, key: str, at: float, done: float | None = None, **row: Any) -> int:
        """An operation of a user; answered 10 ms later unless `done` says when."""
        made = {
            "op": len(self.users) + 1,
            "kind": kind,
            "key": key,
            "session": "w0/0",
            "outcome": "ok",
            "invoked_ns": self.ns(at),
            "completed_ns": self.ns(at + 0.01 if done is None else done),
            **row,
        }
        self.users.append(made)
        return int(made["op"])

    def write(self, key: str, version: int | None, at: float, **row: Any) -> int:
        return self.op("write", key, at, version=version, **row)

    def read(self, key: str, version: int | None, at: float, **row: Any) -> int:
        return self.op("read", key, at, version=version, **row)

    def list(self, key: str, elements: list[int], at: float, **row: Any) -> None:
        first = len(self.users) + 1
        for element in elements or [None]:
            self.op("list", key, at, version=element, snapshot=first, **row)

    def back(self, key: str, version: int | None, store: str, at: float = 80.0, **row: Any) -> None:
        """A final read."""
        self.final.append(
            {
                "op": len(self.final) + 1,
                "kind": "read",
                "key": key,
                "version": version,
                "store": store,
                "phase": "final",
                "outcome": "ok",
                "invoked_ns": self.ns(at),
                "completed_ns": self.ns(at + 0.01),
                **row,
            }
        )

    def back_list(self, key: str, elements: list[int], store: str, at: float = 80.0) -> None:
        first = len(self.final) + 1
        for element in elements or [None]:
            self.back(key, element, store, at, kind="list", snapshot=first)

    def judge(self, kind: str, **spec: Any) -> Finding:
        return judge_objective(
            self.run(), self.plan, Objective(name=kind, kind=kind, spec=spec, source="g.yaml:1")
        )

    def run(self) -> MemoryRun:
        run = MemoryRun(self.plan, self.stretches, timeline_of(self.plan, self.stretches))
        for name, rows, schema in (
            (WORKER, self.users, arrow_schema(WORKER)),
            (FINAL, self.final, arrow_schema(FINAL, final=True)),
        ):
            if rows:
                run.operated[name] = rows_batch(rows, schema)
        planned = self.planned
        if planned is None:
            names = ("key", "store", "kind")
            seen = dict.fromkeys(tuple(row[n] for n in names) for row in self.final)
            planned = [dict(zip(names, one, strict=True)) for one in seen]
        if planned:
            run.operated[PLANNED] = rows_batch(planned, planned_schema())
        count = len(self.users) if self.counted is None else self.counted
        end_s = round(((self.stretches[-1].end_ns or 0) - self.begin_ns) / S)
        run.generator = [
            generator_row(self.ns(at), WORKER, at, 10, 10 * at) for at in range(1, end_s + 1)
        ]
        run.generator[-1] |= {"operations": count, "final": True, **self.generator}
        run.residency = self.residency
        return run
