"""The test most kinds rest on: in these phases, at most this share of the requests of every cell
may be bad.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.samples import Block
from stormgate.judge.cells import BadBlocks, Tally, where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.registry import JudgeTask
from stormgate.judge.statistics import bounds
from stormgate.model import Cell, Verdict

Array = NDArray[Any]
# Cells a finding lists; the worst come first and the rest is counted in its detail.
CELLS_SHOWN = 256


@dataclass(frozen=True, slots=True)
class Counted:
    """One cell's counts and bounds. `upper` and `lower` bound its bad share, `p_fail` is the
    p-value of "worse than allowed".
    """

    number: int
    name: str
    total: int
    bad: int
    upper: float
    lower: float
    p_fail: float
    deff: float


class BadShare:
    """Counts bad requests per cell and 1 s block, and bounds their share. `bad` says which rows of
    a block are bad, `counts` which count.
    """

    def __init__(
        self,
        task: JudgeTask,
        bad: Callable[[Block], Array],
        by: Sequence[str] | None = None,
        counts: Callable[[Block], Array] | None = None,
    ) -> None:
        self.task = task
        self.spec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.cells = task.context.cells(self.spec.by if by is None else by)
        self._bad = bad
        self._counts = counts
        self._totals = Tally()
        self._blocks = BadBlocks()

    def add(self, block: Block) -> Rows | None:
        """Count a block. Returns the rows that counted, for kinds that look at more than bad or
        not.
        """
        rows, seconds = rows_in(block, self.windows)
        keep = ~block.not_sent[rows]
        where = where_mask(block, self.spec.where)
        if where is not None:
            keep &= where[rows]
        if self._counts is not None:
            keep &= self._counts(block)[rows]
        if not keep.all():
            rows, seconds = rows[keep], seconds[keep]
        if not len(rows):
            return None
        cells = self.cells.of(block)[rows]
        self._totals.add(cells, None, len(self.cells))
        bad = self._bad(block)[rows]
        if bad.any():
            self._blocks.add(cells[bad], seconds[bad])
        return Rows(rows, cells, bad)

    def counted(
        self, allowed: float, alpha: float, *, unconditional: bool = False
    ) -> list[Counted]:
        """Every cell that had a request, by name. An unconditional claim counts 1 s blocks, not
        requests.
        """
        totals = self._totals.column(len(self.cells))
        bursts = self._blocks.per_cell()
        blocks = max(1, self.windows.blocks)
        clean = bounds.upper_bound(
            0.0, np.minimum(totals, blocks) if unconditional else totals, alpha
        )
        found = []
        for number in self.cells.ordered():
            total = int(totals[number])
            if not total:
                continue
            counts = bursts.get(number)
            name = self.cells.name(number)
            if counts is None:
                found.append(Counted(number, name, total, 0, float(clean[number]), 0.0, 1.0, 1.0))
                continue
            p, lower = bounds.burst_tail(counts, total, self.windows.blocks, allowed, alpha)
            least = max(1.0, total / blocks) if unconditional else 1.0
            upper = bounds.burst_upper_bound(counts, total, self.windows.blocks, alpha, least)
            deff = bounds.design_effect(counts, total, self.windows.blocks)
            found.append(Counted(number, name, total, int(counts.sum()), upper, lower, p, deff))
        return found

    def unusable(self) -> str | None:
        """Why no number of counts could decide: a phase or a column is not in the evidence."""
        if self.windows.missing:
            return f"phase {', '.join(self.windows.missing)} is not in the evidence whole"
        unknown = self.cells.unknown_columns()
        if unknown:
            return f"no sample has a value in column {', '.join(unknown)}"
        return None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a block that counted for an objective: their indices, cells, and which were bad."""

    index: Array
    cells: Array
    bad: Array


def cell_verdicts(
    counted: Sequence[Counted],
    allowed: float,
    alpha: float,
    min_samples: int,
    pass_alpha: float | None = None,
) -> list[Verdict]:
    """PASS: upper bound within what is allowed (of `counted` taken at `pass_alpha`); FAIL: worse by
    Holm over the cells; else INCONCLUSIVE.

    Allowed 0 is no statistics: one bad request is a FAIL, none of at least `min_samples` a PASS.
    """
    if allowed <= 0:
        return [
            Verdict.FAIL
            if c.bad
            else Verdict.PASS
            if c.total >= min_samples
            else Verdict.INCONCLUSIVE
            for c in counted
        ]
    failed = bounds.holm([c.p_fail for c in counted], alpha)
    verdicts = []
    for cell, fails in zip(counted, failed, strict=True):
        if fails:
            verdicts.append(Verdict.FAIL)
        elif cell.upper <= allowed and cell.total >= min_samples:
            verdicts.append(Verdict.PASS)
        else:
            verdicts.append(Verdict.INCONCLUSIVE)
    return verdicts


def joint_p(counted: Sequence[Counted], allowed: float) -> float | None:
    """The p-value that some cell is worse than allowed (Bonferroni over cells); None where that is
    a fact, not chance.
    """
    if allowed <= 0:
        return None
    return min(1.0, min((c.p_fail for c in counted), default=1.0) * len(counted))


def why_cell(
    cell: Counted, verdict: Verdict, allowed: float, alpha: float, blocks: int, min_samples: int
) -> str:
    """One sentence on one cell, in requests."""
    told = f"{cell.bad:,} of {cell.total:,} bad"
    confidence = f"{1 - alpha:.4g}"
    fits = allowed <= 0 or cell.upper <= allowed
    if verdict is Verdict.INCONCLUSIVE and fits and cell.total < min_samples:
        return f"{told}, which is too few to tell: {min_samples:,} are wanted (minSamples)"
    if allowed <= 0:
        return f"{told}, none is allowed" if cell.bad else f"{told}"
    if verdict is Verdict.FAIL:
        return (
            f"{told}: at least {cell.lower:.3g} at {confidence} confidence, allowed {allowed:.3g}"
        )
    burst = f", bursts count {cell.deff:.3g} requests as one" if cell.deff > 1.005 else ""
    if cell.bad == 0:
        burst = f", given this run's {blocks} s"
    if verdict is Verdict.PASS:
        return (
            f"{told}: at most {cell.upper:.3g} at {confidence} confidence, allowed "
            f"{allowed:.3g}{burst}"
        )
    needed = bounds.requests_needed(allowed, alpha, cell.bad if cell.bad <= 1000 else 1000)
    hint = (
        f"; {needed:,} requests would have been needed"
        if needed > cell.total and cell.deff <= 1.005
        else ""
    )
    return f"{told}: up to {cell.upper:.3g} cannot be ruled out, allowed {allowed:.3g}{burst}{hint}"


def shown(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells a finding lists: worst verdict first, then by name, at most CELLS_SHOWN."""
    return tuple(sorted(cells, key=lambda c: (-c.verdict.severity, c.name))[:CELLS_SHOWN])


def verdict_counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many cells came to which verdict."""
    return {v.value: verdicts.count(v) for v in Verdict if v in verdicts}


def decisive(counted: Sequence[Counted], verdicts: Sequence[Verdict]) -> int:
    """The index of the cell that decides: the worst verdict, then the least likely innocent, then
    the largest bound, then the name.
    """
    return max(
        range(len(counted)),
        key=lambda i: (
            verdicts[i].severity,
            -counted[i].p_fail if verdicts[i] is Verdict.FAIL else 0.0,
            counted[i].upper,
            -i,
        ),
    )
