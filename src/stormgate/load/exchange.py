"""One request after another over non-blocking connections: from a task with a request to a row and a reply."""

from __future__ import annotations

import errno
import select
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from gevent import monkey

from stormgate.load.connection import CLOSED, CONNECTING, HANDSHAKE, OWN_LIMITS, READY, Connection, expect_head
from stormgate.load.counters import Counters
from stormgate.load.flow import Reply
from stormgate.load.labels import connection_classes
from stormgate.load.message import ends_at_close
from stormgate.load.pool import Pool
from stormgate.load.recorder import CODE, Recorder
from stormgate.load.redirect import redirected
from stormgate.load.task import Task
from stormgate.model import Outcome

IDLE_CHECK_NS = 1_000_000_000
# Locust's monkey-patching takes epoll out of `select`, since gevent's own greenlets cannot wait on it.
_epoll = monkey.get_original("select", "epoll")
_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_READ = select.POLLIN
_WRITE = select.POLLOUT
clock = time.monotonic_ns


def _checked(check: Callable[[Reply], bool], reply: Reply) -> bool:
    try:
        return bool(check(reply))
    except Exception:  # a body the check cannot read is a wrong body
        return False


class Exchange:
    """Connections, and what happens on them. A subclass decides what follows a reply (`after`)."""

    def __init__(self, recorder: Recorder, *, max_connections: int, observe: Mapping[str, str]) -> None:
        self.recorder = recorder
        self.counters = Counters()
        self.max_connections = max_connections
        self.connections: dict[int, Connection] = {}
        self.epoll = _epoll()
        self.tick = 0
        self.open_allowance = max_connections  # how many connections this tick may still open
        self.in_flight = 0
        self.stopping = False
        self.deferred: deque[tuple[Task, Outcome]] = deque()
        self._next_request = 0
        self._record = recorder.rows.append
        self._pack = recorder.pack
        self._lag = self.counters.lags.append
        self._observed = len(recorder.observed)
        self._no_labels = (0,) * self._observed
        self._plain, self._tls = connection_classes(recorder, observe)

    def after(self, task: Task, reply: Reply) -> None:
        """What follows a request's end."""
        raise NotImplementedError

    # --- sending

    def submit(self, task: Task) -> None:
        """Start the first attempt of `task.request`, whose intended start has come."""
        self._next_request += 1
        task.number = self._next_request
        task.attempt = 1
        self.counters.planned += 1
        self.in_flight += 1
        self.attempt(task, task.stream.place.current)

    def attempt(self, task: Task, pool: Pool) -> None:
        """Start an attempt on an idle connection, a new one, or when none may be opened, the pool's queue."""
        task.pool = pool
        idle = pool.idle
        while idle:
            connection = idle.pop()
            if connection.state == READY and self._usable(connection):
                self.transmit(connection, task)
                return
        task.sent_ns = -1
        task.started_ns = clock()
        if pool.address is None:
            self.counters.sent += task.attempt == 1
            self.deferred.append((task, Outcome.DNS))
        elif self.open_allowance > 0 and len(self.connections) < self.max_connections:
            self._open(task)
        else:
            task.connection = None
            pool.waiting.append(task)

    def _usable(self, connection: Connection) -> bool:
        # The read watcher saw every close up to this wake-up; after a long idle time the gap since is shut, too.
        if clock() - connection.idle_ns < IDLE_CHECK_NS:
            return True
        self.on_readable(connection)
        return connection.state == READY

    def _open(self, task: Task) -> None:
        self._lag(task.started_ns - task.intended_ns if task.attempt == 1 else 0)
        self.open_allowance -= 1
        try:
            connection = (self._plain if task.pool.tls is None else self._tls)(task.pool, self.tick)
        except OSError:
            self.deferred.append((task, Outcome.NOT_SENT))
            return
        if self._observed:
            connection.labels = [0] * self._observed
        connection.task = task
        task.connection = connection
        code = connection.connect()
        # Counted when the engine acts, not when the request ends: requests held up by a silent target are no shortfall of ours.
        self.counters.sent += task.attempt == 1 and code not in OWN_LIMITS
        if code in (0, errno.EINPROGRESS):
            self.counters.new_connections += 1
            self.connections[connection.fd] = connection
            self.epoll.register(connection.fd, _READ | _WRITE)
        else:
            connection.close()
            self.deferred.append((task, Outcome.NOT_SENT if code in OWN_LIMITS else Outcome.REFUSED))

    def transmit(self, connection: Connection, task: Task) -> None:
        """Write the request on a ready connection that has none."""
        request = task.request
        payload = (request.heads.get(connection.pool) or request.head_for(connection.pool)) + task.stream.session.block
        if request.body:
            payload += request.body
        if request.is_head:
            expect_head(connection)
        connection.task = task
        task.connection = connection
        task.sent_ns = now = clock()
        if task.attempt == 1 and not connection.tick:
            self._lag(now - task.intended_ns)
            self.counters.sent += 1
        connection.tick = 0
        try:
            sent = connection.send(payload)
        except BlockingIOError:
            sent = 0
        except (OSError, ssl.SSLError):
            connection.task = None
            self.drop(connection)
            # Not a byte left, so this is no retry: the peer had closed the connection while it was idle.
            self.attempt(task, connection.pool)
            return
        if sent != len(payload):
            connection.pending = payload[sent:]
        if connection.pending:
            self.epoll.modify(connection.fd, _READ | _WRITE)

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
            outcome = Outcome.NOT_SENT if code in OWN_LIMITS else Outcome.REFUSED
            self.failed(connection, Outcome.CONNECT_TIMEOUT if code == errno.ETIMEDOUT else outcome)
            return
        connection.state = HANDSHAKE
        self.epoll.modify(connection.fd, _READ)
        self._on_handshake(connection)

    def _on_handshake(self, connection: Connection) -> None:
        try:
            done = connection.handshake()
        except (ssl.SSLError, ssl.CertificateError):
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
            data = connection.recv(65_536)
        except BlockingIOError:
            return
        except (OSError, ssl.SSLError):
            self.lost(connection)
            return
        task = connection.task
        if task is None:
            # Idle: the peer closed it, or sent what nobody asked for. Neither is any request's failure.
            self.drop(connection)
            return
        if not data:
            self._at_end(connection)
            return
        try:
            connection.feed(data)
        except _PARSER_ERRORS:
            self.failed(connection, Outcome.MALFORMED)
            return
        chunks = connection.chunks
        if not connection.complete:
            if chunks is None:
                connection.chunks = [data]
            else:
                chunks.append(data)
            if connection.ended:
                self._at_end(connection)
        elif connection.complete > 1:
            self.failed(connection, Outcome.MALFORMED)
        elif chunks is None:
            self._finish(connection, task, data)
        else:
            chunks.append(data)
            self._finish(connection, task, b"".join(chunks))

    def _at_end(self, connection: Connection) -> None:
        raw = b"".join(connection.chunks or ())
        task = connection.task
        if task is not None and raw and ends_at_close(raw):
            connection.keep = False
            connection.status = connection.parser.get_status_code()
            self._finish(connection, task, raw)
        else:
            self.lost(connection)

    # --- how requests end

    def _finish(self, connection: Connection, task: Task, raw: bytes) -> None:
        """A whole response came."""
        now = clock()
        request = task.request
        status = connection.status
        labels: Any = connection.labels
        if labels is None:
            labels = self._no_labels
        else:
            connection.labels = [0] * self._observed
        if (200 <= status < 400) if request.expect is None else status in request.expect:
            outcome = Outcome.OK
        else:
            outcome = Outcome.BAD_STATUS
        reply = Reply(request, outcome, status, raw, task.intended_ns, now)
        if outcome is Outcome.OK and request.check is not None and not _checked(request.check, reply):
            reply.outcome = outcome = Outcome.WRONG_BODY
        code = request.codes.get(task.stream.place)
        if code is None:
            code = self._series(task)
        size = len(raw) - raw.find(b"\r\n\r\n") - 4
        self._record(
            self._pack(task.intended_ns, task.sent_ns, now, task.number, code, size, status, task.attempt, CODE[outcome], *labels)
        )
        connection.task = None
        connection.complete = 0
        connection.chunks = None
        if connection.keep and not connection.pending and not connection.ended:
            if request.is_head:
                connection.reset_parser()
            connection.idle_ns = now
            self.release(connection)
        else:
            self.drop(connection)
        self._ended(task, reply)

    def _series(self, task: Task) -> int:
        request, place = task.request, task.stream.place
        code = self.recorder.series_code(place.name, request.name, request.method, request.op)
        request.codes[place] = code
        return code

    def lost(self, connection: Connection) -> None:
        """The peer ended the connection."""
        self.failed(connection, Outcome.RESET)

    def failed(self, connection: Connection, outcome: Outcome) -> None:
        """The request on a connection ended without a whole response; the connection is of no use any more."""
        task = connection.task
        connection.task = None
        self.drop(connection)
        if task is not None:
            self.ended_without_reply(task, outcome)

    def ended_without_reply(self, task: Task, outcome: Outcome) -> None:
        now = clock()
        request = task.request
        code = request.codes.get(task.stream.place)
        if code is None:
            code = self._series(task)
        sent = -1 if outcome is Outcome.NOT_SENT else task.sent_ns
        labels = self._no_labels
        self._record(self._pack(task.intended_ns, sent, now, task.number, code, 0, 0, task.attempt, CODE[outcome], *labels))
        self._ended(task, Reply(request, outcome, 0, b"", task.intended_ns, now))

    def _ended(self, task: Task, reply: Reply) -> None:
        retry = task.request.retry
        counters = self.counters
        unsent = reply.outcome is Outcome.NOT_SENT
        if task.attempt == 1 and unsent:
            counters.not_sent += 1
        if retry is not None and not unsent and reply.outcome in retry.on and task.attempt < retry.attempts and not self.stopping:
            task.attempt += 1
            place = task.stream.place
            self.attempt(task, place.next_after(task.pool) if retry.next_edge else place.current)
            return
        self.in_flight -= 1
        counters.completed += 1
        if task.request.redirects > task.redirects and not self.stopping:
            target = redirected(task.request, reply, task.pool)
            if target is not None:
                task.redirects += 1
                task.request, task.intended_ns = target, reply.done_ns
                self.submit(task)
                return
        task.redirects = 0
        self.after(task, reply)

    # --- connections between requests

    def release(self, connection: Connection) -> None:
        """Hand a ready connection to the next waiting request, or keep it; one to an edge users were steered from is closed."""
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
                if now - task.started_ns > task.request.connect_timeout_ns:
                    self.failed(connection, Outcome.CONNECT_TIMEOUT)
            elif now - since > task.request.timeout_ns:
                self.failed(connection, Outcome.BODY_TIMEOUT if connection.chunks else Outcome.FIRST_BYTE_TIMEOUT)

    def close_all(self) -> None:
        for connection in list(self.connections.values()):
            connection.task = None
            self.connections.pop(connection.fd, None)
            connection.close()
