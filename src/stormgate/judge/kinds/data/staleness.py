"""staleness: how old what users read is: a quantile of the time since a newer version had been
acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stormgate.evidence.operations import NOTHING, History
from stormgate.evidence.timeline import SECOND_NS
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import OnKeys
from stormgate.judge.histories.segments import distinct, earliest_above, latest_before
from stormgate.judge.histories.told import op_detail, op_told, version_told
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive
from stormgate.judge.statistics import bounds
from stormgate.judge.statistics.proportion import (
    Counted,
    cell_verdicts,
    decisive,
    joint_p,
    shown,
    why_cell,
)
from stormgate.judge.violations.breach import STALE, Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block

Array = NDArray[Any]
_OLDEST = 10


class StalenessSpec(OnKeys):
    """The `quantile` of the staleness of reads is at most `lte_ms` in each `by`; at 1 not one read
    may be older. Reads count whose key had been written before.
    """

    quantile: float = Field(default=0.99, gt=0, le=1)
    lte_ms: Positive
    phases: Names = Field(default=("steady", "fault", "recovery"), min_length=1)
    by: Literal["population", "region", "shard"] = "population"
    min_samples: int = Field(default=100, ge=1)


class Staleness:
    """Staleness of a read that began at s and saw v: s - ack of the first newer version to be
    acknowledged, where that was more than the clock error before s; else 0.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: StalenessSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)

    def add(self, block: Block) -> None:
        """Operations are not samples."""

    def finish(self) -> Result:
        task, spec, data = self.task, self.spec, self.task.context.data
        if data is None:
            raise RuntimeError("staleness is judged on operations")
        base: dict[str, Any] = {"limit": spec.lte_ms, "unit": "ms"}
        reads, age_ns = _ages(data, spec)
        second = self._seconds(reads)
        reads, age_ns, second = (
            reads.take(second >= 0),
            age_ns[second >= 0],
            second[second >= 0],
        )
        doubts = [*data.problems, *self._doubts(data)]
        allowed = 0.0 if spec.quantile >= 1 else 1.0 - spec.quantile
        counted, ages = self._counted(reads, age_ns, second, allowed)
        if not counted:
            why = doubts[0] if doubts else "no read of a key that had been written before"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        verdicts = cell_verdicts(counted, allowed, task.alpha, spec.min_samples)
        cells = [
            self._cell(cell, verdict, ages[cell.number], allowed)
            for cell, verdict in zip(counted, verdicts, strict=True)
        ]
        cells = [_with_oldest(cell, data, reads, age_ns, spec.by) for cell in cells]
        cells += self._silent({cell.name for cell in counted})
        at = decisive(counted, verdicts)
        verdict = worst([cell.verdict for cell in cells])
        why = f"{cells[at].name}: {cells[at].why}"
        if verdict is Verdict.INCONCLUSIVE and verdicts[at] is Verdict.PASS:
            why = f"{cells[-1].name}: {cells[-1].why}"
        if verdict is Verdict.PASS and doubts:
            verdict, why = Verdict.INCONCLUSIVE, doubts[0]
        finding = task.finding(
            verdict,
            why,
            value=cells[at].value,
            bound=cells[at].bound,
            samples=len(reads),
            cells=shown(cells),
            detail={"doubts": doubts[:50], "stale_reads": int(np.count_nonzero(age_ns))},
            **base,
        )
        return Result(finding, joint_p(counted, allowed))

    def _doubts(self, data: Data) -> list[str]:
        found = []
        most_ms = self.task.context.plan.validity.max_clock_error_ms
        if data.clock_error_ns > most_ms * 1e6:
            found.append(
                f"clocks agree to {data.clock_error_ns / 1e6:g} ms only, {most_ms:g} ms are allowed"
            )
        if self.windows.missing:
            found.append(f"phase {', '.join(self.windows.missing)} is not in the evidence whole")
        return found

    def _seconds(self, reads: History) -> Array:
        """The 1 s block of the objective's phases in which each read began; -1: in none."""
        second = np.full(len(reads), -1, np.int64)
        for window in self.windows.windows:
            at = reads.invoked_ns
            inside = (at >= window.begin_ns) & (at < window.end_ns)
            second[inside] = (at[inside] - window.begin_ns) // SECOND_NS + window.first_block
        return second

    def _counted(
        self, reads: History, age_ns: Array, second: Array, allowed: float
    ) -> tuple[list[Counted], dict[int, Array]]:
        spec, task = self.spec, self.task
        where: Array = getattr(reads, spec.by)
        names, blocks = reads.names[spec.by].names, max(1, self.windows.blocks)
        found, ages = [], {}
        for code in sorted(distinct(where).tolist(), key=lambda code: names[code]):
            mine = where == code
            ages[code] = np.sort(age_ns[mine])
            bad = age_ns[mine] > spec.lte_ms * 1e6
            counts = np.bincount(second[mine][bad], minlength=1)
            counts, total = counts[counts > 0], int(np.count_nonzero(mine))
            if not len(counts):
                upper = float(bounds.upper_bound(0.0, total, task.alpha))
                found.append(Counted(code, names[code], total, 0, upper, 0.0, 1.0, 1.0))
                continue
            p, lower = bounds.burst_tail(counts, total, blocks, allowed, task.alpha)
            upper = bounds.burst_upper_bound(counts, total, blocks, task.alpha)
            deff = bounds.design_effect(counts, total, blocks)
            name, bad_ones = names[code], int(counts.sum())
            found.append(Counted(code, name, total, bad_ones, upper, lower, p, deff))
        return found, ages

    def _cell(self, cell: Counted, verdict: Verdict, ages: Array, allowed: float) -> Cell:
        spec, alpha = self.spec, self.task.alpha
        at = min(len(ages), max(1, math.ceil(spec.quantile * len(ages)))) - 1
        rank = None
        if spec.quantile < 1:
            _, rank = bounds.quantile_ranks(len(ages), spec.quantile, alpha)
        blocks = self.windows.blocks
        why = why_cell(cell, verdict, allowed, alpha, blocks, spec.min_samples)
        return Cell(
            name=cell.name,
            verdict=verdict,
            value=float(ages[at]) / 1e6,
            bound=float(ages[-1 if rank is None else rank - 1]) / 1e6
            if spec.quantile >= 1 or rank is not None
            else None,
            samples=cell.total,
            why=f"reads older than {spec.lte_ms:g} ms: {why}",
        )

    def _silent(self, seen: set[str]) -> list[Cell]:
        """Populations whose users read nothing that could have been stale."""
        if self.spec.by != "population":
            return []
        people = [p.name for p in self.task.context.plan.target.populations if p.share > 0]
        return [
            Cell(name=name, verdict=Verdict.INCONCLUSIVE, why="read nothing that had been written")
            for name in people
            if name not in seen
        ]


