"""The open-loop plan: when each stream's next users arrive, decided by seed alone and never by how
the target answers.

Stream s's k-th gap is a pure function of (key of s, k), so a plan does not depend on how it is cut
into windows, on the other streams, or on what was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = (np.uint64(n) for n in (11, 27, 30, 31))
_MAX_CELLS = 4_000_000


def uniforms(keys: NDArray[np.uint64], counters: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1] by SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of key and counter;
    shapes broadcast.
    """
    with np.errstate(over="ignore"):
        z = keys + (counters + np.uint64(1)) * _GAMMA
        z = (z ^ (z >> _S30)) * _MIX_1
        z = (z ^ (z >> _S27)) * _MIX_2
        z = z ^ (z >> _S31)
    result: NDArray[np.float64] = ((z >> _S11).astype(np.float64) + 1.0) * (1.0 / (1 << 53))
    return result


class Arrivals:
    """The merged arrivals of all streams of a worker, made window by window."""

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.rate_per_s = 0.0  # of all streams together
        self._handed_out_ns = 0
        self._slots: dict[int, int] = {}
        self._key = np.empty(0, np.uint64)
        self._count = np.empty(0, np.uint64)
        self._last = np.empty(0, np.int64)
        self._gap = np.empty(0, np.float64)
        self._factor = np.empty(0, np.float64)
        self._poisson = np.empty(0, np.bool_)

    def add(
        self,
        stream: Any,
        key: int,
        rate_per_s: float,
        *,
        poisson: bool,
        begin_ns: int,
        factor: float = 1.0,
    ) -> None:
        """A stream whose first arrival is one gap (constant rate: a seeded part of one) after
        `begin_ns`.

        `factor`: it arrives so many times as often for now (see `rescale`).

        Raises ValueError for a rate that is not above zero.
        """
        if not rate_per_s > 0:
            raise ValueError(f"a stream's rate_per_s must be above zero, not {rate_per_s}")
        self.rate_per_s += rate_per_s * factor
        self._slots[id(stream)] = len(self.streams)
        self.streams.append(stream)
        self._key = np.append(self._key, np.uint64(key))
        self._count = np.append(self._count, np.uint64(0))
        self._last = np.append(self._last, np.int64(begin_ns))
        self._gap = np.append(self._gap, 1e9 / rate_per_s)
        self._factor = np.append(self._factor, factor)
        self._poisson = np.append(self._poisson, np.bool_(poisson))

    def rescale(self, factor_of: Callable[[Any], float]) -> None:
        """From the end of what was handed out on, each stream arrives `factor_of(stream)` times as
        often as it was added with.

        What has passed of a gap counts in proportion, so that nothing becomes due in the past and
        streams do not fall into step.
        """
        factor = np.fromiter(map(factor_of, self.streams), np.float64, len(self.streams))
        passed = (self._handed_out_ns - self._last) * (self._factor / factor)
        self._last = self._handed_out_ns - np.rint(passed).astype(np.int64)
        self._factor = factor
        self.rate_per_s = float(np.sum(1e9 * factor / self._gap))

    def remove(self, stream: Any) -> None:
        """Forget a stream; unknown ones are ignored."""
        slot = self._slots.pop(id(stream), None)
        if slot is None:
            return
        rate_per_s = 1e9 * float(self._factor[slot]) / float(self._gap[slot])
        self.rate_per_s = max(0.0, self.rate_per_s - rate_per_s) if len(self.streams) > 1 else 0.0
        last = len(self.streams) - 1
        moved = self.streams.pop()
        for array in (self._key, self._count, self._last, self._gap, self._factor, self._poisson):
            array[slot] = array[last]
        self._key, self._count, self._last = self._key[:last], self._count[:last], self._last[:last]
        self._gap, self._factor, self._poisson = (
            self._gap[:last],
            self._factor[:last],
            self._poisson[:last],
        )
        if slot != last:
            self.streams[slot] = moved
            self._slots[id(moved)] = slot

    def until(self, end_ns: int, only: Any = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All arrivals not yet handed out before `end_ns` in order: times (ns) and slots into
        `streams`.

        `only` restricts it to one stream (one that joined inside a window others already have).
        """
        if only is None:
            self._handed_out_ns = end_ns
        slots = np.arange(len(self.streams)) if only is None else np.array([self._slots[id(only)]])
        times: list[NDArray[np.int64]] = []
        owners: list[NDArray[np.int64]] = []
        while len(slots):
            taken, owner, slots = self._advance(slots, end_ns)
            times.append(taken)
            owners.append(owner)
        if not times:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        all_times, all_owners = np.concatenate(times), np.concatenate(owners)
        order = np.argsort(all_times, kind="stable")
        return all_times[order], all_owners[order]

    def _advance(
        self, slots: NDArray[Any], end_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        gap, last, count = (
            self._gap[slots] / self._factor[slots],
            self._last[slots],
            self._count[slots],
        )
        expected = float(np.max((end_ns - last) / gap, initial=0.0))
        width = int(expected + 4 * expected**0.5 + 4)
        width = max(1, min(width, _MAX_CELLS // len(slots)))
        counters = count[:, None] + np.arange(width, dtype=np.uint64)[None, :]
        drawn = uniforms(self._key[slots][:, None], counters)
        steps = np.where(
            self._poisson[slots][:, None], -np.log(drawn), np.where(counters == 0, drawn, 1.0)
        )
        moments = last[:, None] + np.cumsum(
            np.maximum(1, np.rint(steps * gap[:, None])).astype(np.int64), axis=1
        )
        before = moments < end_ns
        counts = before.sum(axis=1)
        some = counts > 0
        self._count[slots] = count + counts.astype(np.uint64)
        self._last[slots[some]] = moments[some, counts[some] - 1]
        return moments[before], np.repeat(slots, counts), slots[counts == width]
