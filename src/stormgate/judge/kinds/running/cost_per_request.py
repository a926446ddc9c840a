"""costPerRequest: what an answered request costs on average, by a label that answers carry, is at
most `lte`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.judge.cells import where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.intervals import of_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Positive, Samples
from stormgate.judge.statistics.means import GroupedSums, NumberColumn
from stormgate.judge.statistics.proportion import shown
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class CostPerRequestSpec(Samples):
    """`label` is the column with what each answer cost, in whatever currency `lte` is in too."""

    label: str = Field(min_length=1)
    lte: Positive
    min_samples: int = Field(default=1000, ge=1)


class CostPerRequest:
    """Counted over answered requests. FAIL if the lower bound of the mean is above `lte`, PASS if
    its upper bound is not. One answer that does not say what it cost makes a PASS INCONCLUSIVE:
    null is not free (for a FAIL it counts as free).
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: CostPerRequestSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.cells = task.context.cells(self.spec.by)
        self.sums = GroupedSums(self.windows.blocks)
        self.costs = NumberColumn(self.spec.label)
        self.unpriced = 0
        self.failed = 0

    def add(self, block: Block) -> None:
        rows, seconds = rows_in(block, self.windows)
        keep = ~block.not_sent[rows]
        where = where_mask(block, self.spec.where)
        if where is not None:
            keep &= where[rows]
        self.failed += int(np.count_nonzero(keep & ~block.ok[rows]))
        keep &= block.ok[rows]
        rows, seconds = rows[keep], seconds[keep]
        if not len(rows):
            return
        costs = self.costs.of(block)[rows]
        self.unpriced += int(np.count_nonzero(np.isnan(costs)))
        cells = self.cells.of(block)[rows]
        self.sums.add(seconds, cells, np.nan_to_num(costs), len(self.cells))

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        total = int(self.sums.counts.sum())
        base: dict[str, Any] = {"limit": spec.lte, "unit": spec.label, "samples": total}
        if self.windows.missing or not total:
            why = (
                f"phase {', '.join(self.windows.missing)} is not in the evidence whole"
                if self.windows.missing
                else "no answered request in its phases"
            )
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        judged = [
            self._cell(number)
            for number in self.cells.ordered()
            if number < self.sums.counts.shape[1] and self.sums.counts[:, number].any()
        ]
        cells = [cell for cell, _ in judged]
        decisive = max(cells, key=lambda c: (c.verdict.severity, c.bound or 0.0))
        finding = task.finding(
            worst(c.verdict for c in cells),
            f"{decisive.name}: {decisive.why}" if spec.by else decisive.why,
            value=decisive.value,
            bound=decisive.bound,
            cells=shown(cells),
            detail={"unpriced": self.unpriced, "failed": self.failed},
            **base,
        )
        ps = [p for _, p in judged if p is not None]
        return Result(finding, min(1.0, min(ps) * len(ps)) if ps else None)

    def _cell(self, number: int) -> tuple[Cell, float | None]:
        spec = self.spec
        samples = int(self.sums.counts[:, number].sum())
        name = self.cells.name(number)
        mean = self.sums.mean(number)
        if mean is None:
            why = "too few seconds to say how sure its mean is"
            cell = Cell(name=name, verdict=Verdict.INCONCLUSIVE, samples=samples, why=why)
            return cell, None
        low, high = mean.lower(self.task.alpha), mean.upper(self.task.alpha)
        verdict, more = self._verdict(low, high, samples)
        why = f"{mean.value:.3g} ({low:.3g} to {high:.3g}) a request, allowed {spec.lte:g}{more}"
        cell = Cell(
            name=name,
            verdict=verdict,
            value=mean.value,
            bound=low if verdict is Verdict.FAIL else high,
            samples=samples,
            why=why,
            detail={"mean_low": low, "mean_high": high},
        )
        return cell, mean.p_above(spec.lte)

    def _verdict(self, low: float, high: float, samples: int) -> tuple[Verdict, str]:
        spec = self.spec
        if low > spec.lte:
            return Verdict.FAIL, ""
        if self.unpriced:
            more = f"; {self.unpriced:,} answers do not say in {spec.label} what they cost"
            return Verdict.INCONCLUSIVE, more
        if high <= spec.lte and samples >= spec.min_samples:
            return Verdict.PASS, ""
        return Verdict.INCONCLUSIVE, (
            "" if samples >= spec.min_samples else f"; {spec.min_samples:,} requests wanted"
        )


def _canaries(spec: CostPerRequestSpec) -> Sequence[Canary]:
    return (Canary(outcome="ok", labels={spec.label: f"{spec.lte * 10:.12g}"}),)


def _need(spec: CostPerRequestSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, "answered requests that say what they cost, over 3 s")


KIND = Kind(
    "costPerRequest",
    CostPerRequestSpec,
    CostPerRequest,
    _canaries,
    _need,
    timing=False,
    users="",
    interval=of_cell("mean_low", "mean_high"),
)
