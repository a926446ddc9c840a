"""Flows note what they did to data: one call, one row, whatever came of the request, to the last
answer of a run.
"""

from __future__ import annotations

import pyarrow as pa
import pytest
from tests.unit.load.engine_bench import Bench

from stormgate.evidence.operations import KINDS, OUTCOMES, HistoryReader, arrow_schema
from stormgate.load import Retry, get, post
from stormgate.load.engine.stream import Session
from stormgate.load.flow import Reply
from stormgate.load.record.operations import OperationLog
from stormgate.load.record.recorder import Recorder
from stormgate.load.record.sink import FolderSink, NoSink
from stormgate.load.record.writer import Clock, Writer
from stormgate.model import Outcome, Population

LONDON = Population(name="london", share=1, latitude=0, longitude=0, labels={"shard": "eu"})


class Desk:
    """A log, two sessions, and replies of any kind."""

    def __init__(self):
        self.recorder = Recorder("w0", ("shard", "served_by"))
        self.log = OperationLog(self.recorder)
        self.one, self.two = self.session(), self.session()

    def session(self):
        made = Session(LONDON, 1, 1)
        made.notes_into(self.log, LONDON.name, LONDON.labels)
        return made

    def reply(self, outcome=Outcome.OK, status=200, *, shard=None, by=None, request=None):
        made = Reply(request or post("/x"), outcome, status, b"", 10, 30)
        if shard or by:
            made.labels = [
                self.recorder.label_code("shard", shard) if shard else 0,
                self.recorder.label_code("served_by", by) if by else 0,
            ]
        return made

    def rows(self):
        return self.log.take().to_pylist()


def test_a_write_has_who_what_where_and_when():
    desk = Desk()
    desk.two.wrote("thread-1", 4, desk.reply(by="eu-west"), value=99)
    assert desk.rows() == [
        {
            "op": 1,
            "kind": "write",
            "key": "thread-1",
            "version": 4,
            "session": "w0/1",
            "population": "london",
            "region": "eu-west",
            "shard": "eu",  # known of its population: the answer did not say
            "invoked_ns": 10,
            "completed_ns": 30,
            "outcome": "ok",
            "value": 99,
            "to": None,
            "snapshot": None,
            "error": None,
        }
    ]
    assert desk.log.take() is None


def test_every_kind_has_its_call_and_reads_back_lawfully():
    desk = Desk()
    ok, session = desk.reply(shard="us"), desk.one
    session.wrote("a", 1, ok)
    session.read("a", None, ok)
    session.appended("l", 7, ok)
    session.listed("l", [7, 8], ok)
    session.listed("l", [], ok)
    session.transferred("x", "y", 5, ok)
    session.balances({"x": 1, "y": 2}, ok)
    session.added("c", 3, ok)
    session.counted("c", 3, ok)
    batch = desk.log.take()
    assert batch.schema == arrow_schema("w0")
    reader = HistoryReader()
    found = reader.read([("w0", batch)])
    assert reader.problems == []
    assert [KINDS[k] for k in found.kind] == [
        *("write", "read", "append", "list", "list", "list"),
        *("transfer", "balance", "balance", "add", "count"),
    ]
    rows = batch.to_pylist()
    assert [row["op"] for row in rows] == list(range(1, 12))
    assert [row["snapshot"] for row in rows[3:9]] == [4, 4, 6, None, 8, 8]
    assert [row["version"] for row in rows[1:6]] == [None, 7, 7, 8, None]
    assert [(row["key"], row["to"], row["value"]) for row in rows[6:9]] == [
        ("x", "y", 5),
        ("x", None, 1),
        ("y", None, 2),
    ]
    assert {row["shard"] for row in rows} == {"us"}


WRITES = [
    (Outcome.OK, 201, "ok"),
    (Outcome.NOT_SENT, 0, "fail"),
    (Outcome.REFUSED, 0, "fail"),
    (Outcome.CONNECT_TIMEOUT, 0, "fail"),
    (Outcome.DNS, 0, "fail"),
    (Outcome.TLS, 0, "fail"),
    (Outcome.BAD_STATUS, 409, "fail"),
    (Outcome.BAD_STATUS, 408, "info"),
    (Outcome.BAD_STATUS, 503, "info"),
    (Outcome.BAD_STATUS, 302, "info"),
    (Outcome.WRONG_BODY, 200, "info"),
    (Outcome.MALFORMED, 0, "info"),
    (Outcome.RESET, 0, "info"),
    (Outcome.FIRST_BYTE_TIMEOUT, 0, "info"),
    (Outcome.BODY_TIMEOUT, 200, "info"),
]


def test_every_outcome_of_a_request_is_one_of_a_write():
    assert {outcome for outcome, _, _ in WRITES} == set(Outcome)


@pytest.mark.parametrize(("outcome", "status", "wanted"), WRITES)
def test_a_write_is_failed_only_where_certainly_nothing_was_done(outcome, status, wanted):
    desk = Desk()
    desk.one.wrote("a", 1, desk.reply(outcome, status))
    desk.one.read("a", 1, desk.reply(outcome, status))
    write, read = desk.rows()
    assert write["outcome"] == wanted
    assert read["outcome"] == ("ok" if wanted == "ok" else "fail")  # a read changes nothing
    told = None if wanted == "ok" else f"{outcome.value} {status}" if status else outcome.value
    assert write["error"] == told


