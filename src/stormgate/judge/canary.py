"""No rule that cannot fail: before a run each objective is shown a violation and an empty series
through the judge itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operation_files import rows_batch
from stormgate.evidence.operations import FINAL, PLANNED, arrow_schema, planned_schema
from stormgate.evidence.schema import CORE_COLUMNS
from stormgate.evidence.timeline import phase_names
from stormgate.judge.engine import judge_objective
from stormgate.judge.registry import Canary, kinds
from stormgate.judge.synthetic import (
    MadePhase,
    MemoryRun,
    batch_of,
    generator_of,
    stretches_of,
    timeline_of,
)
from stormgate.model import Event, Objective, Plan, Verdict

Array = NDArray[Any]
# Enough for any objective to fail on when every request is bad, and little enough to be shown in a
# blink.
_REQUESTS = 20_000
_LONGEST_S = 600.0  # of a phase, unless the objective itself speaks of longer times
_NEVER_OVER_S = 7200.0
_WORKER = "canary"
_HEALTHY_MS = 20.0
_OP_VALUES = ("read", "write")
_PLACEHOLDER = "usual"


@dataclass(frozen=True, slots=True)
class Proof:
    """What an objective said when shown violations (the mildest verdict of them) and nothing at
    all.
    """

    objective: str
    source: str
    violation: Verdict
    empty: Verdict
    why: str

    @property
    def problem(self) -> str | None:
        """The message that stops a gate, or None."""
        if self.violation is Verdict.PASS:
            what = "stays PASS when shown a violation"
        elif self.empty is Verdict.PASS:
            what = "stays PASS when shown no evidence at all"
        else:
            return None
        return (
            f"{self.source or 'gate'}: objective {self.objective!r} {what}: it cannot fail "
            f"({self.why})"
        )

    @property
    def can_fail(self) -> bool:
        """Whether the violation came to FAIL, and not only to a doubt."""
        return self.violation is Verdict.FAIL


def prove(plan: Plan) -> list[Proof]:
    """Show every objective of a plan its violations and an empty series."""
    return [_proof(plan, objective) for objective in plan.objectives]


def canary_problems(plan: Plan) -> list[str]:
    """One message per objective that stays green; a gate with any must not start (exit 2)."""
    return [problem for proof in prove(plan) if (problem := proof.problem) is not None]


def _proof(plan: Plan, objective: Objective) -> Proof:
    kind = kinds()[objective.kind]
    spec = kind.spec_model.model_validate(objective.spec)
    plan = _shortened(plan, spec)
    shown = [
        judge_objective(_run(plan, spec, canary), plan, objective) for canary in kind.canaries(spec)
    ]
    mildest = min(shown, key=lambda finding: finding.verdict.severity)
    empty = judge_objective(_run(plan, spec, None), plan, objective)
    return Proof(objective.name, objective.source, mildest.verdict, empty.verdict, mildest.why)


def _shortened(plan: Plan, spec: Any) -> Plan:
    """The plan with no phase longer than tells anything: a canary of a year would take minutes."""
    times = [
        float(value)
        for name, value in spec.model_dump().items()
        if name.endswith("_s") and name != "window_s" and isinstance(value, int | float)
    ]
    most = min(max([_LONGEST_S, *(2 * seconds for seconds in times)]), _NEVER_OVER_S)
    return replace(
        plan,
        warmup_s=min(plan.warmup_s, most),
        steady_s=min(plan.steady_s, most),
        final_s=min(plan.final_s, most),
        faults=tuple(replace(one, recovery_s=min(one.recovery_s, most)) for one in plan.faults),
    )


def _run(plan: Plan, spec: Any, canary: Canary | None) -> MemoryRun:
    stretches = stretches_of(plan)
    run = MemoryRun(plan=plan, stretches=stretches, timeline=timeline_of(plan, stretches))
    begin, end = stretches[0].begin_ns, max(s.end_ns or 0 for s in stretches)
    intended = begin + (np.arange(_REQUESTS) + 0.5) * ((end - begin) / _REQUESTS)
    times = intended.astype(np.int64)
    run.generator = generator_of(begin, end, {_WORKER: times})
    if canary is None:
        return run
    # The healthy requests lie where the objective looks for its standard; everywhere else all goes
    # wrong.
    spared = (
        []
        if canary.everywhere
        else [
            s for s in stretches if s.name in phase_names(getattr(spec, "versus", ()), plan.faults)
        ]
    )
    wrong = np.ones(_REQUESTS, bool)
    for stretch in spared:
        wrong &= ~((times >= stretch.begin_ns) & (times < (stretch.end_ns or 0)))
    if canary.from_fault:
        requested = [r["at_ns"] for r in run.timeline if r["event"] == Event.FAULT_REQUESTED]
        wrong &= times >= min(requested, default=begin)
    run.blocks = [(_WORKER, _batch(plan, spec, canary, times, wrong))]
    run.readings = _readings(canary, stretches)
    run.traces = [{"at_ns": begin, **row} for row in canary.traces]
    _operated(run, canary, begin, end)
    return run


def _batch(plan: Plan, spec: Any, canary: Canary, times: Array, wrong: Array) -> Any:
    number = np.arange(len(times))
    turns = max((len(values) for values in canary.dealt.values()), default=1)
    # Each turn meets every population, reading and writing.
    turn = number // (2 * max(1, len(plan.target.populations))) % turns
    if canary.last_turn_only:
        wrong = wrong & (turn == turns - 1)
    latency = np.where(wrong, canary.latency_ms, _HEALTHY_MS)
    populations = [p.name for p in plan.target.populations] or [_PLACEHOLDER]
    columns: dict[str, Any] = {
        "intended_ns": times,
        "sent_ns": times,
        "done_ns": times + (latency * 1e6).astype(np.int64),
        "population": (number % len(populations), populations),
        "route": (np.zeros(len(times), np.int64), [_PLACEHOLDER]),
        "op": ((number // len(populations)) % 2, list(_OP_VALUES)),
        "request": number,
        "attempt": np.ones(len(times)),
        "status": np.where(wrong, canary.status, 200),
        "outcome": (np.where(wrong & (canary.outcome != "ok"), 1, 0), ["ok", canary.outcome]),
    }
    where: Mapping[str, tuple[str, ...]] = getattr(spec, "where", {})
    wanted = [*getattr(spec, "by", ()), *getattr(spec, "labels", ()), *where, *canary.labels]
    labels: dict[str, Any] = {}
    for column in dict.fromkeys([*wanted, *([spec.label] if hasattr(spec, "label") else [])]):
        if column in where:
            names = list(where[column])
            value = (number % len(names), names)
        elif column in columns:
            continue
        else:
            value = (np.zeros(len(times), np.int64), [_PLACEHOLDER])
        (columns if column in CORE_COLUMNS else labels)[column] = value
    for column, name in canary.labels.items():
        table = columns if column in CORE_COLUMNS else labels
        codes, names = table.get(column, (np.zeros(len(times), np.int64), [_PLACEHOLDER]))
        table[column] = (np.where(wrong, len(names), codes), [*names, name])
    for column, values in canary.dealt.items():
        labels[column] = (turn, list(values))
    return batch_of(_WORKER, columns, labels)


def _operated(run: MemoryRun, canary: Canary, begin: int, end: int) -> None:
    """The operations of a canary, what was read back of them, and looks for what it hid."""

    def timed(row: Mapping[str, Any], **times: str) -> dict[str, Any]:
        made = {"outcome": "ok", **row}
        for column, share in times.items():
            made[column] = begin + round(made.pop(share) * (end - begin))
        return made

    span = {"invoked_ns": "invoked", "completed_ns": "completed"}
    for name, rows, schema in (
        (_WORKER, canary.operations, arrow_schema(_WORKER)),
        (FINAL, canary.final, arrow_schema(FINAL, final=True)),
    ):
        base = {"session": "one"} if name == _WORKER else {"phase": "final"}
        made = [{"op": at, **base, **timed(row, **span)} for at, row in enumerate(rows, start=1)]
        if made:
            run.operated[name] = rows_batch(made, schema)
    if canary.final:
        run.operated[PLANNED] = rows_batch(canary.final, planned_schema())
    run.generator[-1]["operations"] = len(canary.operations)
    run.residency = [timed(row, at_ns="at") for row in canary.residency]


def _readings(canary: Canary, stretches: list[MadePhase]) -> list[dict[str, Any]]:
    rows = []
    for probe, values in canary.readings.items():
        for stretch in stretches:
            step = ((stretch.end_ns or 0) - stretch.begin_ns) / (len(values) + 1)
            for i, value in enumerate(values, start=1):
                rows.append(
                    {
                        "at_ns": stretch.begin_ns + round(i * step),
                        "probe": probe,
                        "value": value,
                        "error": None,
                    }
                )
    return rows
