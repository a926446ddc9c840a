"""The engine without gevent and Locust: the test turns its loop, and a socket of the same process
answers. No sleep, no thread, no other process.
"""

import contextlib
import socket
import time

from stormgate.load.engine.build import open_loop
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.stream import Session, Stream
from stormgate.load.http.addresses import Addresses
from stormgate.load.record.recorder import Recorder
from stormgate.model import Population

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Watcher:
    def start(self, callback):
        """The test turns the loop."""

    def stop(self):
        """As `start`."""

    def close(self):
        """As `start`."""


class Hub:
    """What the engine wants of gevent's."""

    def __init__(self):
        self.loop = self
        self.errors = []

    def io(self, _fd, _events):
        return Watcher()

    def handle_error(self, _context, kind, value, _traceback):
        self.errors.append((kind, value))


class Answerer:
    """A listening socket whose connections are answered when the test says so. `answer` is what
    each request gets; None: nothing, for ever.
    """

    def __init__(self, answer=OK):
        self.answer = answer
        self.requests = []
        self.paths = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self._open = []
        self.port = self._listener.getsockname()[1]

    def serve(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                self._open.append(sock)
        for sock in list(self._open):
            with contextlib.suppress(BlockingIOError):
                data = sock.recv(1 << 20)
                if not data:
                    self._open.remove(sock)
                    sock.close()
                    continue
                self.requests.append(data)
                path = data.split(b" ", 2)[1].decode()
                answer = self.paths.get(path, self.answer)
                if answer is not None:
                    sock.sendall(answer)

    def close(self):
        for sock in [self._listener, *self._open]:
            sock.close()


class Bench:
    """An engine for one population with one edge, an `Answerer` or a port."""

    def __init__(self, answer=OK, *, port=None, **options):
        self.server = Answerer(answer)
        url = f"http://127.0.0.1:{port or self.server.port}"
        self.population = Population(
            name="london", share=1, latitude=0, longitude=0, edges=("a",), links={"a": url}
        )
        self.place = Pools(self.population, 0, {"a": url})
        there = (socket.AF_INET, ("127.0.0.1", port or self.server.port))
        self.place.current.addresses = Addresses([there])
        self.recorder = Recorder("w")
        self.hub = Hub()
        self.flow_errors = []
        self.engine_errors = []
        self.engine = open_loop(
            self.recorder,
            hub=self.hub,
            on_flow_error=lambda *told: self.flow_errors.append(told),
            on_engine_error=self.engine_errors.append,
            **options,
        )
        self.taken = []
        self.streams = 0

    def stream(self, flow, *, name="test", rate=500.0, **more):
        self.streams += 1
        session = Session(self.population, self.streams, self.streams)
        stream = Stream(
            name,
            self.place,
            session,
            key=self.streams,
            rate_per_s=rate,
            poisson=False,
            begin=flow,
            **more,
        )
        self.engine.add_stream(stream)
        return stream

    def turn(self, times=1):
        for _ in range(times):
            self.engine.wake()
            self.server.serve()

    def until(self, condition, within_s=10.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            self.turn()

    @property
    def counters(self):
        return self.engine.counters

    def rows(self):
        """All rows so far."""
        self.taken += self.recorder.batch(self.recorder.take()).to_pylist()
        return self.taken

    def finish(self, grace_s=0.0):
        """As a worker ends."""
        self.engine.stop_arrivals()
        deadline = time.monotonic() + grace_s
        while self.engine.in_flight and time.monotonic() < deadline:
            self.turn()
        self.engine.end_in_flight()
        return self.rows()

    def adds_up(self):
        """The books at the end: everything planned was sent, unreached or not sent, and has a
        row.
        """
        rows, totals = self.rows(), self.engine.totals()
        firsts = [row for row in rows if row["attempt"] == 1]
        unsent = sum(row["outcome"] == "not_sent" for row in firsts)
        written = sum(row["sent_ns"] is not None for row in firsts)
        return totals["planned"] == len(firsts) and (
            totals["sent"],
            totals["unreached"],
            totals["not_sent"],
        ) == (written, len(firsts) - written - unsent, unsent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.close()
        self.server.close()
