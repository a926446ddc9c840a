"""Latency quantiles per cell from counts: buckets of under 0.8 % width (6.3 % past 1,024 cells),
shown at their upper edge.

Only what is shown comes from here. Whether a quantile keeps its limit is decided by exact counts
over the limit (proportion.py).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_FINE_BITS, _COARSE_BITS, _MANTISSA = 7, 4, 52
_LOWEST, _HIGHEST = 10, 40  # 2^10 ns = 1 us to 2^40 ns = 18 min
FINE_CELLS = 1024


@functools.cache
def edges_of(bits: int) -> Array:
    """Upper edges in ns, then infinity."""
    buckets = (_HIGHEST - _LOWEST) << bits
    steps = np.arange(1, buckets + 1)
    edges = (2.0 ** (_LOWEST + (steps >> bits))) * (1.0 + (steps & ((1 << bits) - 1)) / (1 << bits))
    return np.concatenate([edges, [np.inf]])


class Quantiles:
    """A log-linear histogram per cell; the last bucket is infinity, for failures."""

    def __init__(self) -> None:
        self.bits = _FINE_BITS
        self._counts: Array = np.zeros((0, ((_HIGHEST - _LOWEST) << _FINE_BITS) + 1), np.int64)

    @property
    def width(self) -> int:
        return ((_HIGHEST - _LOWEST) << self.bits) + 1

    def add(self, cells: Array, latency_ns: Array, failed: Array, size: int) -> None:
        """Count latencies (ns) of cells below `size`; failed ones count as infinite."""
        self.settle(size)
        # The top bits of a double are its exponent and leading digits: a logarithmic bucket number
        # without a logarithm.
        bits = np.maximum(latency_ns, 1 << _LOWEST).astype(np.float64).view(np.int64)
        bucket = (bits >> (_MANTISSA - self.bits)) - ((1023 + _LOWEST) << self.bits)
        bucket[failed | (bucket >= self.width - 1)] = self.width - 1
        flat = self._counts.reshape(-1)
        index = cells.astype(np.int64) * self.width + bucket
        if flat.size <= 4 * len(index):
            flat += np.bincount(index, minlength=flat.size)
        else:
            np.add.at(flat, index, 1)

    def settle(self, size: int) -> None:
        """Make room for `size` cells, and buckets coarser if they are many.

        Called once more at the end, the buckets depend on how many cells there are, not on when
        they appeared.
        """
        if size > FINE_CELLS and self.bits == _FINE_BITS:
            fold = 1 << (_FINE_BITS - _COARSE_BITS)
            rows, kept = len(self._counts), self._counts[:, :-1]
            folded = kept.reshape(rows, kept.shape[1] // fold, fold).sum(axis=2)
            self._counts = np.concatenate([folded, self._counts[:, -1:]], axis=1)
            self.bits = _COARSE_BITS
        if size > len(self._counts):
            grown = np.zeros((max(size, min(2 * len(self._counts), 1 << 14)), self.width), np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown

    def counts(self, size: int) -> Array:
        """The histograms of the first `size` cells, one row each."""
        out = np.zeros((size, self.width), np.int64)
        have = min(size, len(self._counts))
        out[:have] = self._counts[:have]
        return out

    def at_rank(self, cell: int, rank: int) -> float:
        """The upper edge (ns) of the bucket with the rank-th smallest latency, 1-based; infinite
        past the failures.
        """
        cumulated = np.cumsum(self._counts[cell])
        return float(edges_of(self.bits)[int(np.searchsorted(cumulated, rank))])
