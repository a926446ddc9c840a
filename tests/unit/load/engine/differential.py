"""One plan over any transport, against one script: what comes back has to be the same rows.

To hold another transport to it, add how it is made to `TRANSPORTS`. The played one is the oracle:
it answers by the script without a socket.
"""

import contextlib
import random
import select
import selectors
import socket
import ssl
import struct
import threading
import time

from tests.unit.load.engine.rig import OK, PlayedAlarm, PlayedClock, PlayedTransport, answer

from stormgate.load import Retry, get, head, post, think
from stormgate.load.engine.attempts import Attempts
from stormgate.load.engine.clock import TurnClock
from stormgate.load.engine.core import native
from stormgate.load.engine.core.odd import OddTransport
from stormgate.load.engine.core.transport import CoreTransport
from stormgate.load.engine.engine import Engine
from stormgate.load.engine.flows import Flows
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.sandbox import Sandbox
from stormgate.load.engine.stream import Session, Stream
from stormgate.load.engine.transport.sockets import SocketTransport
from stormgate.load.http.addresses import Addresses
from stormgate.load.record.counters import Counters
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import Recorder
from stormgate.load.schedule.shares import stream_key
from stormgate.model import Outcome, Population

SHORT_S = 0.4  # the deadline of what never ends; all else has a long one
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nas long as it lasts"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
# What the server sends for a path, in pieces, and what it does then: keep or close the connection,
# reset it, or nothing any more. The last is how the attempt ends: an answer, or an Outcome.
SCRIPT = {
    "/ok": ((OK,), "keep", OK),
    "/large": ((answer(body=b"x" * 200_000),), "keep", answer(body=b"x" * 200_000)),
    "/busy": ((answer(503),), "keep", answer(503)),
    "/missing": ((answer(404),), "keep", answer(404)),
    "/empty": ((answer(204, body=b""),), "keep", answer(204, body=b"")),
    "/pieces": ((OK[:5], OK[5:20], OK[20:]), "keep", OK),
    "/chunked": ((CHUNKED[:50], CHUNKED[50:]), "keep", CHUNKED),
    "/early": ((EARLY, OK), "keep", EARLY + OK),
    "/last": ((answer(200, "Connection: close"),), "close", answer(200, "Connection: close")),
    "/until-close": ((UNTIL_CLOSE,), "close", UNTIL_CLOSE),
    "/cookie": ((answer(200, "Set-Cookie: a=b"),), "keep", answer(200, "Set-Cookie: a=b")),
    "/moved": ((answer(302, "Location: /ok"),), "keep", answer(302, "Location: /ok")),
    "/moved-far": ((answer(307, "Location: /busy"),), "keep", answer(307, "Location: /busy")),
    "/garbage": ((b"what is this\r\n\r\n",), "keep", Outcome.MALFORMED),
    "/twice": ((OK + OK,), "keep", Outcome.MALFORMED),
    "/cut": ((HALF,), "close", Outcome.RESET),
    "/reset": ((), "reset", Outcome.RESET),
    "/gone": ((), "close", Outcome.RESET),
    "/never": ((), "silence", Outcome.FIRST_BYTE_TIMEOUT),
    "/stuck": ((HALF,), "silence", Outcome.BODY_TIMEOUT),
    "/head": ((HALF[:-4],), "keep", HALF[:-4]),
}
RETRIED = {Outcome.RESET, Outcome.REFUSED, Outcome.BAD_STATUS, Outcome.MALFORMED}
LASTING = Retry(3, on=RETRIED, next_edge=False)


class ScriptedServer(threading.Thread):
    """Answers by `SCRIPT` on a port of loopback; `requests` counts what came. `context`: under TLS,
    which it ends as badly mannered servers do, without a word.
    """

    def __init__(self, context=None):
        super().__init__(daemon=True)
        self._context = context
        self.requests = 0
        self._is_over = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def run(self):
        while not self._is_over:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._listener:
                    sock, _ = self._listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._context is not None:
                        sock = self._context.wrap_socket(
                            sock, server_side=True, do_handshake_on_connect=False
                        )
                        sock.setblocking(False)
                    self._selector.register(sock, selectors.EVENT_READ)
                elif self._is_agreed(key.fileobj):
                    with contextlib.suppress(ConnectionError):
                        self._answer(key.fileobj)

    def _is_agreed(self, sock):
        """Whether a connection carries requests; a handshake holds up no other."""
        if not isinstance(sock, ssl.SSLSocket) or sock.getblocking():
            return True
        with contextlib.suppress(ssl.SSLWantReadError):
            sock.do_handshake()
            sock.setblocking(True)
        return False

    def _answer(self, sock):
        data = sock.recv(65_536)
        if not data:
            self._end(sock)
            return
        self.requests += 1
        pieces, then, _ = SCRIPT[data.split(b" ", 2)[1].decode()]
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.002)  # in a packet of its own
            sock.sendall(piece)
        if then == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then in ("close", "reset"):
            self._end(sock)

    def _end(self, sock):
        self._selector.unregister(sock)
        sock.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._is_over = True
        self.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


def scripted(attempt):
    """What the oracle answers: the script, and nobody at the edge that is dead."""
    if attempt.pool.edge == "dead":
        return Outcome.REFUSED
    found = SCRIPT[attempt.payload.split(b" ", 2)[1].decode()][2]
    if found in (Outcome.FIRST_BYTE_TIMEOUT, Outcome.BODY_TIMEOUT):
        return found, attempt.timeout_ns
    return found


