"""Means of a number that answers carry (what they cost, say), and ratios of two of them, with
standard errors that bursts cannot fool.

The run's 1 s blocks form GROUPS stretches of time; the mean is taken again without each in turn.
Source: the delete-a-group jackknife of a ratio estimator, Kott 2001; Cochran, Sampling Techniques,
3rd ed. 1977, 6.17 (ratios) and 5A.9 (post-stratification).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.samples import Block
from stormgate.judge.statistics import bounds

Array = NDArray[Any]
GROUPS = 20
# Fewer stretches than this say nothing about how sure a mean is.
FEWEST = 3


class NumberColumn:
    """A label that is a number in words, as numbers: NaN for null and for what is none, or less
    than 0.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._table: Array = np.full(1, np.nan)

    def of(self, block: Block) -> Array:
        """The value of every row of a block."""
        codes = block.label(self._label)
        names = block.columns[self._label].names
        if len(names) > len(self._table):
            more = [_number(name) for name in names[len(self._table) :]]
            self._table = np.concatenate([self._table, more])
        values: Array = self._table[codes]
        return values


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and value >= 0 else math.nan


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean (or the logarithm of a ratio), its standard error and the degrees of freedom behind
    that.
    """

    value: float
    error: float
    freedom: int

    def lower(self, alpha: float) -> float:
        """The one-sided lower bound."""
        return self.value - self._margin(alpha)

    def upper(self, alpha: float) -> float:
        """The one-sided upper bound."""
        return self.value + self._margin(alpha)

    def p_above(self, limit: float) -> float:
        """The p-value of "it is above the limit"."""
        if self.error == 0:
            return 0.0 if self.value > limit else 1.0
        return float(bounds.special().stdtr(self.freedom, (limit - self.value) / self.error))

    def _margin(self, alpha: float) -> float:
        return float(bounds.special().stdtrit(self.freedom, 1.0 - alpha)) * self.error


class GroupedSums:
    """Sums and counts by stretch of time and by cell, cells in the order of their numbers."""

    def __init__(self, blocks: int) -> None:
        self._blocks = max(1, blocks)
        self.groups = min(GROUPS, self._blocks)
        self.sums: Array = np.zeros((self.groups, 0))
        self.counts: Array = np.zeros((self.groups, 0))

    def add(self, seconds: Array, cells: Array, values: Array, size: int) -> None:
        """One value per row, in numbered 1 s blocks; `size` cells are known by now."""
        if size > self.sums.shape[1]:
            wider = np.zeros((self.groups, size - self.sums.shape[1]))
            self.sums = np.concatenate([self.sums, wider], axis=1)
            self.counts = np.concatenate([self.counts, wider], axis=1)
        groups = np.minimum(seconds * self.groups // self._blocks, self.groups - 1)
        width = self.sums.shape[1]
        at = groups.astype(np.int64) * width + cells
        shape = (self.groups, width)
        self.sums += np.bincount(at, values, self.groups * width).reshape(shape)
        self.counts += np.bincount(at, minlength=self.groups * width).reshape(shape)

    def mean(self, cell: int) -> MeanEstimate | None:
        """The mean of one cell; None where too few stretches had any."""
        return jackknifed(
            [_ratio(s, n) for s, n in _without_each(self.sums[:, cell], self.counts[:, cell])],
            _ratio(float(self.sums[:, cell].sum()), float(self.counts[:, cell].sum())),
        )


def _without_each(sums: Array, counts: Array) -> list[tuple[float, float]]:
    had = counts > 0
    return [
        (float(sums.sum() - s), float(counts.sum() - n))
        for s, n in zip(sums[had], counts[had], strict=True)
    ]


def _ratio(a: float, b: float) -> float | None:
    return a / b if b > 0 else None


def jackknifed(parts: list[float | None], whole: float | None) -> MeanEstimate | None:
    """An estimate from the whole and from it without each stretch. None where one cannot be
    taken.
    """
    values = [part for part in parts if part is not None]
    if whole is None or len(values) != len(parts) or len(values) < FEWEST:
        return None
    if max(values) - min(values) <= 1e-12 * max(1.0, abs(whole)):
        return MeanEstimate(whole, 0.0, len(values) - 1)
    at = np.array(values)
    g = len(at)
    variance = (g - 1) / g * float(((at - at.mean()) ** 2).sum())
    return MeanEstimate(whole, math.sqrt(variance), g - 1)


def log_ratio(a: tuple[Array, Array], b: tuple[Array, Array]) -> MeanEstimate | None:
    """The logarithm of mean(b) / mean(a), both post-stratified to the strata's shares of the two
    together. `a` and `b` are (sums, counts), each of stretches x strata. None where it cannot be
    taken: a mean of 0, a stratum that one of them lacks.
    """
    groups = a[0].shape[0]
    whole = _log_ratio_of(tuple(x.sum(axis=0) for x in (*a, *b)))
    parts = [
        _log_ratio_of(tuple(x.sum(axis=0) - x[g] for x in (*a, *b)))
        for g in range(groups)
        if a[1][g].any() or b[1][g].any()
    ]
    return jackknifed(parts, whole)


def _log_ratio_of(sums: tuple[Array, ...]) -> float | None:
    sum_a, count_a, sum_b, count_b = sums
    weight = count_a + count_b
    there = weight > 0
    if not there.any() or (count_a[there] == 0).any() or (count_b[there] == 0).any():
        return None
    mean_a = float((weight[there] * sum_a[there] / count_a[there]).sum())
    mean_b = float((weight[there] * sum_b[there] / count_b[there]).sum())
    return math.log(mean_b / mean_a) if mean_a > 0 and mean_b > 0 else None


def same_mix_p(counts_a: Array, counts_b: Array) -> float:
    """The p-value of "both got the same mix" from counts by kind of traffic: Pearson's chi-squared
    test of homogeneity. Source: Fabijan et al., Diagnosing Sample Ratio Mismatch, KDD 2019.
    """
    table = np.array([counts_a, counts_b], float)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or (table.sum(axis=1) == 0).any():
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return float(bounds.special().chdtrc(table.shape[1] - 1, statistic))
