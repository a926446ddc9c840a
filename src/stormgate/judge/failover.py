"""Outages as users saw them: per cell, from the first bad request to the first good one that starts
a good second.

An outage's true length lies in [D_lo, D_hi]: D_lo from its first bad send to its last, D_hi from
the last good send before it to the first sustained good send after it. Requests stand at their
intended start; those never sent are absent, which can only widen the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.judge.served import well

Array = NDArray[Any]

_TIME_BITS = 45  # 9.7 h in ns
_MAX_CELLS = 1 << (63 - _TIME_BITS - 1)


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage of one cell, seconds; times in ns since the series' origin. `d_hi_s` is infinite
    if it was not over.
    """

    begin_ns: int
    last_bad_ns: int
    good_ns: int | None
    d_lo_s: float
    d_hi_s: float


@dataclass(frozen=True, slots=True)
class CellTrace:
    """What one cell went through: its outages that touch the window, and its widest silence between
    good sends. `before` and `bad_before` count its sends that were decided before the window, its
    own steady state.
    """

    cell: int
    sends: int
    outages: tuple[Outage, ...]
    widest_gap_s: float
    before: int = 0
    bad_before: int = 0

    @property
    def longest(self) -> Outage | None:
        return max(self.outages, key=lambda o: (o.d_hi_s, o.d_lo_s, -o.begin_ns), default=None)

    def was_well(self, good_share: float) -> bool:
        """Whether it served `good_share` of its users before the window, but for what chance takes.
        A cell that sent nothing was not seen well.
        """
        return well(self.bad_before, self.before, good_share)

    @property
    def d_lo_s(self) -> float:
        return max((o.d_lo_s for o in self.outages), default=0.0)

    @property
    def d_hi_s(self) -> float:
        return max([o.d_hi_s for o in self.outages] + [self.widest_gap_s])


class SendSeries:
    """The sends of one time range, packed as one integer each (cell, time, good) so that sorting
    them is all the grouping there is.
    """

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        if end_ns - begin_ns >= 1 << _TIME_BITS:
            raise ValueError("a failover window longer than 9.7 hours")
        self.begin_ns, self.end_ns = begin_ns, end_ns
        self._parts: list[Array] = []

    def add(self, cells: Array, intended_ns: Array, good: Array) -> None:
        """Sends whose intended start lies in the range; the others are ignored."""
        inside = (intended_ns >= self.begin_ns) & (intended_ns < self.end_ns)
        if not inside.any():
            return
        if int(cells.max()) >= _MAX_CELLS:
            raise ValueError(
                f"more than {_MAX_CELLS:,} cells in a failover objective: group by fewer columns"
            )
        if not inside.all():
            cells, intended_ns, good = cells[inside], intended_ns[inside], good[inside]
        key = (
            (cells.astype(np.int64) << (_TIME_BITS + 1))
            | ((intended_ns - self.begin_ns) << 1)
            | good
        )
        self._parts.append(key)

    def keys(self) -> Array:
        """All sends sorted by cell and time; of sends at the same instant the bad ones first."""
        keys = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int64)
        self._parts = [keys]
        keys.sort()
        return keys


def traces(
    series: SendSeries,
    window_ns: tuple[int, int],
    sustained_ns: int,
    sustained_good: float,
    spread: dict[int, list[int]] | None = None,
    count_from_ns: int = 0,
    undecided: SendSeries | None = None,
    calm_until_ns: int | None = None,
) -> list[CellTrace]:
    """One trace per cell that sent anything in the range. Only outages and gaps that touch the
    window (absolute ns) are kept.

    `spread` maps cells that are really a part of others (a failed request says no shard) to those
    others: their bad sends count for each. `sends` of a trace are those from `count_from_ns` on;
    older ones only say whether the cell was well. Those among them that are `undecided` (of the
    same range) say nothing of that: they were under way when the calm ended, at `calm_until_ns`
    (None: where the window begins).
    """
    keys = series.keys()
    open_sends = _per_cell(undecided, spread) if undecided is not None else {}
    if spread:
        keys = _spread(keys, spread)
    if not len(keys):
        return []
    cells = keys >> (_TIME_BITS + 1)
    begins = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
    ends = np.concatenate([begins[1:], [len(keys)]])
    times = (keys >> 1) & ((1 << _TIME_BITS) - 1)
    good = (keys & 1).astype(bool)
    low, high = window_ns[0] - series.begin_ns, window_ns[1] - series.begin_ns
    calm = low if calm_until_ns is None else calm_until_ns - series.begin_ns
    length = series.end_ns - series.begin_ns
    found = []
    any_bad = np.add.reduceat(~good, begins) > 0
    for begin, end, bad in zip(begins.tolist(), ends.tolist(), any_bad.tolist(), strict=True):
        t, g = times[begin:end], good[begin:end]
        outages = _outages(t, g, sustained_ns, sustained_good, length) if bad else []
        touching = tuple(o for o in outages if _touches(o, t, low, high))
        gap = _widest_gap(t[g] if bad else t, outages, low, high, length)
        before = int(np.searchsorted(t, calm))
        bad_before = before - int(np.count_nonzero(g[:before]))
        under_way, bad_under_way = open_sends.get(int(cells[begin]), (0, 0))
        before, bad_before = before - under_way, bad_before - bad_under_way
        sends = len(t) - int(np.searchsorted(t, count_from_ns - series.begin_ns))
        trace = CellTrace(int(cells[begin]), sends, touching, gap / 1e9, before, bad_before)
        found.append(trace)
    return found