def test_a_refusal_after_another_attempt_is_no_certainty():
    desk = Desk()
    request = post("/x", retry=Retry(attempts=2))
    desk.one.wrote("a", 1, desk.reply(Outcome.REFUSED, 0, request=request))
    assert desk.rows()[0]["outcome"] == "info"


def test_a_read_that_failed_has_no_elements_and_no_balances():
    desk = Desk()
    timeout = desk.reply(Outcome.FIRST_BYTE_TIMEOUT, 0)
    desk.one.listed("l", [1, 2], timeout)
    desk.one.balances({"x": 0}, timeout)
    rows = desk.rows()
    assert [(row["version"], row["value"], row["outcome"]) for row in rows] == [
        (None, None, "fail"),
        (None, None, "fail"),
    ]


@pytest.mark.parametrize(
    ("key", "version", "value"),
    [
        (7, 1, None),
        ("", 1, None),
        (None, 1, None),
        ("a", "1", None),
        ("a", 1.5, None),
        ("a", 1, "x"),
        ("a", 1 << 63, None),
    ],
)
def test_what_is_no_key_version_or_value_is_refused_and_leaves_nothing(key, version, value):
    desk = Desk()
    with pytest.raises(TypeError, match=r"a key is|are integers of 64 bits"):
        desk.one.wrote(key, version, desk.reply(), value)
    with pytest.raises(TypeError, match="a key is"):
        desk.one.transferred("a", "", 1, desk.reply())
    assert desk.log.take() is None


def test_keys_of_any_writing_and_length_come_back():
    desk = Desk()
    for key in ("thé-東京", "a" * 600, "plain"):
        desk.one.wrote(key, 1, desk.reply())
    assert [row["key"] for row in desk.rows()] == ["thé-東京", "a" * 512, "plain"]


def test_a_session_without_a_log_notes_nothing():
    Session(LONDON, 1, 1).wrote("a", 1, Desk().reply())


def writer_of(desk, sink, clock=None):
    clock = clock or Clock()
    return Writer(desk.recorder, sink, None, model="open", clock=clock, log=desk.log)


def test_blocks_go_to_a_file_of_their_own_and_are_counted(tmp_path):
    desk = Desk()
    writer = writer_of(desk, FolderSink(tmp_path, "w0"), Clock(offset_ns=1000))
    desk.one.wrote("a", 1, desk.reply())
    writer.flush()
    writer.flush()
    desk.one.wrote("b", 2, desk.reply())
    writer.end({}, ([], 0), {})
    with pa.ipc.open_stream(tmp_path / "operations" / "w0.arrow") as stream:
        rows = stream.read_all().to_pylist()
    assert [(r["op"], r["key"], r["invoked_ns"], r["completed_ns"]) for r in rows] == [
        (1, "a", 1010, 1030),
        (2, "b", 1010, 1030),
    ]
    assert '"operations":2' in (tmp_path / "generator.ndjson").read_text()


def test_a_worker_whose_users_note_nothing_writes_no_file(tmp_path):
    desk = Desk()
    writer_of(desk, FolderSink(tmp_path, "w0")).end({}, ([], 0), {})
    assert not (tmp_path / "operations").exists()
    assert '"operations":0' in (tmp_path / "generator.ndjson").read_text()
    desk.one.wrote("a", 1, desk.reply())
    writer_of(desk, NoSink()).flush()  # nobody asked for evidence


def noting(session):
    session.count = getattr(session, "count", 0) + 1
    version = session.count
    reply = yield post("/x", timeout_s=30)
    session.wrote("k", version, reply)
    yield get("/never")


@pytest.mark.parametrize("answered", [True, False])
def test_what_is_in_flight_when_the_load_ends_is_noted(answered):
    """An acknowledged write that nobody noted down would be found in the store as one that nobody
    made.
    """
    with Bench() as bench:
        log = OperationLog(bench.recorder)
        stream = bench.stream(noting, rate=300)
        stream.session.notes_into(log, "london", {})
        bench.until(lambda: bench.counters.completed >= 5)
        bench.server.answer = None
        sent = bench.counters.sent
        bench.until(lambda: bench.counters.sent >= sent + 3)
        bench.engine.stop_arrivals()
        if answered:
            bench.server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            for sock in bench.server._open:
                sock.sendall(bench.server.answer)
        bench.engine.end_in_flight()
        rows = log.take().to_pylist()
        begun = stream.session.count
        assert sorted(row["version"] for row in rows) == list(range(1, begun + 1))
        assert OUTCOMES[0] in {row["outcome"] for row in rows}
        if not answered:
            # one may have had no connection yet: certainly not done
            assert {row["outcome"] for row in rows} - {"ok", "fail"} == {"info"}
        assert bench.flow_errors == []


def test_a_flow_that_raises_over_its_last_answer_is_counted():
    def raising(session):
        yield get("/x", timeout_s=30)
        raise ZeroDivisionError

    with Bench(answer=None) as bench:
        bench.stream(raising, rate=300)
        bench.until(lambda: bench.engine.in_flight >= 2)
        bench.finish()
        assert bench.counters.flow_errors_over_failures >= 2
