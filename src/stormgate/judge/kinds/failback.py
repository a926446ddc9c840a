"""failback: `settle_s` after a fault was cleared the users are where they were: same regions, same
shards, same share of errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stormgate.evidence.timeline import (
    SECOND_NS,
    FaultWindow,
    PhaseWindow,
    Windows,
    standing_together,
)
from stormgate.judge.cells import Cells, Tally, where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive, Share, Spec, Where
from stormgate.judge.statistics import bounds
from stormgate.judge.statistics.proportion import shown, verdict_counts
from stormgate.judge.violations.breach import Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block

Array = NDArray[Any]
ERRORS = "errors"


class FailbackSpec(Spec):
    """From `settle_s` after the clearing to the end of the recovery, no value of a label may have
    gained or lost more than `tolerance` of a cell's answered requests against `versus`, nor may its
    share of bad requests have grown by more than `error_tolerance`.
    """

    settle_s: Positive
    labels: Names = Field(default=("served_by", "shard"), min_length=1)
    by: Names = ("population",)
    versus: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    fault: str | None = None
    tolerance: Share = Field(default=0.05, gt=0)
    error_tolerance: Share = Field(default=0.01, gt=0)
    within_ms: Positive = 2000.0
    min_samples: int = Field(default=100, ge=1)


@dataclass(frozen=True, slots=True)
class _Test:
    """One comparison: `name` says cell and label value; counts before and after."""

    name: str
    hits: tuple[int, int]
    totals: tuple[int, int]
    tolerance: float
    one_sided: bool


class Failback:
    """The difference of two shares, bounded by Clopper-Pearson on each side at half of alpha."""

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: FailbackSpec = task.spec
        self.base = task.context.windows(self.spec.versus)
        self.faults = [f for f in task.context.faults if self.spec.fault in (None, f.name)]
        self.after = {f.name: w for f in self.faults if (w := self._after(f)) is not None}
        self.cells = task.context.cells(self.spec.by)
        self.joint = {
            label: task.context.cells((*self.spec.by, label)) for label in self.spec.labels
        }
        stretches = 1 + len(self.after)
        self._sent, self._bad = Tally(stretches), Tally(stretches)
        self._labelled = {label: Tally(stretches) for label in self.spec.labels}

    def _after(self, fault: FaultWindow) -> Windows | None:
        """After it was cleared, and all that stood with it: until then nobody has to be back."""
        if fault.cleared_ns is None or fault.end_ns is None:
            return None
        others = standing_together(fault, self.task.context.faults)
        cleared = max(one.cleared_ns for one in others if one.cleared_ns is not None)
        end = max(one.end_ns for one in others if one.end_ns is not None)
        begin = cleared + round(self.spec.settle_s * SECOND_NS)
        return Windows((PhaseWindow(fault.name, begin, end, 0),), ()) if begin < end else None

    def add(self, block: Block) -> None:
        where = where_mask(block, self.spec.where)
        for column, windows in enumerate([self.base, *self.after.values()]):
            rows, _ = rows_in(block, windows)
            keep = ~block.not_sent[rows]
            if where is not None:
                keep &= where[rows]
            rows = rows[keep]
            if len(rows):
                self._count(block, rows, column)

    def _count(self, block: Block, rows: Array, column: int) -> None:
        cells = self.cells.of(block)[rows]
        good = block.good(self.spec.within_ms)[rows]
        self._sent.add(cells, np.full(len(rows), column), len(self.cells))
        if not good.all():
            self._bad.add(cells[~good], np.full(int((~good).sum()), column), len(self.cells))
        for label, joint in self.joint.items():
            known = block.ok[rows] & (block.label(label)[rows] > 0)
            if known.any():
                numbers = joint.of(block)[rows[known]]
                self._labelled[label].add(numbers, np.full(len(numbers), column), len(joint))

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        base: dict[str, Any] = {"limit": spec.tolerance, "unit": "share"}
        problem = self._problem()
        if problem is not None:
            return Result(task.finding(Verdict.INCONCLUSIVE, problem, **base))
        tests: list[_Test] = []
        for column, name in enumerate(self.after, start=1):
            tests += self._tests(name, column)
        p_alpha = task.alpha / (2 * max(1, len(tests)))
        cells = [self._cell(t, p_alpha) for t in tests]
        unproven = [f.name for f in self.faults if not f.proven]
        verdict = worst(c.verdict for c in cells)
        decisive = max(cells, key=lambda c: (c.verdict.severity, c.bound or 0.0, c.name))
        why = f"{decisive.name}: {decisive.why}"
        if verdict is Verdict.PASS and unproven:
            verdict, why = Verdict.INCONCLUSIVE, f"fault not observed: {', '.join(unproven)}"
        finding = task.finding(
            verdict,
            why,
            value=decisive.value,
            bound=decisive.bound,
            samples=sum(c.samples for c in cells if c.name.endswith(ERRORS)),
            cells=shown(cells),
            detail={"comparisons": verdict_counts([c.verdict for c in cells])},
            **base,
        )
        return Result(finding)

    def _problem(self) -> str | None:
        if not self.faults:
            return "the plan has no such fault"
        if self.base.missing:
            return f"phase {', '.join(self.base.missing)} is not in the evidence whole"
        absent = [f.name for f in self.faults if f.name not in self.after]
        if absent:
            return (
                f"nothing was watched {self.spec.settle_s:g} s after {', '.join(absent)} "
                "was cleared"
            )
        silent = [
            label
            for label, tally in self._labelled.items()
            if not tally.column(len(self.joint[label])).any()
        ]
        if silent:
            return f"no sample of {', '.join(self.spec.versus)} has a value in {', '.join(silent)}"
        return None

    def _tests(self, fault: str, column: int) -> list[_Test]:
        tests = []
        sent0, sent1 = (self._sent.column(len(self.cells), c) for c in (0, column))
        bad0, bad1 = (self._bad.column(len(self.cells), c) for c in (0, column))
        for n in self.cells.ordered():
            if sent0[n]:
                name = f"{fault}: {self.cells.name(n)}: {ERRORS}"
                hits, totals = (int(bad0[n]), int(bad1[n])), (int(sent0[n]), int(sent1[n]))
                tests.append(_Test(name, hits, totals, self.spec.error_tolerance, True))
        for label, joint in self.joint.items():
            tests += self._label_tests(fault, column, label, joint)
        return tests

    def _label_tests(self, fault: str, column: int, label: str, joint: Cells) -> list[_Test]:
        before, after = (self._labelled[label].column(len(joint), c) for c in (0, column))
        totals: dict[tuple[int, ...], list[int]] = {}
        for n, key in enumerate(joint.keys):
            sums = totals.setdefault(key[:-1], [0, 0])
            sums[0] += int(before[n])
            sums[1] += int(after[n])
        tests = []
        for n in joint.ordered():
            if not before[n] and not after[n]:
                continue
            labels = joint.labels(n)
            value = labels.pop(label)
            where = " / ".join(labels.values()) or "all"
            sums = totals[joint.keys[n][:-1]]
            name = f"{fault}: {where}: {label} {value}"
            tests.append(
                _Test(
                    name,
                    (int(before[n]), int(after[n])),
                    (sums[0], sums[1]),
                    self.spec.tolerance,
                    False,
                )
            )
        return tests

    def _cell(self, test: _Test, p_alpha: float) -> Cell:
        (hits0, hits1), (n0, n1) = test.hits, test.totals
        share0, share1 = hits0 / max(n0, 1), hits1 / max(n1, 1)
        change = share1 - share0 if test.one_sided else abs(share1 - share0)
        low, _ = _change_bounds(test, p_alpha)
        _, high = _change_bounds(test, self.task.alpha / 2)
        direction = "more" if test.one_sided else "more or less"
        told = (
            f"{share0:.2%} before, {share1:.2%} after; {test.tolerance:.2%} {direction} is allowed"
        )
        verdict = Verdict.INCONCLUSIVE
        if low > test.tolerance:
            verdict = Verdict.FAIL
        elif min(n0, n1) < self.spec.min_samples:
            told = f"{n0:,} requests before and {n1:,} after, {self.spec.min_samples:,} wanted"
        elif high <= test.tolerance:
            verdict = Verdict.PASS
        bound = low if verdict is Verdict.FAIL else high
        return Cell(
            name=test.name, verdict=verdict, value=change, bound=bound, samples=n1, why=told
        )


def _change_bounds(test: _Test, alpha: float) -> tuple[float, float]:
    """The least and the most that a share has changed (grown, if one-sided), each bound of each
    share at `alpha`.
    """
    hits, totals = np.array(test.hits), np.array(test.totals)
    up, low = (
        bounds.upper_bound(hits, totals, alpha),
        bounds.lower_bound(hits, totals, alpha),
    )
    grown = float(low[1] - up[0]), float(up[1] - low[0])
    if test.one_sided:
        return grown
    return max(grown[0], float(low[0] - up[1])), max(grown[1], float(up[0] - low[1]))


def _canaries(spec: FailbackSpec) -> Sequence[Canary]:
    return (
        Canary(outcome="reset", everywhere=False),
        Canary(outcome="ok", labels={spec.labels[0]: "\0elsewhere"}, everywhere=False),
    )


def _need(spec: FailbackSpec, plan: Plan) -> Need:
    alpha = (1.0 - plan.confidence) / 2
    # Both shares near a half are the hardest: the sum of two half-widths must stay within the
    # tolerance.
    half = float(bounds.special().ndtri(1 - alpha)) / min(spec.tolerance, 2 * spec.error_tolerance)
    return Need(
        max(spec.min_samples, int(np.ceil(half * half))),
        None,
        "per cell, before and after the fault",
    )


def _contradictions(spec: FailbackSpec, plan: Plan, lengths: Mapping[str, float]) -> Sequence[str]:
    if all(fault.recovery_s > spec.settle_s for fault in plan.faults):
        return []
    return [f"recovery is over before the {spec.settle_s:g} s after which users must be home"]


def _breach(_: FailbackSpec) -> Breach | str:
    return "it judges what comes after a fault was taken back, and a violation has to stand then"


KIND = Kind(
    "failback",
    FailbackSpec,
    Failback,
    _canaries,
    _need,
    users="",  # only after a fault
    over_faults=True,
    contradictions=_contradictions,
    breach=_breach,
)
