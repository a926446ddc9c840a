"""Operations of a worker on another machine arrive whole, in order and once, over a connection that
loses messages.
"""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa

from stormgate.load.engine.stream import Session
from stormgate.load.flow import Reply, post
from stormgate.load.record import relay
from stormgate.load.record.operations import OperationLog
from stormgate.load.record.recorder import Recorder
from stormgate.load.record.relay import CONFIRMED, EVIDENCE, MessageSink, Receiver
from stormgate.load.record.writer import Clock, Writer
from stormgate.model import Outcome, Population


class Runner:
    """One end of Locust's messages; every third of the evidence is lost on its way."""

    def __init__(self):
        self.custom_messages = {}
        self.peer = None
        self.sent = 0

    def register_message(self, name, handler):
        self.custom_messages[name] = (handler, False)

    def send_message(self, name, data=None, client_id=None):
        self.sent += 1
        if name == EVIDENCE and self.sent % 3 == 0:
            return
        if name in self.peer.custom_messages:
            message = SimpleNamespace(data=data, node_id="w")
            self.peer.custom_messages[name][0](msg=message)


def test_operations_of_a_remote_worker_arrive_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "RESEND_S", 0.03)
    master, worker = Runner(), Runner()
    master.peer, worker.peer = worker, master
    Receiver(master, tmp_path)
    recorder = Recorder("far")
    log = OperationLog(recorder)
    sink = MessageSink(worker, "far")
    assert CONFIRMED in worker.custom_messages
    writer = Writer(recorder, sink, None, model="open", clock=Clock(1000, 10), log=log)
    session = Session(Population(name="oslo", share=1, latitude=0, longitude=0), 1, 1)
    session.notes_into(log, "oslo", {})
    for number in range(1, 31):
        session.wrote("k", number, Reply(post("/x"), Outcome.OK, 200, b"", 10, 30))
        if number % 4 == 0:
            writer.flush()
            writer.report({}, ([], 0), {})
    writer.end({}, ([], 0), {})
    with pa.ipc.open_stream(tmp_path / "operations" / "far.arrow") as stream:
        rows = stream.read_all().to_pylist()
    assert [row["version"] for row in rows] == list(range(1, 31))
    assert [row["op"] for row in rows] == list(range(1, 31))
    assert {row["invoked_ns"] for row in rows} == {1010}
    last = (tmp_path / "generator.ndjson").read_text().splitlines()[-1]
    assert '"operations":30' in last
    assert '"final":true' in last
