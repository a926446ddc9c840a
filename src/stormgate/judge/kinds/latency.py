"""latency: in these phases the `quantile` of the latency is at most `lte_ms`, for `coverage` of the
users (cells by their share).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.judge.intervals import of_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Positive, Samples, Share
from stormgate.judge.statistics.bounds import (
    conjunction_factor,
    holm,
    quantile_ranks,
    requests_needed,
)
from stormgate.judge.statistics.proportion import (
    BadShare,
    Counted,
    cell_verdicts,
    decisive,
    joint_p,
    shown,
    verdict_counts,
    why_cell,
)
from stormgate.judge.statistics.quantiles import Quantiles
from stormgate.judge.violations.breach import SLOW, Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class LatencySpec(Samples):
    """`quantile` as a fraction (0.95 for p95). `coverage` below 1 needs cells; without `by` they
    are the populations.
    """

    quantile: float = Field(gt=0, lt=1)
    lte_ms: Positive
    coverage: Share = Field(default=1.0, gt=0)


class Latency:
    """ "p95 <= 50 ms" is "at most 5 % took longer or failed": the availability test with another
    meaning of bad.

    A failure is an infinite latency, or quick errors would make a service look fast.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: LatencySpec = task.spec
        self.allowed = round(1.0 - self.spec.quantile, 12)
        by = self.spec.by or (("population",) if self.spec.coverage < 1 else ())
        self.test = BadShare(task, lambda block: ~block.good(self.spec.lte_ms), by)
        self.quantiles = Quantiles()

    def add(self, block: Block) -> None:
        rows = self.test.add(block)
        if rows is not None:
            failed = ~block.ok[rows.index]
            self.quantiles.add(
                rows.cells, block.latency_ns[rows.index], failed, len(self.test.cells)
            )

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        alpha = task.alpha
        self.quantiles.settle(len(self.test.cells))
        # With coverage below 1 a wrong PASS needs only a few lucky cells: each must then pass at a
        # smaller alpha.
        weights = self._weights()
        pass_alpha = (
            alpha / conjunction_factor(list(weights.values()), spec.coverage)
            if spec.coverage < 1 and weights
            else alpha
        )
        counted = self.test.counted(self.allowed, pass_alpha)
        base: dict[str, Any] = {
            "limit": spec.lte_ms,
            "unit": "ms",
            "samples": sum(c.total for c in counted),
        }
        unusable = self.test.unusable()
        if not counted or unusable:
            return Result(
                task.finding(
                    Verdict.INCONCLUSIVE, unusable or "no request was seen in its phases", **base
                )
            )
        if task.context.health.closed_loop:
            return Result(
                task.finding(
                    Verdict.INCONCLUSIVE,
                    "closed-loop load: its latency is reported, not gated",
                    **base,
                )
            )
        verdicts = cell_verdicts(counted, self.allowed, alpha, spec.min_samples)
        cells = [self._cell(c, v, pass_alpha) for c, v in zip(counted, verdicts, strict=True)]
        at = decisive(counted, verdicts)
        verdict, why, p = worst(verdicts), cells[at].why, joint_p(counted, self.allowed)
        if self.test.cells.by:
            why = f"{cells[at].name}: {why}"
        detail: dict[str, Any] = {
            "cells": verdict_counts(verdicts),
            "bad": sum(c.bad for c in counted),
            "quantile": spec.quantile,
        }
        if spec.coverage < 1:
            verdict, why, covered, p = self._covered(counted, verdicts)
            detail |= {"covered": covered, "coverage": spec.coverage}
            at = self._covering(cells)
        finding = task.finding(
            verdict,
            why,
            value=cells[at].value,
            bound=cells[at].bound,
            cells=shown(cells),
            detail=detail,
            **base,
        )
        return Result(finding, p)

    def _weights(self) -> dict[str, float]:
        """The share of users behind each cell: planned for populations, split by requests below
        them.
        """
        totals = self.test._totals.column(len(self.test.cells))
        cells = {n: int(totals[n]) for n in range(len(self.test.cells)) if totals[n]}
        if "population" not in self.test.cells.by:
            return {self.test.cells.name(n): float(t) for n, t in cells.items()}
        shares = self.task.context.shares()
        of = {n: self.test.cells.labels(n)["population"] for n in cells}
        seen: dict[str, int] = {}
        for n, total in cells.items():
            seen[of[n]] = seen.get(of[n], 0) + total
        weights = {
            self.test.cells.name(n): shares.get(of[n], 0.0) * total / seen[of[n]]
            for n, total in cells.items()
        }
        # A population that sent nothing is not covered, and its share still counts.
        weights.update(
            {f"{name} (no request)": share for name, share in shares.items() if name not in seen}
        )
        return weights

    def _covered(
        self, counted: Sequence[Counted], verdicts: Sequence[Verdict]
    ) -> tuple[Verdict, str, float, float]:
        weights, coverage = self._weights(), self.spec.coverage
        whole = math.fsum(weights.values()) or 1.0
        passed = (
            math.fsum(
                weights[c.name] for c, v in zip(counted, verdicts, strict=True) if v is Verdict.PASS
            )
            / whole
        )
        # FAIL needs more than 1 - coverage of the users in cells that fail for certain; its p-value
        # is that of the last cell needed.
        failed, p_needed = 0.0, 1.0
        for c in sorted(counted, key=lambda c: (c.p_fail, c.name)):
            failed += weights[c.name] / whole
            if failed > 1.0 - coverage + 1e-12:
                p_needed = min(1.0, c.p_fail * len(counted))
                break
        told = (
            f"{passed:.1%} of users are within p{self.spec.quantile * 100:g} <= "
            f"{self.spec.lte_ms:g} ms, {coverage:.1%} wanted"
        )
        if passed >= coverage - 1e-12:
            return Verdict.PASS, told, passed, p_needed
        if holm([p_needed], self.task.alpha)[0]:
            return (
                Verdict.FAIL,
                f"{told}; more than {1 - coverage:.1%} are certainly not",
                passed,
                p_needed,
            )
        return Verdict.INCONCLUSIVE, told, passed, p_needed

    def _covering(self, cells: Sequence[Cell]) -> int:
        """The cell at which the promised share of the users is reached, from the fastest on."""
        weights = self._weights()
        whole = math.fsum(weights.values()) or 1.0

        def slowness(i: int) -> tuple[float, float, str]:
            upper, value = cells[i].detail["upper_ms"], cells[i].value
            return (
                math.inf if upper is None else upper,
                math.inf if value is None else value,
                cells[i].name,
            )

        order, reached = sorted(range(len(cells)), key=slowness), 0.0
        for i in order:
            reached += weights[cells[i].name] / whole
            if reached >= self.spec.coverage - 1e-12:
                return i
        return order[-1]

    def _cell(self, counted: Counted, verdict: Verdict, alpha: float) -> Cell:
        n, spec = counted.total, self.spec
        low, high = quantile_ranks(n, spec.quantile, alpha)
        value = self._ms(counted, max(1, math.ceil(n * spec.quantile)))
        upper = None if high is None else self._ms(counted, high)
        lower = None if low is None else self._ms(counted, low)
        blocks = self.test.windows.blocks
        why = why_cell(counted, verdict, self.allowed, alpha, blocks, spec.min_samples)
        return Cell(
            name=counted.name,
            verdict=verdict,
            value=value,
            bound=lower if verdict is Verdict.FAIL else upper,
            samples=n,
            why=why,
            detail={
                "bad": counted.bad,
                "lower_ms": lower,
                "upper_ms": upper,
                "design_effect": counted.deff,
            },
        )

    def _ms(self, counted: Counted, rank: int) -> float | None:
        """The latency at a rank in ms; None: a failure. Never past the limit while its rank is
        within (buckets are coarser than counts).
        """
        edge = self.quantiles.at_rank(counted.number, rank) / 1e6
        if math.isinf(edge):
            return None
        within = rank <= counted.total - counted.bad
        return min(edge, self.spec.lte_ms) if within else max(edge, self.spec.lte_ms)


def _canaries(spec: LatencySpec) -> Sequence[Canary]:
    return (Canary(outcome="reset"), Canary(outcome="ok", latency_ms=spec.lte_ms * 2 + 1))


def _need(spec: LatencySpec, plan: Plan) -> Need:
    allowed = round(1.0 - spec.quantile, 12)
    alpha = 1.0 - plan.confidence
    by = spec.by or (("population",) if spec.coverage < 1 else ())
    if spec.coverage < 1 and by[0] == "population":
        alpha /= conjunction_factor(
            [p.share for p in plan.target.populations] or [1.0], spec.coverage
        )
    return Need(max(spec.min_samples, requests_needed(allowed, alpha)), allowed)


def _drawn(spec: Mapping[str, Any]) -> float | None:
    limit = spec.get("lte_ms")
    return float(limit) if isinstance(limit, int | float) else None


def _breach(spec: LatencySpec) -> Breach:
    return Breach(SLOW, latency_ms=spec.lte_ms, allowed=1.0 - spec.quantile)


KIND = Kind(
    "latency",
    LatencySpec,
    Latency,
    _canaries,
    _need,
    latency=True,
    interval=of_cell("lower_ms", "upper_ms"),
    drawn_limit_ms=_drawn,
    breach=_breach,
)
