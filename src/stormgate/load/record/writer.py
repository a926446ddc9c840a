"""A worker's evidence as it is made: blocks, statistics, generator truth and events, in the run's
clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from locust.stats import RequestStats

from stormgate.load.locust import stats as stats_bridge
from stormgate.load.record import refusals
from stormgate.load.record.generator import Truth
from stormgate.load.record.operations import OperationLog
from stormgate.load.record.recorder import BlockStream, Recorder
from stormgate.load.record.sink import Sink


@dataclass(frozen=True, slots=True)
class Clock:
    """What to add to this machine's CLOCK_MONOTONIC to get the run's, and how wrong that may be.
    None: it is the run's own.
    """

    offset_ns: int = 0
    error_ns: int | None = None

    def now(self) -> int:
        return time.monotonic_ns() + self.offset_ns


class Writer:
    """Everything a worker writes goes through here. `model` is "open" or "closed"; `stats` None
    leaves Locust's own alone; `log` is where users note operations.
    """

    def __init__(
        self,
        recorder: Recorder,
        sink: Sink,
        stats: RequestStats | None,
        *,
        model: str,
        clock: Clock,
        log: OperationLog | None = None,
    ) -> None:
        self.recorder = recorder
        self.rows = 0
        self.blocks = 0
        self.operations = 0
        self._log = log
        self._operations: BlockStream | None = None
        self._sink = sink
        self._stats = stats
        self._clock = clock
        self._stream = BlockStream(recorder.schema)
        self._truth = Truth(recorder.worker, model, clock.now())

    def flush(self) -> int:
        """Write what was recorded since the last call as one block; how many rows that were."""
        self._flush_operations()
        rows = self.recorder.take()
        if not len(rows):
            return 0
        if self._stats is not None:
            stats_bridge.feed(self._stats, self.recorder, rows)
        if self._clock.offset_ns:
            rows = rows.copy()
            sent = rows["sent_ns"] >= 0
            for column in ("intended_ns", "done_ns"):
                rows[column] += self._clock.offset_ns
            rows["sent_ns"][sent] += self._clock.offset_ns
        self.blocks += 1
        self.rows += len(rows)
        self._sink.block(self._stream.block(self.recorder.batch(rows)))
        return len(rows)

    def _flush_operations(self) -> None:
        batch = None if self._log is None else self._log.take(self._clock.offset_ns)
        if batch is not None:
            self._operations = self._operations or BlockStream(batch.schema)
            self.operations += batch.num_rows
            self._sink.operations(self._operations.block(batch))

    def report(
        self,
        totals: dict[str, int],
        lags: tuple[list[int], int],
        gauges: dict[str, int],
        *,
        final: bool = False,
    ) -> None:
        """Write a row of generator truth: cumulative `totals`, and `Counters.take_lags`."""
        row = self._truth.row(
            self._clock.now(),
            totals=totals,
            lags_ns=lags[0],
            loop_lag_ns=lags[1],
            gauges={**self._written(), **gauges},
            final=final,
        )
        if self._clock.error_ns is not None:
            row |= {
                "clock_offset_ns": self._clock.offset_ns,
                "clock_error_ms": self._clock.error_ns / 1e6,
            }
        refusals.hand_over(self._sink, self._clock.now(), final=final)
        self._sink.generator(row)

    def _written(self) -> dict[str, int]:
        written = {"rows": self.rows, "blocks": self.blocks}
        return written if self._log is None else written | {"operations": self.operations}

    def event(self, name: str, **fields: Any) -> None:
        """Write a row of the timeline, stamped now."""
        self._sink.event(
            str(name), {"at_ns": self._clock.now(), "worker": self.recorder.worker, **fields}
        )

    def end(
        self, totals: dict[str, int], lags: tuple[list[int], int], gauges: dict[str, int]
    ) -> None:
        """The last block, the end of the stream and the final row."""
        self.flush()
        self._sink.block(self._stream.end())
        if self._operations is not None:
            self._sink.operations(self._operations.end())
        self.report(totals, lags, gauges, final=True)
        self._sink.close()