def _touches(outage: Outage, times: Array, low: int, high: int) -> bool:
    # From the last send before it: a fault that hits between two sends is older than its first
    # victim.
    return outage.begin_ns <= high and (outage.good_ns is None or outage.good_ns >= low)


def _outages(
    times: Array, good: Array, sustained_ns: int, sustained_good: float, length: int
) -> list[Outage]:
    """Outages of one cell. All bad sends with the same next sustained good send belong to the same
    outage.
    """
    n = len(times)
    goods = np.concatenate([[0], np.cumsum(good)])
    after = np.searchsorted(times, times + sustained_ns, side="left")
    held = goods[after] - goods[:-1]
    # The second that proves recovery must lie wholly within what was watched.
    sustained = (
        good & (held >= sustained_good * (after - np.arange(n))) & (times + sustained_ns <= length)
    )
    bad = np.flatnonzero(~good)
    recoveries = np.flatnonzero(sustained)
    which = np.searchsorted(recoveries, bad)
    _, first = np.unique(which, return_index=True)
    last = np.concatenate([first[1:], [len(bad)]]) - 1
    good_at = np.flatnonzero(good)
    found = []
    for f, e in zip(first.tolist(), last.tolist(), strict=True):
        begin, final = int(times[bad[f]]), int(times[bad[e]])
        recovered = int(times[recoveries[which[f]]]) if which[f] < len(recoveries) else None
        before = int(np.searchsorted(good_at, bad[f])) - 1
        d_hi = (
            math.inf
            if recovered is None or before < 0
            else (recovered - int(times[good_at[before]])) / 1000000000.0
        )
        found.append(Outage(begin, final, recovered, (final - begin) / 1e9, d_hi))
    return found


def _widest_gap(good_times: Array, outages: list[Outage], low: int, high: int, length: int) -> int:
    """The longest time in the window in which no good send shows that the cell worked; within an
    outage it is the outage's own.
    """
    edges = np.concatenate([[0], good_times, [length]])
    begins, gaps = edges[:-1], np.diff(edges)
    touching = (edges[1:] >= low) & (begins <= high)
    if not touching.any():
        return 0
    widest: int = int(gaps[touching].max())
    return widest


def _per_cell(
    series: SendSeries, spread: dict[int, list[int]] | None
) -> dict[int, tuple[int, int]]:
    """For each cell how many sends, and how many of them bad."""
    keys = series.keys()
    if spread:
        keys = _spread(keys, spread)
    cells, at = np.unique(keys >> (_TIME_BITS + 1), return_inverse=True)
    sends = np.bincount(at, minlength=len(cells))
    bad = np.bincount(at[(keys & 1) == 0], minlength=len(cells))
    counts = zip(cells.tolist(), sends.tolist(), bad.tolist(), strict=True)
    return {cell: (n, n_bad) for cell, n, n_bad in counts}


def _spread(keys: Array, spread: dict[int, list[int]]) -> Array:
    """Bad sends of a partial cell, copied to each of the cells they may belong to; its good ones
    prove nothing about any of them.
    """
    cells = keys >> (_TIME_BITS + 1)
    partial = np.isin(cells, list(spread))
    rest = keys & ((1 << (_TIME_BITS + 1)) - 1)
    parts = [keys[~partial]]
    for source, others in sorted(spread.items()):
        bad = rest[(cells == source) & ((keys & 1) == 0)]
        parts += [bad | (other << (_TIME_BITS + 1)) for other in others]
    joined: Array = np.concatenate(parts)
    joined.sort()
    return joined
