"""One way to part the requests (by population, by region, by route, ...), counted per bin of time.

A request that failed is infinitely slow here, as it is for the judge: quick errors must not pull a
percentile down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
# What is counted: `steady` in its two halves, which are the same release under the same load, and
# `final` apart from them. Numbers of RAW_STAGES.
RAW_STAGES = ("warmup", "final", "fault", "recovery", "steady, first half", "steady, second half")
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
    `stages[s]` is the histogram over the phases of that kind, `halves` those of the two halves of
    the steady phase.
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
    halves: Array

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


class _Numbers:
    """Numbers for pairs of small integers, by a table: what `np.unique` over every block would
    cost seconds for.
    """

    def __init__(self) -> None:
        self.table: Array = np.full((1, 1), -1, np.int64)
        self.pairs: list[tuple[int, int]] = []

    def of(self, first: Array, second: Array) -> Array:
        """The number of each pair; one not met before gets the next."""
        shape = (int(first.max()) + 1, int(second.max()) + 1)
        if shape[0] > self.table.shape[0] or shape[1] > self.table.shape[1]:
            size = (max(self.table.shape[0], shape[0]), max(self.table.shape[1], shape[1]))
            grown: Array = np.full(size, -1, np.int64)
            grown[: self.table.shape[0], : self.table.shape[1]] = self.table
            self.table = grown
        found: Array = self.table[first, second]
        unknown = found < 0
        if unknown.any():
            new = {(int(a), int(b)) for a, b in zip(first[unknown], second[unknown], strict=True)}
            for pair in sorted(new):
                self.table[pair] = len(self.pairs)
                self.pairs.append(pair)
            found = self.table[first, second]
        return found


def tally(into: Array, group: Array, at: Array, kind: Array) -> Array | None:
    """Count rows into `into[group, at, kind]`. Blocks come in the order of time, so that a small
    table of their own stretch is counted and added; returns it (None where it would not be small).
    """
    low, high = int(at.min()), int(at.max()) + 1
    groups, _, kinds = into.shape
    size = groups * (high - low) * kinds
    flat = (group * (high - low) + (at - low)) * kinds + kind
    if size > 8 * len(flat) + 200_000:
        np.add.at(into, (group, at, kind), into.dtype.type(1))
        return None
    counted: Array = np.bincount(flat, minlength=size).reshape(groups, high - low, kinds)
    into[:, low:high] += counted.astype(into.dtype)
    return counted


class CutCounter:
    """Counts one cut; `fine` bins of time make one of latency."""

    def __init__(self, cut: Cut, bins: int, fine: int) -> None:
        self.cut, self.bins, self.fine = cut, bins, fine
        self.rows = math.ceil(bins / fine)
        self.names: list[str] = []
        self.folded = False
        self._numbers = [_Numbers() for _ in cut.columns]
        self._group_of: list[int] = []
        # [..., 0] counts what was not good, [..., 1] what was.
        self.counts = np.zeros((0, bins, 2), np.int32)
        self.histogram = np.zeros((0, self.rows, BUCKETS), np.int32)
        self.worst = np.zeros((0, self.rows))
        self.stages = np.zeros((0, len(RAW_STAGES), BUCKETS), np.int64)

    def add(self, block: Block, seen: Mapping[str, Array]) -> None:
        """`seen`: at (bin), good, bucket, latency_ms and stage of each row of the block."""
        if self.cut.where:
            keep = np.ones(len(block), bool)
            for column, words in self.cut.where.items():
                keep &= block.columns[column].known(words)[block.label(column)]
            if not keep.any():
                return
            block = block.take(keep)
            seen = {name: values[keep] for name, values in seen.items()}
        group = self._groups(block)
        at, bucket = seen["at"], seen["bucket"]
        late = at // self.fine
        tally(self.counts, group, at, seen["good"].astype(np.int64))
        counted = tally(self.histogram, group, late, bucket)
        tally(self.stages, group, seen["stage"], bucket)
        rows = np.flatnonzero(bucket != FAILED)
        if counted is not None and len(rows):
            # Only a row of the highest bucket of its bin can be the slowest answer.
            low, there = int(late.min()), counted[:, :, :FAILED] > 0
            top = FAILED - 1 - there[:, :, ::-1].argmax(axis=2)
            rows = rows[bucket[rows] == top[group[rows], late[rows] - low]]
        np.maximum.at(self.worst, (group[rows], late[rows]), seen["latency_ms"][rows])

    def _groups(self, block: Block) -> Array:
        """The group of each row, the arrays grown for those not met before."""
        number = np.zeros(len(block), np.int64)
        for numbers, column in zip(self._numbers, self.cut.columns, strict=True):
            number = numbers.of(number, block.label(column))
        while len(self._group_of) <= int(number.max()):
            self._group_of.append(self._group(self._name(len(self._group_of), block)))
        return np.asarray(self._group_of, np.int64)[number]

    def _name(self, number: int, block: Block) -> str:
        """The words of a numbered combination."""
        words: list[str] = []
        for numbers, column in zip(
            reversed(self._numbers), reversed(self.cut.columns), strict=True
        ):
            number, code = numbers.pairs[number]
            words.insert(0, block.columns[column].names[code])
        return " / ".join(words) if words else "all"

    def _group(self, name: str) -> int:
        if len(self.names) >= MOST_GROUPS:
            self.folded = True
            if self.names[-1] != OTHERS:
                self._grow(OTHERS)
            return len(self.names) - 1
        self._grow(name)
        return len(self.names) - 1

    def _grow(self, name: str) -> None:
        self.names.append(name)
        for field_name in ("counts", "histogram", "worst", "stages"):
            old = getattr(self, field_name)
            new = np.zeros((1, *old.shape[1:]), old.dtype)
            setattr(self, field_name, np.concatenate([old, new]))

    def series(self, width_s: float) -> CutSeries:
        """All of it, groups sorted by name; those without a request are left out."""
        merge = self._merge()
        rows = math.ceil(self.rows / merge)
        groups: dict[str, Group] = {}
        for number in sorted(range(len(self.names)), key=lambda n: self.names[n]):
            raw = self.stages[number]
            stages = np.stack([raw[0], raw[1] + raw[4] + raw[5], raw[2], raw[3]])
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
                good=int(self.counts[number, :, 1].sum()),
                failed=int(stages[:, FAILED].sum()),
                max_ms=float(slowest.max()) if answered.any() else None,
                total_by_bin=self.counts[number].sum(axis=1).tolist(),
                good_by_bin=self.counts[number, :, 1].tolist(),
                quantiles_ms={q: quantiles(merged, q) for q in QUANTILES},
                worst_ms=[
                    float(ms) if some else None
                    for ms, some in zip(slowest.tolist(), answered.tolist(), strict=True)
                ],
                stages=stages,
                halves=raw[4:6],
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
