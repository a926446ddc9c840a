"""What users see while a run goes on: live figures for the screen, and the guard that stops a run
for safety.

None of this decides a verdict: the judge reads the finished evidence for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stormgate.model import Event, Guard, Outcome

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SECOND_NS = 1_000_000_000
_KEPT_S = 180
_RECENT_S = 5


@dataclass(frozen=True, slots=True)
class LiveStats:
    """The last few whole seconds as users saw them. None: nothing arrived."""

    rate_per_s: float | None
    good_share: float | None
    p95_ms: float | None
    samples: int


@dataclass(slots=True)
class _Second:
    count: int = 0
    bad: int = 0


def guard_tripped(seconds: Sequence[tuple[int, int]], guard: Guard) -> str | None:
    """Why the error-rate guard stops the run, or None. `seconds` are (samples, bad) of whole
    seconds, oldest first.

    As in a Prometheus alert's `for`, every second of the stretch must be over the limit; one
    without samples says nothing and so neither trips nor clears.
    """
    if guard.error_rate is None:
        return None
    needed = max(1, round(guard.error_rate_for_s))
    stretch = seconds[-needed:]
    measured = [(count, bad) for count, bad in stretch if count]
    if len(stretch) < needed or not measured:
        return None
    if all(bad / count > guard.error_rate for count, bad in measured):
        share = sum(bad for _, bad in measured) / sum(count for count, _ in measured)
        limit = f"{guard.error_rate:.0%} for {guard.error_rate_for_s:g} s"
        return f"guard: {share:.0%} of requests failed over {needed} s (limit {limit})"
    return None


class Watcher:
    """Folds live sample blocks into seconds of completion. Memory is bounded by the seconds
    kept.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self._latencies: deque[tuple[int, float]] = deque(maxlen=20_000)
        self.samples = 0
        self.good = 0
        self.refused: str | None = None
        self.failure = ""

    def note(self, row: Mapping[str, Any]) -> None:
        """Take in one row of the timeline. `refused`: why the run cannot pass any more, for it
        meant to send outside `allow`. `failure`: how the first request that failed did, and where.
        """
        if row.get("event") == Event.LOAD_FAILURE and not self.failure:
            status = f" (HTTP {row['status']})" if row.get("status") else ""
            self.failure = f": {row.get('outcome')}{status} at {row.get('url') or row.get('route')}"
        if row.get("event") == Event.NET_REFUSED and self.refused is None:
            where, who = row.get("where"), row.get("who")
            self.refused = f"{who} asked for {where}, which the target does not allow: refused"

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in one block (columns as docs/evidence.md)."""
        import numpy as np

        done = _values(batch.column("done_ns"), np.int64)
        intended = _values(batch.column("intended_ns"), np.int64)
        outcome = batch.column("outcome")
        words = outcome.dictionary.to_pylist()
        ok = words.index(Outcome.OK.value) if Outcome.OK.value in words else -1
        good = _values(outcome.indices, np.int32) == ok
        for second in np.unique(done // _SECOND_NS):
            here = done // _SECOND_NS == second
            entry = self._seconds.setdefault(int(second), _Second())
            entry.count += int(here.sum())
            entry.bad += int((here & ~good).sum())
        self.samples += batch.num_rows
        self.good += int(good.sum())
        latency_ms = (done - intended) / 1e6
        self._latencies.extend(zip(done.tolist(), latency_ms.tolist(), strict=True))
        while len(self._seconds) > _KEPT_S:
            del self._seconds[min(self._seconds)]

    def whole_seconds(self, now_ns: int) -> list[tuple[int, int]]:
        """(samples, bad) of each whole second up to now, oldest first; the last two are left out,
        their blocks may still come.
        """
        last = now_ns // _SECOND_NS - 2
        if not self._seconds:
            return []
        first = min(self._seconds)
        empty = _Second()
        return [
            (s.count, s.bad)
            for s in (self._seconds.get(second, empty) for second in range(first, last + 1))
        ]

    def stats(self, now_ns: int) -> LiveStats:
        """Figures over the last few whole seconds."""
        recent = self.whole_seconds(now_ns)[-_RECENT_S:]
        count = sum(n for n, _ in recent)
        if not count:
            return LiveStats(None, None, None, self.samples)
        bad = sum(b for _, b in recent)
        since = (now_ns // _SECOND_NS - 1 - _RECENT_S) * _SECOND_NS
        latencies = sorted(latency for done, latency in self._latencies if done >= since)
        p95 = latencies[int(0.95 * (len(latencies) - 1))] if latencies else None
        return LiveStats(count / len(recent), 1 - bad / count, p95, self.samples)


def _values(column: pa.Array, dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    """A column without nulls as numpy sees its buffer; `to_numpy` would import pandas for it."""
    import numpy as np

    whole: np.ndarray[Any, Any] = np.frombuffer(column.buffers()[1], dtype=dtype)
    return whole[column.offset : column.offset + len(column)]


def as_mapping(stats: LiveStats) -> Mapping[str, float | int | None]:
    """The figures by name, for screens."""
    return {
        "rate_per_s": stats.rate_per_s,
        "good_share": stats.good_share,
        "p95_ms": stats.p95_ms,
        "samples": stats.samples,
    }
