"""Samples folded into what the page draws: rate, good share and latency quantiles per time bin, in
one pass over the blocks.

Everything is counted by the intended start, where an open loop's user begins to wait. A failed
request is infinitely slow here, as it is for the judge: quick errors must not pull a percentile
down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stormgate.model import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stormgate.evidence.read import Run

WIDTHS_S = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)
MAX_BINS = 800
FINE_S = 0.25
# A p99 of fewer requests than this is their maximum, and a line of maxima is noise.
ENOUGH = 300
# Latency buckets grow by 3 % from 0.1 ms to 120 s: what one pixel of a log axis can show.
FIRST_MS = 0.1
GROWTH = 1.03
BUCKETS = math.ceil(math.log(120_000 / FIRST_MS) / math.log(GROWTH)) + 2
QUANTILES = (0.50, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """A stretch that is counted finely, per population: the seconds around a fault."""

    name: str
    begin_ns: int
    end_ns: int


@dataclass(slots=True)
class ChartSeries:
    """Counts per bin of `width_s` seconds from `begin_ns`, latency quantiles, ms, per bin of
    `latency_width_s` seconds.

    A quantile is None without requests and inf where it fell among failures.
    """

    begin_ns: int
    width_s: float
    latency_width_s: float = 1.0
    total: list[int] = field(default_factory=list)
    good: list[int] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    quantiles_ms: dict[float, list[float | None]] = field(default_factory=dict)
    fine: dict[tuple[str, str], tuple[list[int], list[int]]] = field(default_factory=dict)
    populations: list[str] = field(default_factory=list)
    overall_ms: dict[str, tuple[int, float, list[float | None]]] = field(default_factory=dict)


def width_for(duration_s: float) -> float:
    """The finest bin, seconds, that draws a run of this length with at most MAX_BINS bins."""
    for width in WIDTHS_S:
        if duration_s / width <= MAX_BINS:
            return width
    return WIDTHS_S[-1]


def collect(
    run: Run, begin_ns: int, end_ns: int, within_ms: float | None, windows: Sequence[ChartWindow]
) -> ChartSeries:
    """One pass over all readable blocks. `within_ms`: slower answers do not count as good; None:
    any right answer does.
    """
    width = width_for((end_ns - begin_ns) / 1e9)
    counter = _Counter(begin_ns, end_ns, width, within_ms, windows)
    for _, batch in run.batches():
        if batch.num_rows:
            counter.add(batch)
    return counter.series()


class _Counter:
    def __init__(
        self,
        begin_ns: int,
        end_ns: int,
        width_s: float,
        within_ms: float | None,
        windows: Sequence[ChartWindow],
    ) -> None:
        import numpy as np

        self.begin_ns, self.width_ns = begin_ns, round(width_s * 1e9)
        self.bins = min(MAX_BINS * 4, max(1, math.ceil((end_ns - begin_ns) / self.width_ns)))
        self.within_ms = math.inf if within_ms is None else within_ms
        self.windows = windows
        self.total = np.zeros(self.bins, np.int64)
        self.good = np.zeros(self.bins, np.int64)
        self.histogram = np.zeros((self.bins, BUCKETS), np.int32)
        self.failures: dict[str, int] = {}
        self.fine: dict[tuple[str, str], tuple[NDArray[Any], NDArray[Any]]] = {}
        self.by_population: dict[str, tuple[NDArray[Any], int]] = {}

    def add(self, batch: Any) -> None:
        import numpy as np

        intended = batch.column("intended_ns").to_numpy(zero_copy_only=False)
        latency_ms = (batch.column("done_ns").to_numpy(zero_copy_only=False) - intended) / 1e6
        outcomes, outcome = _codes(batch.column("outcome"))
        ok = np.array([word == Outcome.OK.value for word in [*outcomes, ""]])[outcome]
        good = ok & (latency_ms <= self.within_ms)
        at = (intended - self.begin_ns) // self.width_ns
        inside = (at >= 0) & (at < self.bins)
        at = at[inside].astype(np.int64)
        self.total += np.bincount(at, minlength=self.bins)
        self.good += np.bincount(at[good[inside]], minlength=self.bins)
        bucket = np.where(ok, _bucket(latency_ms), BUCKETS - 1)
        np.add.at(self.histogram.reshape(-1), at * BUCKETS + bucket[inside], 1)
        for index, count in enumerate(np.bincount(outcome[~ok], minlength=len(outcomes)).tolist()):
            if count and index < len(outcomes):
                self.failures[outcomes[index]] = self.failures.get(outcomes[index], 0) + count
        names, population = _codes(batch.column("population"))
        self._add_populations(names, population, bucket, good)
        for window in self.windows:
            self._add_window(window, intended, good, names, population)

    def _add_populations(self, names: list[str], population: Any, bucket: Any, good: Any) -> None:
        import numpy as np

        for index, name in enumerate(names):
            mine = population == index
            if not mine.any():
                continue
            histogram, count = self.by_population.get(name, (np.zeros(BUCKETS, np.int64), 0))
            self.by_population[name] = (
                histogram + np.bincount(bucket[mine], minlength=BUCKETS),
                count + int(good[mine].sum()),
            )

    def _add_window(
        self, window: ChartWindow, intended: Any, good: Any, names: list[str], population: Any
    ) -> None:
        import numpy as np

        if intended.max() < window.begin_ns or intended.min() >= window.end_ns:
            return
        size = math.ceil((window.end_ns - window.begin_ns) / (FINE_S * 1e9))
        at = (intended - window.begin_ns) // round(FINE_S * 1e9)
        inside = (at >= 0) & (at < size)
        for index, name in enumerate(names):
            mine = inside & (population == index)
            if not mine.any():
                continue
            key = (window.name, name)
            if key not in self.fine:
                self.fine[key] = (np.zeros(size, np.int64), np.zeros(size, np.int64))
            total, fine_good = self.fine[key]
            total += np.bincount(at[mine], minlength=size)
            fine_good += np.bincount(at[mine & good], minlength=size)

    def _bins_with_enough(self) -> int:
        """How many bins make one for latency, at most 40: the busiest ones then hold ENOUGH
        requests.
        """
        usual = sorted(n for n in self.total.tolist() if n)
        per_bin = usual[len(usual) // 2] if usual else ENOUGH
        return max(1, min(40, math.ceil(ENOUGH / per_bin)))

    def series(self) -> ChartSeries:
        import numpy as np

        merge = self._bins_with_enough()
        rows = math.ceil(self.bins / merge)
        merged = np.zeros((rows * merge, BUCKETS), np.int64)
        merged[: self.bins] = self.histogram
        merged = merged.reshape(rows, merge, BUCKETS).sum(axis=1)
        return ChartSeries(
            begin_ns=self.begin_ns,
            width_s=self.width_ns / 1e9,
            total=self.total.tolist(),
            good=self.good.tolist(),
            failures=dict(sorted(self.failures.items(), key=lambda item: (-item[1], item[0]))),
            latency_width_s=self.width_ns / 1e9 * merge,
            quantiles_ms={q: quantiles(merged, q) for q in QUANTILES},
            fine={
                key: (total.tolist(), good.tolist())
                for key, (total, good) in sorted(self.fine.items())
            },
            populations=sorted(self.by_population),
            overall_ms={
                name: (
                    int(histogram.sum()),
                    good / max(1, int(histogram.sum())),
                    [quantiles(histogram[None, :], q)[0] for q in QUANTILES],
                )
                for name, (histogram, good) in sorted(self.by_population.items())
            },
        )


def quantiles(histogram: NDArray[Any], q: float) -> list[float | None]:
    """The upper edge, ms, of the bucket that holds the `q` quantile of each row; inf in the bucket
    of failures.
    """
    import numpy as np

    cumulative = histogram.cumsum(axis=1)
    total = cumulative[:, -1]
    at = (cumulative >= np.maximum(1, np.ceil(q * total))[:, None]).argmax(axis=1)
    return [
        None if n == 0 else math.inf if i == BUCKETS - 1 else edge_ms(i)
        for i, n in zip(at.tolist(), total.tolist(), strict=True)
    ]


def edge_ms(bucket: int) -> float:
    """The upper edge of a latency bucket, ms."""
    return FIRST_MS * GROWTH**bucket


def _bucket(latency_ms: Any) -> Any:
    import numpy as np

    safe = np.maximum(latency_ms, FIRST_MS)
    return np.clip(
        np.ceil(np.log(safe / FIRST_MS) / math.log(GROWTH) - 1e-9), 0, BUCKETS - 2
    ).astype(np.int64)


def _codes(column: Any) -> tuple[list[str], Any]:
    """A dictionary column's words and each row's index into them; an unknown value points one past
    the last word.
    """
    import numpy as np

    encoded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    words = [str(word) for word in encoded.dictionary.to_pylist()]
    return words, np.asarray(
        encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False), dtype=np.int64
    )


def span(timeline: Iterable[dict[str, Any]]) -> tuple[int, int] | None:
    """The first and last instant a timeline knows, ns; None where it is empty."""
    times = [int(row["at_ns"]) for row in timeline if isinstance(row.get("at_ns"), int)]
    return (min(times), max(times)) if times and max(times) > min(times) else None
