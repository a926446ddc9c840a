"""Rows become Arrow blocks of the documented schema, readable up to the last whole one."""

import io

import numpy as np
import pyarrow as pa
import pytest

from stormgate.evidence.schema import CORE_COLUMNS
from stormgate.load.engine.backpressure import Backpressure
from stormgate.load.locust.lost import why_lost
from stormgate.load.record.generator import Truth
from stormgate.load.record.recorder import CODE, BlockFile, BlockStream, Recorder
from stormgate.load.record.sink import free_worker_name
from stormgate.model import Outcome


def recorder():
    made = Recorder("w", ("shard", "cost"))
    made.know("london", {"shard": "eu", "country": "GB"})
    return made


def row(
    made,
    *,
    sent=20,
    outcome=Outcome.OK,
    shard=None,
    cost=None,
    route="list",
    population="london",
    request=1,
    status=200,
):
    code = made.series_code(population, route, "GET", "read")
    labels = [
        0 if value is None else made.label_code(name, value)
        for name, value in (("shard", shard), ("cost", cost))
    ]
    made.rows.append(made.pack(10, sent, 30, request, code, 7, status, 1, CODE[outcome], *labels))


def test_columns_types_and_nulls():
    made = recorder()
    row(made, shard="eu-2", cost="5")
    row(
        made,
        sent=-1,
        outcome=Outcome.NOT_SENT,
        population="oslo",
        route="write",
        status=0,
        request=2**40,
    )
    batch = made.batch(made.take())
    assert batch.schema.names == [*CORE_COLUMNS, "served_by", "shard", "cache", "tier", "cost"]
    assert batch.schema.metadata == {b"schema": b"stormgate.samples/1", b"worker": b"w"}
    first, second = batch.to_pylist()
    assert first == {
        "intended_ns": 10, "sent_ns": 20, "done_ns": 30, "population": "london", "route": "list", "op": "read", "request": 1,  # noqa: E501
        "attempt": 1, "status": 200, "bytes_in": 7, "outcome": "ok", "served_by": None, "shard": "eu-2", "cache": None,  # noqa: E501
        "tier": None, "cost": "5",
    }  # fmt: skip
    assert (second["sent_ns"], second["outcome"], second["population"], second["request"]) == (
        None,
        "not_sent",
        "oslo",
        2**40,
    )
    batch.validate(full=True)


def test_a_populations_own_labels_fill_in_where_a_response_gives_none():
    made = recorder()
    row(made)
    row(made, shard="us")
    row(made, population="oslo")
    assert made.batch(made.take())["shard"].to_pylist() == ["eu", "us", None]


def test_dropped_arrivals_are_rows_too():
    made = recorder()
    row(made)
    series = made.series_code("london", "Reader", "GET", "read")
    made.add_unsent(np.array([1, 2, 3]), np.full(3, series), 100, 9)
    rows = made.batch(made.take()).to_pylist()
    assert [r["outcome"] for r in rows] == ["ok", "not_sent", "not_sent", "not_sent"]
    assert [(r["request"], r["intended_ns"], r["sent_ns"], r["done_ns"]) for r in rows[1:]] == [
        (100, 1, None, 9), (101, 2, None, 9), (102, 3, None, 9),
    ]  # fmt: skip
    assert len(made.take()) == 0


def blocks():
    made = recorder()
    stream = BlockStream(made.schema)
    parts = []
    for number in range(4):
        for _ in range(number + 1):
            row(made, route=f"route {number}", shard=f"s{number}")
        parts.append(stream.block(made.batch(made.take())))
    return parts, stream.end()


def test_each_block_reads_with_what_went_before():
    parts, end = blocks()
    table = pa.ipc.open_stream(b"".join(parts) + end).read_all()
    assert table.num_rows == 10
    assert set(table["route"].to_pylist()) == {f"route {n}" for n in range(4)}
    assert end == b"\xff\xff\xff\xff\x00\x00\x00\x00"


