"""Latency in buckets that grow by 3 %: what one pixel of a log axis can show, and what a quantile
over millions of requests costs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FIRST_MS = 0.1
GROWTH = 1.03
# From 0.1 ms to 120 s, and one more for requests that failed: they are infinitely slow.
BUCKETS = math.ceil(math.log(120_000 / FIRST_MS) / math.log(GROWTH)) + 2
FAILED = BUCKETS - 1


def bucket_of(latency_ms: Array) -> Array:
    """The bucket of each latency, ms."""
    safe = np.maximum(latency_ms, FIRST_MS)
    return np.clip(
        np.ceil(np.log(safe / FIRST_MS) / math.log(GROWTH) - 1e-9), 0, BUCKETS - 2
    ).astype(np.int64)


def edge_ms(bucket: int) -> float:
    """The upper edge of a latency bucket, ms."""
    return FIRST_MS * GROWTH**bucket


def quantiles(histogram: Array, q: float) -> list[float | None]:
    """The upper edge, ms, of the bucket that holds the `q` quantile of each row; inf in the bucket
    of failures, None for a row without requests.
    """
    cumulative = histogram.cumsum(axis=1)
    total = cumulative[:, -1]
    at = (cumulative >= np.maximum(1, np.ceil(q * total))[:, None]).argmax(axis=1)
    return [
        None if n == 0 else math.inf if i == FAILED else edge_ms(i)
        for i, n in zip(at.tolist(), total.tolist(), strict=True)
    ]
