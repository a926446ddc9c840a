"""Is one latency quantile worse than another by more than allowed? Shared by ratio (two phases) and
nonInferiority (two runs).
"""

from __future__ import annotations

from typing import Any

from stormgate.evidence.samples import Block
from stormgate.evidence.timeline import Windows
from stormgate.judge.cells import where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.registry import JudgeTask, Result
from stormgate.judge.statistics.jackknife import Estimate, GroupedQuantile, ratio_bounds, ratio_p
from stormgate.model import Verdict


class PhaseLatency:
    """The latency quantile of some phases' requests."""

    def __init__(self, windows: Windows, where: dict[str, tuple[str, ...]]) -> None:
        self.windows = windows
        self._where = where
        self._grouped = GroupedQuantile(windows.blocks)

    def add(self, block: Block) -> None:
        rows, seconds = rows_in(block, self.windows)
        if not len(rows):
            return
        keep = ~block.not_sent[rows]
        where = where_mask(block, self._where)
        if where is not None:
            keep &= where[rows]
        rows, seconds = rows[keep], seconds[keep]
        if len(rows):
            self._grouped.add(seconds, block.latency_ns[rows], ~block.ok[rows])

    def samples(self) -> int:
        return self._grouped.samples()

    def failing(self, quantile: float) -> bool:
        return self._grouped.failing(quantile)

    def estimate(self, quantile: float) -> Estimate | None:
        return self._grouped.estimate(quantile)


def compared(
    task: JudgeTask, one: Estimate, base: Estimate, limit: float, what: str, detail: dict[str, Any]
) -> Result:
    """PASS if the upper bound of the ratio is at most `limit`, FAIL if its lower bound is above:
    "not significant" is no PASS.
    """
    ratio, low, high = ratio_bounds(one, base, task.alpha)
    told = f"p{task.spec.quantile * 100:g} is {one.ms:.2f} ms, {base.ms:.2f} ms {what}"
    told += f": x{ratio:.3f} ({low:.3f} to {high:.3f}), allowed x{limit:g}"
    verdict = Verdict.INCONCLUSIVE
    if low > limit:
        verdict = Verdict.FAIL
    elif high <= limit and min(one.samples, base.samples) >= task.spec.min_samples:
        verdict = Verdict.PASS
    finding = task.finding(
        verdict,
        told,
        value=ratio,
        bound=low if verdict is Verdict.FAIL else high,
        limit=limit,
        unit="ratio",
        samples=one.samples,
        detail={**detail, "ratio_low": low, "ratio_high": high},
    )
    return Result(finding, ratio_p(one, base, limit))