def test_a_torn_stream_reads_up_to_its_last_whole_block():
    parts, _ = blocks()
    reader = pa.ipc.open_stream(io.BytesIO(b"".join(parts)[:-40]))
    rows = 0
    for _ in range(3):
        rows += reader.read_next_batch().num_rows
    assert rows == 6
    with pytest.raises((pa.ArrowInvalid, OSError)):
        reader.read_next_batch()


def test_two_runs_never_share_a_samples_file(tmp_path):
    assert free_worker_name(tmp_path, "worker-0") == "worker-0"
    BlockFile(tmp_path, "worker-0").close()
    with pytest.raises(FileExistsError):
        BlockFile(tmp_path, "worker-0")
    assert free_worker_name(tmp_path, "worker-0") == "worker-0-2"


def test_generator_rows_are_increases():
    truth = Truth("w", "open", 0)
    totals = {"planned": 10, "sent": 9}
    first = truth.row(
        10**9,
        totals=totals,
        lags_ns=[1_000_000] * 99 + [5_000_000],
        loop_lag_ns=2_000_000,
        gauges={"rows": 4},
        final=False,
    )
    second = truth.row(
        3 * 10**9,
        totals={"planned": 30, "sent": 20},
        lags_ns=[],
        loop_lag_ns=0,
        gauges={"rows": 9},
        final=True,
    )
    assert (first["planned"], second["planned"], second["sent"], second["rows"]) == (10, 20, 11, 9)
    assert (first["window_s"], second["window_s"]) == (1.0, 2.0)
    assert (first["send_lag_p50_ms"], first["send_lag_max_ms"], first["loop_lag_max_ms"]) == (
        1.0,
        5.0,
        2.0,
    )
    assert (first["seq"], second["seq"], second["final"]) == (0, 1, True)


MS = 1_000_000


@pytest.mark.parametrize(
    ("late_ms", "busy", "expected"),
    [(0, 1.0, False), (10, 1.0, False), (30, 0.5, False), (30, 1.0, True), (3000, 0.1, False)],
)
def test_only_a_busy_engine_is_overloaded(late_ms, busy, expected):
    pressure = Backpressure()
    pressure.worked(0, int(60 * MS * busy))
    pressure.worked(
        60 * MS, 60 * MS + 60 * MS
    )  # closes the window; the share is that of work in it
    pressure.share = busy
    assert pressure.judge(late_ms * MS) is expected


def test_overload_ends_only_when_the_engine_has_caught_up():
    pressure = Backpressure()
    pressure.share = 1.0
    assert pressure.judge(30 * MS)
    assert pressure.judge(10 * MS)
    assert not pressure.judge(4 * MS)


def test_restraint_never_keeps_itself_up():
    pressure = Backpressure()
    pressure.share = 1.0
    assert pressure.judge(900 * MS)
    pressure.share = 0.3
    assert not pressure.judge(900 * MS)


def test_a_saturated_engine_opens_connections_slowly_but_always_some():
    pressure = Backpressure()
    opened = sum(pressure.may_open(1_000 * MS + now * MS) for now in range(0, 2000))
    assert 150 <= opened <= 300


def test_the_share_is_work_over_time():
    pressure = Backpressure()
    pressure.worked(0, 10 * MS)
    for begin in range(10, 200, 10):
        pressure.worked(begin * MS, begin * MS + 4 * MS)
    assert pressure.share == pytest.approx(0.42, abs=0.05)


@pytest.mark.parametrize(
    ("host", "state", "silent_s", "expected"),
    [
        ("here", "S", 0.5, None),
        ("here", "Z", 0.5, "its process 9 is gone"),
        ("here", "", 0.5, "its process 9 is gone"),
        ("there", "", 0.5, None),
        ("there", "", 3.5, "no heartbeat for 3.5 s"),
        ("here", "T", 3.5, "no heartbeat for 3.5 s"),
    ],
)
def test_when_a_worker_is_lost(host, state, silent_s, expected):
    worker = {"name": "w", "pid": 9, "host": host}
    assert (
        why_lost(worker, 100.0, 100.0 - silent_s, host="here", state_of=lambda _pid: state)
        == expected
    )
