"""One way to part the requests (by population, by region, by route, ...), counted per bin of time.

A request that failed is infinitely slow here, as it is for the judge: quick errors must not pull a
percentile down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.arrow import UNKNOWN
from stormgate.evidence.samples import Block
from stormgate.report.series.buckets import BUCKETS, FAILED, quantiles

Array = NDArray[Any]

QUANTILES = (0.5, 0.95, 0.99)
STAGES = ("warmup", "steady", "fault", "recovery")
# Groups kept apart: a workload whose routes are all different would otherwise fill the memory.
MOST_GROUPS = 160
OTHERS = "(others)"
# A quantile q of fewer requests than this times 1 / (1 - q) is close to their maximum.
ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """`columns` part the requests; `where` leaves some out, as an objective's own does."""

    name: str
    columns: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Group:
    """The requests of one group. `quantiles_ms[q]` per latency bin: None without requests, inf
    where the quantile fell among failures; `worst_ms` the slowest answer of each, exactly.
    `stages[s]` is the histogram over the phases of that kind.
    """

    name: str
    count: int
    good: int
    failed: int
    max_ms: float | None
    total_by_bin: list[int]
    good_by_bin: list[int]
    quantiles_ms: dict[float, list[float | None]]
    worst_ms: list[float | None]
    stages: Array

    def overall_ms(self, q: float) -> float | None:
        """The quantile over all of its requests."""
        return quantiles(self.stages.sum(axis=0)[None, :], q)[0]


@dataclass(slots=True)
class CutSeries:
    """What a cut came to: its groups by name, latency in bins of `latency_width_s`."""

    cut: Cut
    latency_width_s: float
    groups: dict[str, Group]
    folded: bool = False


class CutCounter:
    """Counts one cut; `fine` bins of time make one of latency."""

    def __init__(self, cut: Cut, bins: int, fine: int) -> None:
        self.cut, self.bins, self.fine = cut, bins, fine
        self.rows = math.ceil(bins / fine)
        self.names: list[str] = []
        self.folded = False
        self._known: dict[tuple[int, ...], int] = {}
        self.total = np.zeros((0, bins), np.int32)
        self.good = np.zeros((0, bins), np.int32)
        self.histogram = np.zeros((0, self.rows, BUCKETS), np.int32)
        self.worst = np.zeros((0, self.rows))
        self.stages = np.zeros((0, len(STAGES), BUCKETS), np.int64)

    def add(self, block: Block, seen: Mapping[str, Array]) -> None:
        """`seen`: at (bin), good, bucket, latency_ms and stage of each row of the block."""
        group = self._groups(block)
        inside = seen["inside"]
        for column, words in self.cut.where.items():
            codes = block.label(column)
            inside = inside & block.columns[column].known(words)[codes]
        if not inside.all():
            if not inside.any():
                return
            group = group[inside]
            seen = {name: values[inside] for name, values in seen.items()}
        at, bucket = seen["at"], seen["bucket"]
        bins = group * self.bins + at
        np.add.at(self.total.reshape(-1), bins, 1)
        np.add.at(self.good.reshape(-1), bins[seen["good"]], 1)
        late = group * self.rows + at // self.fine
        np.add.at(self.histogram.reshape(-1), late * BUCKETS + bucket, 1)
        answered = bucket != FAILED
        np.maximum.at(self.worst.reshape(-1), late[answered], seen["latency_ms"][answered])
        staged = (group * len(STAGES) + seen["stage"]) * BUCKETS + bucket
        np.add.at(self.stages.reshape(-1), staged, 1)

    def _groups(self, block: Block) -> Array:
        """The group of each row, the arrays grown for those not met before."""
        columns = [block.label(name) for name in self.cut.columns]
        if not columns:
            self._number((), [])
            return np.zeros(len(block), np.int64)
        combined = np.zeros(len(block), np.int64)
        for name, codes in zip(self.cut.columns, columns, strict=True):
            combined = combined * len(block.columns[name].names) + codes
        distinct, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        numbers = []
        for row in first.tolist():
            key = tuple(int(codes[row]) for codes in columns)
            names = [
                block.columns[name].names[code]
                for name, code in zip(self.cut.columns, key, strict=True)
            ]
            numbers.append(self._number(key, names))
        assert len(numbers) == len(distinct)  # noqa: S101
        return np.asarray(numbers, np.int64)[inverse]

    def _number(self, key: tuple[int, ...], names: Sequence[str]) -> int:
        known = self._known.get(key)
        if known is not None:
            return known
        if len(self.names) >= MOST_GROUPS:
            self.folded = True
            if self.names[-1] != OTHERS:
                self._grow(OTHERS)
            self._known[key] = len(self.names) - 1
        else:
            self._known[key] = len(self.names)
            self._grow(" / ".join(names) if names else "all")
        return self._known[key]

    def _grow(self, name: str) -> None:
        self.names.append(name)
        for field_name in ("total", "good", "histogram", "worst", "stages"):
            old = getattr(self, field_name)
            setattr(
                self, field_name, np.concatenate([old, np.zeros((1, *old.shape[1:]), old.dtype)])
            )

    def series(self, width_s: float) -> CutSeries:
        """All of it, groups sorted by name; those without a request are left out."""
        merge = self._merge()
        rows = math.ceil(self.rows / merge)
        groups: dict[str, Group] = {}
        for number in sorted(range(len(self.names)), key=lambda n: self.names[n]):
            stages = self.stages[number]
            count = int(stages.sum())
            if not count:
                continue
            merged = np.zeros((rows * merge, BUCKETS), np.int64)
            merged[: self.rows] = self.histogram[number]
            merged = merged.reshape(rows, merge, BUCKETS).sum(axis=1)
            worst = np.zeros(rows * merge)
            worst[: self.rows] = self.worst[number]
            slowest = worst.reshape(rows, merge).max(axis=1)
            answered = merged[:, :FAILED].sum(axis=1) > 0
            groups[self.names[number]] = Group(
                name=self.names[number],
                count=count,
                good=int(self.good[number].sum()),
                failed=int(stages[:, FAILED].sum()),
                max_ms=float(slowest.max()) if answered.any() else None,
                total_by_bin=self.total[number].tolist(),
                good_by_bin=self.good[number].tolist(),
                quantiles_ms={q: quantiles(merged, q) for q in QUANTILES},
                worst_ms=[
                    float(ms) if some else None
                    for ms, some in zip(slowest.tolist(), answered.tolist(), strict=True)
                ],
                stages=stages,
            )
        return CutSeries(self.cut, width_s * self.fine * merge, groups, self.folded)

    def _merge(self) -> int:
        """How many latency bins make one, so that the usual group's p95 rests on enough."""
        wanted = ENOUGH / (1 - 0.95)
        per_row = [
            float(np.median(busy))
            for one in self.histogram.sum(axis=2)
            if (busy := one[one > 0]).size
        ]
        usual = sorted(per_row)[len(per_row) // 2] if per_row else wanted
        return max(1, min(self.rows // 12 or 1, 40, math.ceil(wanted / usual)))


def is_unknown(name: str) -> bool:
    """Whether a group is of requests whose label nobody saw."""
    return UNKNOWN in name.split(" / ")