def _with_oldest(cell: Cell, data: Data, reads: History, age_ns: Array, by: str) -> Cell:
    """The cell with its most outdated reads: of which key, whose, when and by whom answered."""
    names = reads.names[by].names
    mine = np.flatnonzero((getattr(reads, by) == names.index(cell.name)) & (age_ns > 0))
    order = mine[np.argsort(-age_ns[mine], kind="stable")][:_OLDEST].tolist()
    if not order:
        return cell
    oldest = [
        {**op_detail(data, reads, row), "stale_ms": float(age_ns[row]) / 1e6} for row in order
    ]
    key = reads.names.keys.names[int(reads.key[order[0]])]
    told = (
        f"oldest: {key}, {version_told(int(reads.version[order[0]]))} to "
        f"{op_told(data, reads, order[0])}, {oldest[0]['stale_ms']:,.0f} ms after a newer one had "
        "been acknowledged"
    )
    return replace(cell, why=f"{cell.why}; {told}", detail={**cell.detail, "oldest": oldest})


def _ages(data: Data, spec: StalenessSpec) -> tuple[History, Array]:
    """(reads that could have been stale, how stale each was in ns)."""
    users = data.users.take(data.keys(spec.keys)[data.users.key])
    reads = users.take(users.of("read") & users.ok)
    acked = users.take(users.of("write") & users.ok & (users.version != NOTHING))
    error = data.clock_error_ns
    _, any_before = latest_before(
        (acked.key, acked.completed_ns, acked.version), (reads.key, reads.invoked_ns - error)
    )
    reads = reads.take(any_before >= 0)
    newer_ns, row = earliest_above(
        (acked.key, acked.version, acked.completed_ns), (reads.key, reads.version)
    )
    is_stale = (row >= 0) & (newer_ns < reads.invoked_ns - error)
    return reads, np.where(is_stale, reads.invoked_ns - newer_ns, 0)


def _canaries(spec: StalenessSpec) -> Sequence[Canary]:
    key = spec.keys.replace("*", "canary").replace("?", "c")
    rows: list[Mapping[str, Any]] = [
        {"kind": "write", "key": key, "version": 2, "invoked": 0.0, "completed": 1e-6}
    ]
    count = 2 * max(spec.min_samples, math.ceil(3 / max(1e-3, 1 - spec.quantile)))
    rows += [
        {
            "kind": "read",
            "key": key,
            "version": 1,
            "invoked": 0.1 + 0.85 * number / count,
            "completed": 0.1 + 0.85 * number / count,
            spec.by: "somewhere",
        }
        for number in range(count)
    ]
    return (Canary(outcome="ok", operations=rows),)


def _need(spec: StalenessSpec, plan: Plan) -> Need:
    if spec.quantile >= 1:
        return Need(spec.min_samples, None, "every stale read is one too many")
    allowed = 1.0 - spec.quantile
    needed = max(spec.min_samples, bounds.requests_needed(allowed, 1 - plan.confidence))
    note = f"{needed:,} reads of written keys in each {spec.by}"
    return Need(needed, None, note)


def _breach(spec: StalenessSpec) -> Breach:
    return Breach(STALE, seconds=spec.lte_ms / 1000, allowed=1.0 - spec.quantile)


KIND = Kind(
    "staleness", StalenessSpec, Staleness, _canaries, _need, users="", data=True, breach=_breach
)
