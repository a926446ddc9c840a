"""Running the recording path once, before anything is measured and before Locust forks its
workers.
"""

from __future__ import annotations

import pyarrow as pa
from locust.stats import RequestStats

from stormgate.load.http.response import parse_message
from stormgate.load.locust import stats as stats_bridge
from stormgate.load.record.generator import Truth
from stormgate.load.record.recorder import BlockStream, Recorder


def warm_up() -> None:
    """Run the recording path once: pyarrow imports pandas on first use, a second in which nothing
    could be sent.
    """
    pa.set_cpu_count(1)  # blocks are small, and a pool's threads would not survive the fork
    recorder = Recorder("warm-up", ("served_by",))
    code = recorder.series_code("nobody", "nothing", "GET", "read")
    recorder.rows.append(
        recorder.pack(0, -1, 1, 1, code, 0, 0, 1, 1, recorder.label_code("served_by", "nobody"))
    )
    rows = recorder.take()
    BlockStream(recorder.schema).block(recorder.batch(rows))
    stats_bridge.feed(RequestStats(), recorder, rows)
    parse_message(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    Truth("warm-up", "open", 0).row(
        1, totals={}, lags_ns=[1], loop_lag_ns=0, gauges={}, final=False
    )
