"""The last minutes of a run's samples, read from the streams while they grow, and figures over a
window of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stormgate.evidence.live import LiveSamples
from stormgate.model import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

_KEPT_NS = 600 * 10**9
_BIN_NS = 100_000_000


class RollingWindow:
    """Blocks of the last ten minutes. `poll` before asking; every figure is None where nothing
    matches.
    """

    def __init__(self, folder: Path) -> None:
        self._live = LiveSamples(folder)
        self._batches: list[tuple[int, pa.RecordBatch]] = []

    def poll(self) -> None:
        """Take in what became whole since the last poll."""
        for _, batch in self._live.poll():
            self.add(batch)

    def add(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._batches.append((int(batch.column("done_ns").to_numpy().max()), batch))
        newest = max((done for done, _ in self._batches), default=0)
        self._batches = [(done, kept) for done, kept in self._batches if done >= newest - _KEPT_NS]

    @property
    def newest_ns(self) -> int | None:
        """When the newest attempt ended; None while there is none."""
        return max((done for done, _ in self._batches), default=None)

    def counts(
        self, now_ns: int, window_s: float, where: Mapping[str, str], within_ms: float | None
    ) -> tuple[int, int]:
        """(good, all) of the attempts that ended in the window; what was never sent is no
        attempt.
        """
        _, done, latency, ok = self._cell(where)
        inside = done > now_ns - int(window_s * 1e9)
        good = ok & (latency <= within_ms * 1e6) if within_ms is not None else ok
        unsent = self._cell({**where, "outcome": Outcome.NOT_SENT.value})[1]
        never = int((unsent > now_ns - int(window_s * 1e9)).sum())
        return int(good[inside].sum()), int(inside.sum()) - never

    def good_share(
        self, now_ns: int, window_s: float, where: Mapping[str, str], within_ms: float | None
    ) -> float | None:
        """Share of attempts that ended in the window and were good."""
        _, done, latency, ok = self._cell(where)
        inside = done > now_ns - int(window_s * 1e9)
        if not inside.any():
            return None
        good = ok & (latency <= within_ms * 1e6) if within_ms is not None else ok
        return float(good[inside].mean())

    def label_share(
        self, now_ns: int, window_s: float, where: Mapping[str, str], label: tuple[str, str]
    ) -> float | None:
        """Share of attempts that ended in the window and carry the label (column, value)."""
        since = now_ns - int(window_s * 1e9)
        total = int((self._cell(where)[1] > since).sum())
        return (
            int((self._cell({**where, label[0]: label[1]})[1] > since).sum()) / total
            if total
            else None
        )

    def naming(
        self, columns: Collection[str], names: Collection[str], since_ns: int, until_ns: int | None
    ) -> tuple[int, int, int | None]:
        """(how many carry one of these names in one of these label columns, all, when the last of
        the former was intended) of the good answers to requests intended from `since_ns` until
        before `until_ns`.
        """
        named, every, last_ns = 0, 0, None
        for _, batch in self._batches:
            intended = batch.column("intended_ns").to_numpy()
            keep = _equals(batch, "outcome", Outcome.OK.value) & (intended >= since_ns)
            if until_ns is not None:
                keep &= intended < until_ns
            said = np.zeros(batch.num_rows, dtype=bool)
            for column in columns:
                for name in names:
                    said |= _equals(batch, column, name)
            named, every = named + int((keep & said).sum()), every + int(keep.sum())
            if (keep & said).any():
                last_ns = max(last_ns or 0, int(intended[keep & said].max()))
        return named, every, last_ns

    def latency_percentile_ms(
        self, now_ns: int, window_s: float, where: Mapping[str, str], percentile: float
    ) -> float | None:
        """Nearest-rank percentile (0-100) of the latency of attempts that ended in the window; a
        failure is infinite.
        """
        _, done, latency, ok = self._cell(where)
        inside = done > now_ns - int(window_s * 1e9)
        count = int(inside.sum())
        if not count:
            return None
        values = np.sort(np.where(ok[inside], latency[inside] / 1e6, math.inf))
        return float(values[max(0, math.ceil(percentile / 100 * count) - 1)])

    def failover_s(
        self, fault_ns: int, now_ns: int, where: Mapping[str, str], sustained_s: float, good: float
    ) -> float | None:
        """See `failover_from`."""
        intended, _, _, ok = self._cell(where)
        return failover_from(intended, ok, fault_ns, now_ns, sustained_s, good)

    def _cell(self, where: Mapping[str, str]) -> tuple[Any, Any, Any, Any]:
        """(intended_ns, done_ns, latency_ns, ok) of the attempts that match."""
        parts: list[tuple[Any, Any, Any]] = []
        for _, batch in self._batches:
            keep = np.ones(batch.num_rows, dtype=bool)
            for column, value in where.items():
                keep &= _equals(batch, column, value)
            ok = _equals(batch, "outcome", Outcome.OK.value)
            parts.append(
                (
                    batch.column("intended_ns").to_numpy()[keep],
                    batch.column("done_ns").to_numpy()[keep],
                    ok[keep],
                )
            )
        if not parts:
            empty = np.empty(0, dtype=np.int64)
            return empty, empty, empty, np.empty(0, dtype=bool)
        intended, done, ok = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return intended, done, done - intended, ok


def failover_from(
    intended_ns: Any, ok: Any, fault_ns: int, now_ns: int, sustained_s: float, good: float
) -> float | None:
    """Seconds from the fault to the end of the last bad 100 ms step before the first `sustained_s`
    of good ones.

    A step without attempts says nothing and breaks no stretch. When users are not good again yet:
    the seconds so far. None without an attempt since the fault.
    """
    since = intended_ns >= fault_ns
    if not since.any():
        return None
    steps = ((intended_ns[since] - fault_ns) // _BIN_NS).astype(np.int64)
    count = int(steps.max()) + 1
    total = np.bincount(steps, minlength=count)
    bad = np.bincount(steps, weights=~ok[since], minlength=count)
    needed = max(1, round(sustained_s * 1e9 / _BIN_NS))
    begun = 0
    for step in range(count):
        if total[step] and bad[step] > (1 - good) * total[step]:
            begun = step + 1
        elif step + 1 - begun >= needed:
            return begun * _BIN_NS / 1e9
    return (now_ns - fault_ns) / 1e9


def _equals(batch: pa.RecordBatch, column: str, value: str) -> Any:
    """Which rows have this word in a dictionary column. A column that is not there matches
    nothing.
    """
    if column not in batch.schema.names:
        return np.zeros(batch.num_rows, dtype=bool)
    array = batch.column(column)
    words = array.dictionary.to_pylist()
    if value not in words:
        return np.zeros(batch.num_rows, dtype=bool)
    return array.indices.fill_null(-1).to_numpy(zero_copy_only=False) == words.index(value)