class PollAlarm(PlayedAlarm):
    """Waits for the descriptor, or until it is time."""

    def wait(self, fd):
        poll = select.poll()
        if not self.is_ticking:
            poll.register(fd, select.POLLIN)
        poll.poll(max(0, min(100, (self.at_ns - time.monotonic_ns()) // 1_000_000 + 1)))


def played(_sandbox, _reasons):
    clock = PlayedClock()
    return clock, PlayedTransport(clock, scripted), PlayedAlarm(clock)


def sockets(sandbox, reasons):
    transport = SocketTransport(TurnClock(), reasons, sandbox.slipped, max_connections=200)
    return time.monotonic_ns, transport, PollAlarm(None)


def core(sandbox, reasons):
    odd = OddTransport(TurnClock(), reasons, sandbox.slipped, max_connections=200)
    transport = CoreTransport(native, odd, reasons, sandbox.slipped)
    return time.monotonic_ns, transport, PollAlarm(None)


TRANSPORTS = {"sockets": sockets}
if native is not None:
    TRANSPORTS["core"] = core


def flow_of(seed, number, flows, done):
    """A user of stream `number`, who comes `flows` times. Each request has a name of its own, so
    that its rows are told from all others whatever their order.
    """
    count = iter(range(flows))

    def flow(_session):
        turn = next(count, None)
        if turn is None:
            return
        # By its own seed: flows of a stream overlap as the answers have it.
        draw = random.Random(f"{seed}.{number}.{turn}")
        for step in range(draw.randrange(1, 4)):
            path = draw.choice(list(SCRIPT))
            make = {"/head": head, "/cookie": post}.get(path, get)
            short = SCRIPT[path][1] == "silence"
            reply = yield make(
                path,
                name=f"{number}.{turn}.{step}",
                timeout_s=SHORT_S if short else 60,
                connect_timeout_s=60,
                retry=draw.choice([None, Retry(2, on=RETRIED), LASTING]),
                redirects=draw.choice([0, 1]),
                expect=draw.choice([None, (200, 302, 404)]),
                check=draw.choice([None, lambda r: b"a" in r.body]),
            )
            if draw.random() < 0.3:
                yield think(0.01)
            if draw.random() < 0.5 and not reply.ok:
                break
        done.append((number, turn))

    return flow


def by_name(found):
    """Rows by request name, and what was intended of each flow's first request since its stream's
    first.
    """
    rows, plan, begun = {}, {}, {}
    for row in sorted(found, key=lambda row: (row["request"], row["attempt"])):
        seen = tuple(
            row[name] for name in ("population", "op", "attempt", "outcome", "status", "bytes_in")
        )
        rows.setdefault(row["route"], []).append((*seen, row["sent_ns"] is None))
        number, _, step = row["route"].split(".")
        if step == "0" and row["route"] not in plan:
            begin_ns = begun.setdefault(number, row["intended_ns"])
            plan[row["route"]] = row["intended_ns"] - begin_ns
    return rows, plan


def play(
    make,
    port,
    *,
    seed=7,
    streams=6,
    flows=12,
    rate=40.0,
    context=None,
    begin_of=flow_of,
    told=by_name,
):
    """Play the plan over a transport, under TLS with a `context`: what `told` says of its rows, and
    the totals. `begin_of` makes what begins the flows of a stream.
    """
    counters, reasons, failed = Counters(), Reasons(), []
    sandbox = Sandbox(counters, lambda *told: failed.append(told), failed.append)
    clock, transport, alarm = make(sandbox, reasons)
    counters.transport = transport.counts
    # Bound and not listening: it refuses, and nobody else gets the port meanwhile.
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    dead = closed.getsockname()[1]
    scheme = "http" if context is None else "https"
    links = {"dead": f"{scheme}://127.0.0.1:{dead}", "live": f"{scheme}://127.0.0.1:{port}"}
    order = {0: ("live", "dead"), 1: ("dead", "live")}
    places = []
    for index, edges in order.items():
        people = Population(
            name=f"p{index}", share=1, latitude=0, longitude=0, edges=edges, links=links
        )
        place = Pools(people, index, {edge: links[edge] for edge in edges})
        for pool in place.pools.values():
            at = ("127.0.0.1", pool.origin.port)
            pool.addresses = Addresses([(socket.AF_INET, at)])
            pool.tls = context
        places.append(place)
    recorder = Recorder("w")
    attempts = Attempts(
        transport, recorder, counters, sandbox, reasons=reasons, failures=FirstFailures()
    )
    engine = Engine(
        Flows(sandbox, prepare=attempts.prepare, submit=attempts.submit),
        attempts,
        transport,
        alarm,
        sandbox,
        clock=clock,
        max_connections=200,
        max_late_ns=60_000_000_000,  # a busy machine is no difference
    )
    done = []
    for number in range(streams):
        place = places[number % 2]
        key = stream_key(seed, "Reader", number)
        engine.add_stream(
            Stream(
                "Reader",
                place,
                Session(place.model, number, key),
                key=key,
                rate_per_s=rate,
                poisson=number % 3 > 0,
                begin=begin_of(seed, number, flows, done),
            )
        )
    deadline = time.monotonic() + 60
    while len(done) < streams * flows or engine.in_flight:
        assert failed == []
        assert time.monotonic() < deadline, f"{len(done)} of {streams * flows} flows have ended"
        if isinstance(alarm, PollAlarm):
            alarm.clock = PlayedClock(time.monotonic_ns())
            alarm.wait(transport.fileno())
        else:
            clock.now_ns = max(clock.now_ns, min(alarm.at_ns, transport.next_ns or alarm.at_ns))
        engine.wake()
    engine.stop_arrivals()
    engine.end_in_flight()
    engine.close()
    closed.close()
    assert failed == []
    return *told(recorder.batch(recorder.take()).to_pylist()), engine.totals()
