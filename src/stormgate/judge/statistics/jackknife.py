"""The logarithm of a latency quantile with a standard error that bursts cannot fool, without
drawing a random number.

The run's 1 s blocks form GROUPS stretches of time; the quantile is taken again without each in
turn, and the spread of those says how sure it is. Source: the delete-a-group jackknife, Kott 2001;
for quantiles, Shao and Tu 1995, section 2.3 (many must be left out at once).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.judge.statistics import bounds
from stormgate.judge.statistics.quantiles import Quantiles, edges_of

Array = NDArray[Any]
GROUPS = 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile's natural logarithm of milliseconds, its standard error, and the degrees of
    freedom behind that.
    """

    log_ms: float
    error: float
    freedom: int
    samples: int

    @property
    def ms(self) -> float:
        return math.exp(self.log_ms)


class GroupedQuantile:
    """Latencies of one objective's requests, by group of 1 s blocks."""

    def __init__(self, blocks: int) -> None:
        self._blocks = max(1, blocks)
        self._groups = min(GROUPS, self._blocks)
        self._quantiles = Quantiles()

    def add(self, seconds: Array, latency_ns: Array, failed: Array) -> None:
        """Latencies (ns) of requests in numbered 1 s blocks; failed ones are infinite."""
        groups = seconds * self._groups // self._blocks
        self._quantiles.add(groups, latency_ns, failed, self._groups)

    def samples(self) -> int:
        return int(self._quantiles.counts(self._groups).sum())

    def failing(self, quantile: float) -> bool:
        """Whether the quantile is a failure even without the group that failed most."""
        counts = self._quantiles.counts(self._groups)
        total = counts.sum(axis=0)
        rests = [total - one for one in counts if (total - one).sum()]
        return bool(rests) and all(
            _log_quantile(rest, edges_of(self._quantiles.bits), quantile) is None for rest in rests
        )

    def estimate(self, quantile: float) -> Estimate | None:
        """None where nothing was counted, too few blocks, or where the quantile is a failure (with
        any group left out).
        """
        counts = self._quantiles.counts(self._groups)
        total = counts.sum(axis=0)
        if self._groups < 3 or not total.sum():
            return None
        edges = edges_of(self._quantiles.bits)
        whole = _log_quantile(total, edges, quantile)
        parts = [
            _log_quantile(total - one, edges, quantile) for one in counts if (total - one).sum()
        ]
        if whole is None or len(parts) < 3 or any(p is None for p in parts):
            return None
        values = np.array(parts, float)
        g = len(values)
        variance = (g - 1) / g * float(((values - values.mean()) ** 2).sum())
        # Within one bucket no difference is seen: half its width is the least error there is.
        width = math.log1p(1.0 / (1 << self._quantiles.bits)) / math.sqrt(12.0)
        return Estimate(
            whole - math.log(1e6), math.sqrt(variance + width * width), g - 1, int(total.sum())
        )


def _log_quantile(counts: Array, edges: Array, quantile: float) -> float | None:
    """The log (of ns) of a quantile of a histogram, interpolated inside its bucket; None if it lies
    among the failures.
    """
    cumulated = np.cumsum(counts)
    rank = quantile * float(cumulated[-1])
    at = int(np.searchsorted(cumulated, rank))
    if at >= len(edges) - 1:
        return None
    upper = math.log(edges[at])
    lower = math.log(edges[at - 1]) if at else upper
    before = float(cumulated[at - 1]) if at else 0.0
    inside = (rank - before) / float(counts[at]) if counts[at] else 1.0
    return lower + (upper - lower) * inside


def ratio_bounds(one: Estimate, base: Estimate, alpha: float) -> tuple[float, float, float]:
    """(ratio, lower, upper) of two independent quantiles, each bound one-sided at alpha: Welch's
    interval on the logarithms.
    """
    difference = one.log_ms - base.log_ms
    variance = one.error**2 + base.error**2
    freedom = variance**2 / (one.error**4 / one.freedom + base.error**4 / base.freedom)
    margin = float(bounds.special().stdtrit(freedom, 1.0 - alpha)) * math.sqrt(variance)
    return math.exp(difference), math.exp(difference - margin), math.exp(difference + margin)


def ratio_p(one: Estimate, base: Estimate, limit: float) -> float:
    """The p-value of "the ratio is above the limit"."""
    variance = one.error**2 + base.error**2
    freedom = variance**2 / (one.error**4 / one.freedom + base.error**4 / base.freedom)
    t = (one.log_ms - base.log_ms - math.log(limit)) / math.sqrt(variance)
    return float(bounds.special().stdtr(freedom, -t))
