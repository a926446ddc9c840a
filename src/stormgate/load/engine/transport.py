"""Non-blocking connections in an epoll: opening, reading, closing, deadlines."""

from __future__ import annotations

import select
import ssl
from collections import deque
from collections.abc import Container, Mapping

import httptools
from gevent import monkey

from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.clock import TurnClock, clock
from stormgate.load.engine.dial import Dialer
from stormgate.load.engine.labels import connection_classes
from stormgate.load.engine.pool import Pool
from stormgate.load.http.connection import (
    CLOSED,
    CONNECTING,
    HANDSHAKE,
    READY,
    STAMP_SPACE,
    Connection,
    Stamp,
    refold,
    tls_trouble,
)
from stormgate.load.http.response import ends_at_close
from stormgate.load.record.counters import Counters
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import Recorder
from stormgate.model import Outcome

# Locust's monkey-patching takes epoll out of `select`, since gevent's own greenlets cannot wait on
# it.
_epoll = monkey.get_original("select", "epoll")
_UNANSWERED_NS = 1_000_000_000  # a connection not taken for so long would not have been
_LAST_LOOKS = 64
_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_READ = select.POLLIN
_WRITE = select.POLLOUT


class Wire:
    """Connections, and what the sockets say of them. A subclass knows what the requests on them are
    about.
    """

    def __init__(
        self, recorder: Recorder, *, max_connections: int, observe: Mapping[str, str]
    ) -> None:
        self.counters = Counters()
        self.max_connections = max_connections
        self.connections: dict[int, Connection] = {}
        self.epoll = _epoll()
        self.clock = TurnClock()
        self.tick = 0
        self.open_allowance = max_connections  # how many connections this tick may still open
        self.deferred: deque[tuple[FlowTask, Outcome]] = deque()
        self._lag = self.counters.lags.append
        self._observed = len(recorder.observed)
        self.reasons = Reasons(None)
        self.dialer = Dialer(
            self, *connection_classes(recorder, observe), observed=len(recorder.observed)
        )

    def attempt(self, task: FlowTask, pool: Pool) -> None:
        """Start an attempt of a task's request."""
        raise NotImplementedError

    def transmit(self, connection: Connection, task: FlowTask) -> None:
        """Write a task's request on a ready connection."""
        raise NotImplementedError

    def answered(self, connection: Connection, task: FlowTask, raw: bytes, stamp: Stamp) -> None:
        """A whole response came; `stamp` says when its last byte did."""
        raise NotImplementedError

    def ended_without_reply(self, task: FlowTask, outcome: Outcome) -> None:
        """A request ended, and nothing whole came back."""
        raise NotImplementedError

    def open(self, task: FlowTask) -> None:
        self._lag(task.started_ns - task.intended_ns if task.attempt == 1 else 0)
        self.open_allowance -= 1
        self.dialer.open(task)

    # --- what the sockets say

    def on_event(self, connection: Connection, event: int) -> None:
        """Anything but plain data on a ready connection."""
        if connection.tick == self.tick:
            return  # an event of this descriptor's previous owner, in the same batch
        if connection.state == CONNECTING:
            self._on_connected(connection)
        elif connection.state == HANDSHAKE:
            self._on_handshake(connection)
        else:
            if event & _WRITE and connection.pending:
                self._flush(connection)
            if event & ~_WRITE and connection.state == READY:
                self.on_readable(connection)

    def _on_connected(self, connection: Connection) -> None:
        code = connection.connect_error()
        if code:
            self.dialer.refused(connection, code)
            return
        self.dialer.connected(connection)
        if connection.pool.proxy_source is not None and not connection.announce(
            connection.pool.proxy_source
        ):
            self.failed(connection, Outcome.RESET)
            return
        connection.state = HANDSHAKE
        self.epoll.modify(connection.fd, _READ)
        self._on_handshake(connection)

    def _on_handshake(self, connection: Connection) -> None:
        try:
            done = connection.handshake()
        except (ssl.SSLError, ssl.CertificateError) as error:
            self.reasons.say(Outcome.TLS, connection.pool.origin.netloc, tls_trouble(error))
            self.failed(connection, Outcome.TLS)
            return
        except OSError:
            self.failed(connection, Outcome.RESET)
            return
        if not done:
            return
        connection.state = READY
        task = connection.task
        if task is None:
            self.release(connection)
        else:
            self.transmit(connection, task)

    def _flush(self, connection: Connection) -> None:
        try:
            sent = connection.sock.send(connection.pending)
        except BlockingIOError:
            return
        except OSError:
            self.lost(connection)
            return
        connection.pending = connection.pending[sent:]
        if not connection.pending:
            self.epoll.modify(connection.fd, _READ)

    def on_readable(self, connection: Connection) -> None:
        try:
            data, stamp, _, _ = connection.recv(65_536, STAMP_SPACE)
        except BlockingIOError:
            return
        except (OSError, ssl.SSLError):
            self.lost(connection)
            return
        task = connection.task
        if task is None:
            # Idle: the peer closed it, or sent what nobody asked for. Neither is any request's
            # failure.
            self.drop(connection)
            return
        if not data:
            self._at_end(connection)
            return
        try:
            connection.feed(data)
        except _PARSER_ERRORS as error:
            if not refold(connection, data, is_head=task.request.is_head):
                self._malformed(connection, task, str(error))
                return
        if connection.complete == 1 and connection.chunks is None:
            self.answered(connection, task, data, stamp)
        else:
            self._in_parts(connection, task, data, stamp)

    def _malformed(self, connection: Connection, task: FlowTask, why: str) -> None:
        self.reasons.say(Outcome.MALFORMED, task.request.name, why)
        self.failed(connection, Outcome.MALFORMED)

    def _in_parts(self, connection: Connection, task: FlowTask, data: bytes, stamp: Stamp) -> None:
        """What came is not just one whole response."""
        chunks = connection.chunks
        if chunks is None:
            connection.chunks = chunks = []
        chunks.append(data)
        if connection.complete > 1:
            self._malformed(connection, task, "more than one answer to one request")
        elif connection.complete:
            connection.chunks = None
            self.answered(connection, task, b"".join(chunks), stamp)
        elif connection.ended:
            self._at_end(connection)

    def _at_end(self, connection: Connection) -> None:
        raw = b"".join(connection.chunks or ())
        task = connection.task
        if task is not None and raw and ends_at_close(raw):
            connection.keep = False
            connection.status = connection.parser.get_status_code()
            connection.chunks = None
            self.answered(connection, task, raw, ())
        else:
            self.lost(connection)

    def lost(self, connection: Connection) -> None:
        """The peer ended the connection."""
        self.failed(connection, Outcome.RESET)

    def failed(self, connection: Connection, outcome: Outcome) -> None:
        """The request on a connection ended without a whole response; the connection is of no use
        any more.
        """
        task = connection.task
        self.dialer.let_go(connection)
        connection.task = None
        self.drop(connection)
        if task is not None:
            self.ended_without_reply(task, outcome)

    # --- connections between requests

    def release(self, connection: Connection) -> None:
        """Hand a ready connection to the next waiting request, or keep it; one to an edge users
        were steered from is closed.
        """
        pool = connection.pool
        if pool.waiting:
            task = pool.waiting.popleft()
            self.transmit(connection, task)
        elif pool.wanted:
            pool.idle.append(connection)
        else:
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Close a connection; a request waiting for its place gets a new one."""
        if connection.state != CLOSED:
            self.connections.pop(connection.fd, None)
            connection.close()
        pool = connection.pool
        if pool.waiting and len(self.connections) < self.max_connections:
            self.attempt(pool.waiting.popleft(), pool)

    def drop_idle(self, pool: Pool) -> None:
        """Close a pool's idle connections: its users go elsewhere now."""
        idle, pool.idle = pool.idle, []
        for connection in idle:
            self.drop(connection)

    def sweep(self, now: int) -> None:
        """End the requests whose deadline has passed."""
        for connection in list(self.connections.values()):
            task = connection.task
            if task is None:
                continue
            since = task.started_ns if task.sent_ns < 0 else task.sent_ns
            if connection.state != READY:
                if now - task.started_ns > task.connect_timeout_ns:
                    self.failed(connection, Outcome.CONNECT_TIMEOUT)
                elif connection.race is not None:
                    self.dialer.hurry(connection, now)
            elif now - since > task.timeout_ns:
                self.failed(
                    connection,
                    Outcome.BODY_TIMEOUT if connection.chunks else Outcome.FIRST_BYTE_TIMEOUT,
                )

    def close_all(self) -> None:
        for connection in list(self.connections.values()):
            connection.task = None
            self.connections.pop(connection.fd, None)
            connection.close()

    # --- the end

    def last_look(self) -> set[int]:
        """Read the answers that have come. Returns the connections (descriptors) that wait for us
        to go on with their making: the target has taken those.
        """
        taken: set[int] = set()
        for _ in range(_LAST_LOOKS):  # an answer may come in many pieces
            self.tick += 1
            self.clock.set()
            readable = []
            for fd, event in self.epoll.poll(0, max(1, len(self.connections))):
                connection = self.connections.get(fd)
                if connection is None or connection.task is None:
                    continue
                if connection.state != READY:
                    taken.add(fd)
                elif event & ~_WRITE:
                    readable.append(connection)
            if not readable:
                break
            for connection in readable:
                if connection.state == READY:
                    self.on_readable(connection)
        return taken

    def end_all(self, taken: Container[int]) -> None:
        """Record what is in flight as the time-out it would become, and close everything.

        Only what the target owes us: a request that was not written, although the target had taken
        its connection or had no time to, was not sent.
        """
        now = clock()
        for connection in list(self.connections.values()):
            task = connection.task
            if task is None:
                continue
            if connection.state == READY:
                late = Outcome.BODY_TIMEOUT if connection.chunks else Outcome.FIRST_BYTE_TIMEOUT
                self.failed(connection, late)
            elif connection.fd in taken or now - task.started_ns < _UNANSWERED_NS:
                self.failed(connection, Outcome.NOT_SENT)
            else:
                self.failed(connection, Outcome.CONNECT_TIMEOUT)
        while self.deferred:
            self.ended_without_reply(*self.deferred.popleft())
        self.close_all()
