"""abRatio: of two ways to serve the same traffic at the same time, B takes at most `lte` times what
A does: its latency, or a number that answers carry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from stormgate.judge.cells import Cells, where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.intervals import of_detail
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive, Spec, Where
from stormgate.judge.statistics.jackknife import GroupedQuantile, ratio_bounds, ratio_p
from stormgate.judge.statistics.means import GroupedSums, NumberColumn, log_ratio, same_mix_p
from stormgate.model import Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block

LATENCY = "latency"
# Below this the two did not get the same traffic. Small, for one run asks it of many kinds of it.
SAME_MIX_P = 0.001
# More requests than this share that belong to neither, or failed, could be anything.
MOST_UNKNOWN = 0.01
# A stretch of time with fewer requests than this may have one's alone by chance (1 in 512).
FEW = 10
_HEALTHY_MS = 20.0  # a canary's good request (judge/canary.py)


class AbRatioSpec(Spec):
    """`label` says which way served a request: `a` or `b`. `of` is what is compared: "latency" at
    `quantile`, or a label that is a number, by its mean over the shares that the `strata` (columns)
    have in both together.
    """

    label: str = Field(min_length=1)
    a: str = Field(min_length=1)
    b: str = Field(min_length=1)
    of: str = Field(default=LATENCY, min_length=1)
    quantile: float | None = Field(default=None, gt=0, lt=1)
    lte: Positive
    strata: Names = ()
    phases: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    min_samples: int = Field(default=500, ge=1)

    @model_validator(mode="after")
    def _which(self) -> Self:
        if self.a == self.b:
            raise ValueError("a and b are the same")
        if (self.of == LATENCY) == (self.quantile is None):
            raise ValueError("latency needs a quantile, a label has none")
        if self.of == LATENCY and self.strata:
            raise ValueError("latency has no strata: use where")
        return self


class AbRatio:
    """PASS if the upper bound of the ratio is at most `lte`, FAIL if its lower bound is above.
    INCONCLUSIVE where the two were not served side by side: a stretch of time without one of them,
    or another mix of routes and populations.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: AbRatioSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.mix: Cells = task.context.cells(("population", "route", *self.spec.strata))
        self.strata: Cells = task.context.cells(self.spec.strata)
        blocks = self.windows.blocks
        self.latency = [GroupedQuantile(blocks), GroupedQuantile(blocks)]
        self.sums = [GroupedSums(blocks), GroupedSums(blocks)]
        self.traffic = [GroupedSums(blocks), GroupedSums(blocks)]
        self.values = NumberColumn(self.spec.of)
        self.total = self.unknown = 0

    def add(self, block: Block) -> None:
        spec = self.spec
        rows, seconds = rows_in(block, self.windows)
        keep = ~block.not_sent[rows]
        where = where_mask(block, spec.where)
        if where is not None:
            keep &= where[rows]
        rows, seconds = rows[keep], seconds[keep]
        if not len(rows):
            return
        arm = block.label(spec.label)[rows]
        names = block.columns[spec.label]
        values = None if spec.of == LATENCY else self.values.of(block)[rows]
        known = block.ok[rows] if values is None else block.ok[rows] & ~np.isnan(values)
        self.total += len(rows)
        placed = np.zeros(len(rows), bool)
        for number, name in enumerate((spec.a, spec.b)):
            mine = names.known((name,))[arm]
            placed |= mine
            at, when = rows[mine], seconds[mine]
            ones = np.ones(len(at))
            self.traffic[number].add(when, self.mix.of(block)[at], ones, len(self.mix))
            if values is None:
                self.latency[number].add(when, block.latency_ns[at], ~block.ok[at])
                continue
            counts = mine & known
            cells = self.strata.of(block)[rows[counts]]
            size = max(1, len(self.strata))
            self.sums[number].add(seconds[counts], cells, values[counts], size)
        self.unknown += int(np.count_nonzero(~(placed & known)))

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        arms = [int(one.counts.sum()) for one in self.traffic]
        base: dict[str, Any] = {"limit": spec.lte, "unit": "ratio", "samples": sum(arms)}
        if (doubt := self._doubt(arms)) is not None:
            return Result(task.finding(Verdict.INCONCLUSIVE, doubt, **base))
        found = self._by_latency() if spec.of == LATENCY else self._by_label()
        if found is None:
            why = f"{spec.of} cannot be compared: a mean of 0, failures, or a stratum of one alone"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        ratio, low, high, p_fail = found
        verdict = Verdict.INCONCLUSIVE
        if low > spec.lte:
            verdict = Verdict.FAIL
        elif high <= spec.lte and min(arms) >= spec.min_samples:
            verdict = Verdict.PASS
        what = spec.of if spec.quantile is None else f"p{spec.quantile * 100:g} of {spec.of}"
        why = f"{what} of {spec.b} is x{ratio:.3f} ({low:.3f} to {high:.3f}) that of {spec.a}"
        finding = task.finding(
            verdict,
            f"{why}, allowed x{spec.lte:g}; {arms[0]:,} and {arms[1]:,} requests side by side",
            value=ratio,
            bound=low if verdict is Verdict.FAIL else high,
            detail={"ratio_low": low, "ratio_high": high, "unknown": self.unknown},
            **base,
        )
        return Result(finding, p_fail)

    def _doubt(self, arms: Sequence[int]) -> str | None:
        """Why the two cannot be compared; None where they can."""
        spec = self.spec
        if self.windows.missing:
            return f"phase {', '.join(self.windows.missing)} is not in the evidence whole"
        for name, count, traffic in zip((spec.a, spec.b), arms, self.traffic, strict=True):
            if not count:
                return f"no request says {spec.label} {name}"
            both = sum(one.counts.sum(axis=1) for one in self.traffic)
            empty = int(((traffic.counts.sum(axis=1) == 0) & (both >= FEW)).sum())
            if empty:
                return (
                    f"{name} had no request in {empty} of {traffic.groups} stretches of time: the "
                    "two were not served side by side"
                )
        if self.unknown > MOST_UNKNOWN * self.total:
            return (
                f"{self.unknown:,} of {self.total:,} requests failed, or do not say {spec.label} "
                f"and {spec.of}"
            )
        a, b = (traffic.counts.sum(axis=0) for traffic in self.traffic)
        size = max(len(a), len(b))
        a, b = (np.pad(one, (0, size - len(one))) for one in (a, b))
        p = same_mix_p(a, b)
        if p < SAME_MIX_P:
            return f"the two did not get the same traffic (chi-squared: p {p:.2g})"
        return None

    def _by_latency(self) -> tuple[float, float, float, float] | None:
        assert self.spec.quantile is not None  # noqa: S101 - the spec's validator
        a, b = (one.estimate(self.spec.quantile) for one in self.latency)
        if a is None or b is None:
            return None
        return (*ratio_bounds(b, a, self.task.alpha), ratio_p(b, a, self.spec.lte))

    def _by_label(self) -> tuple[float, float, float, float] | None:
        size = max(one.sums.shape[1] for one in self.sums)
        padded = [
            tuple(np.pad(x, ((0, 0), (0, size - x.shape[1]))) for x in (one.sums, one.counts))
            for one in self.sums
        ]
        (sum_a, count_a), (sum_b, count_b) = padded
        found = log_ratio((sum_a, count_a), (sum_b, count_b))
        if found is None:
            return None
        low, high = found.lower(self.task.alpha), found.upper(self.task.alpha)
        # Ratios of prices are exact; their logarithms are so to the last bits only.
        values = [round(math.exp(x), 9) for x in (found.value, low, high)]
        return values[0], values[1], values[2], found.p_above(math.log(self.spec.lte) + 1e-9)


def _canaries(spec: AbRatioSpec) -> Sequence[Canary]:
    dealt = {spec.label: (spec.a, spec.b)}
    if spec.of == LATENCY:
        slow_ms = _HEALTHY_MS * (2 * spec.lte + 1)
        return (Canary(outcome="ok", latency_ms=slow_ms, dealt=dealt, last_turn_only=True),)
    return (Canary(outcome="ok", dealt={**dealt, spec.of: ("1", f"{2 * spec.lte + 1:.6g}")}),)


def _need(spec: AbRatioSpec, plan: Plan) -> Need:
    return Need(2 * spec.min_samples, None, "half of them each way, side by side")


KIND = Kind(
    "abRatio",
    AbRatioSpec,
    AbRatio,
    _canaries,
    _need,
    latency=False,
    interval=of_detail("ratio_low", "ratio_high"),
)
