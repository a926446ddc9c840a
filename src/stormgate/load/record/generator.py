"""Generator truth: each second, what the engine planned and did, and how late it was itself."""

from __future__ import annotations

import time
from typing import Any

import numpy as np


class Truth:
    """Makes a worker's rows of generator.ndjson from the engine's cumulative counters."""

    def __init__(self, worker: str, model: str, now_ns: int) -> None:
        """`model` is "open" or "closed"."""
        self._worker = worker
        self._model = model
        self._seq = 0
        self._last_ns = now_ns
        self._cpu_s = time.process_time()
        self._before: dict[str, int] = {}

    def row(self, now_ns: int, *, totals: dict[str, int], lags_ns: list[int], loop_lag_ns: int, gauges: dict[str, int],  # noqa: E501
            final: bool) -> dict[str, Any]:  # fmt: skip
        """One row. `totals` are cumulative counts, of which the row has the increase; `gauges` are
        reported as they are.
        """
        window_s = max((now_ns - self._last_ns) / 1e9, 1e-9)
        cpu_s = time.process_time()
        p50, p99, top = (
            (float(x) / 1e6 for x in np.percentile(lags_ns, (50, 99, 100)))
            if lags_ns
            else (0.0, 0.0, 0.0)
        )
        row = {
            "at_ns": now_ns,
            "worker": self._worker,
            "seq": self._seq,
            "window_s": round(window_s, 6),
            **{name: total - self._before.get(name, 0) for name, total in totals.items()},
            "send_lag_p50_ms": round(p50, 4),
            "send_lag_p99_ms": round(p99, 4),
            "send_lag_max_ms": round(top, 4),
            "loop_lag_max_ms": round(loop_lag_ns / 1e6, 4),
            "cpu": round((cpu_s - self._cpu_s) / window_s, 4),
            **gauges,
            "model": self._model,
            "final": final,
        }
        self._seq += 1
        self._last_ns, self._cpu_s, self._before = now_ns, cpu_s, totals
        return row
