"""Locust's own statistics fed block by block, so that its UI, CSV and HTML stay true without an
event per request.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from locust.stats import RequestStats, StatsEntry, StatsError, bucket_response_time
from numpy.typing import NDArray

from stormgate.load.record.recorder import CODE, OUTCOMES, Recorder
from stormgate.model import Outcome

_OK = CODE[Outcome.OK]


def feed(stats: RequestStats, recorder: Recorder, rows: NDArray[Any]) -> None:
    """Add a block of rows (`Recorder.take`). Response times count from the intended start."""
    if not len(rows):
        return
    now = time.time()
    latency_ms = (rows["done_ns"] - rows["intended_ns"]) / 1e6
    failed = rows["outcome"] != _OK
    _add(stats.total, latency_ms, rows["bytes_in"], failed, now)
    for code in np.unique(rows["series"]).tolist():
        _, route, method, _ = recorder.series[code]
        mine = rows["series"] == code
        _add(
            stats.entries[(route, method)],
            latency_ms[mine],
            rows["bytes_in"][mine],
            failed[mine],
            now,
        )
        wrong = rows["outcome"][mine & failed]
        for outcome, count in zip(*np.unique(wrong, return_counts=True), strict=True):
            text = OUTCOMES[outcome].value
            key = StatsError.create_key(method, route, text)
            error = stats.errors.get(key)
            if error is None:
                error = stats.errors[key] = StatsError(method, route, text)
            error.occurrences += int(count)


def _add(
    entry: StatsEntry,
    latency_ms: NDArray[np.float64],
    size: NDArray[Any],
    failed: NDArray[np.bool_],
    now: float,
) -> None:
    second, count = int(now), len(latency_ms)
    if (
        entry.use_response_times_cache
        and entry.last_request_timestamp
        and second > int(entry.last_request_timestamp)
    ):
        entry._cache_response_times(second - 1)
    entry.num_requests += count
    entry.num_reqs_per_sec[second] += count
    entry.last_request_timestamp = now
    entry.total_response_time += float(latency_ms.sum())
    low, high = float(np.min(latency_ms)), float(np.max(latency_ms))
    entry.min_response_time = (
        low if entry.min_response_time is None else min(entry.min_response_time, low)
    )
    entry.max_response_time = max(entry.max_response_time, high)
    entry.total_content_length += int(size.sum())
    for value, times in zip(*np.unique(np.rint(latency_ms), return_counts=True), strict=True):
        entry.response_times[bucket_response_time(float(value))] += int(times)
    failures = int(failed.sum())
    if failures:
        entry.num_failures += failures
        entry.num_fail_per_sec[second] += failures
