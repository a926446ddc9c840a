"""The transport in Python: non-blocking connections in an epoll of its own. Opening, writing,
reading, closing, deadlines.
"""

from __future__ import annotations

import select
import ssl
from collections import deque
from collections.abc import Callable
from typing import Generic

from gevent import monkey

from stormgate.load.engine.clock import TurnClock
from stormgate.load.engine.pool import Pool
from stormgate.load.engine.transport.dial import Dialer
from stormgate.load.engine.transport.prompt import PromptTransport
from stormgate.load.engine.transport.queues import Queues, answering, overdue, owed
from stormgate.load.engine.transport.seam import EVENTS_PER_TURN, A, Completion
from stormgate.load.http.connection import (
    CLOSED,
    CONNECTING,
    READY,
    STAMP_SPACE,
    BrokenAnswerError,
    Connection,
    Stamp,
    TlsConnection,
    expect_head,
    received,
)
from stormgate.load.record.counters import TransportCounts
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome

# Locust's monkey-patching takes epoll out of `select`, since gevent's own greenlets cannot wait on
# it.
_epoll = monkey.get_original("select", "epoll")
_LAST_LOOKS = 64
_READ, _WRITE = select.POLLIN, select.POLLOUT
_OK = Outcome.OK


class SocketTransport(PromptTransport, Generic[A]):
    """Connections to every pool it is given attempts for: see `LoadTransport`.

    `classes`: of plain connections and of those under TLS, which may read `observed` labels.
    `on_error` is told what escapes over one connection: the transport's own failure.
    """

    def __init__(
        self,
        clock: TurnClock,
        reasons: Reasons,
        on_error: Callable[[BaseException], None],
        *,
        max_connections: int,
        classes: tuple[type[Connection], type[Connection]] = (Connection, TlsConnection),
        observed: int = 0,
    ) -> None:
        self.clock = clock
        self.ended: deque[Completion[A]] = deque()
        self.counts = TransportCounts()
        self.max_connections = max_connections
        self.open_allowance = max_connections
        self.connections: dict[int, Connection] = {}
        self._epoll = _epoll()
        self._reasons = reasons
        self._on_error = on_error
        self._observed = observed
        self._tick = 0
        self._read = clock.read
        self._queues: Queues[A] = Queues(max_connections)
        self._lag = self.counts.lags.append
        self._end_as = self.ended.append
        self._dialer = Dialer(
            self._epoll, self.connections, self.counts, reasons, classes, observed=observed
        )

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    def fileno(self) -> int:
        return int(self._epoll.fileno())

    # --- sending

    def submit(self, attempt: A) -> None:
        try:
            idle = attempt.pool.idle
            if idle:  # nearly always: `_begin`, in short
                connection = idle.pop()
                if connection.state == READY and connection.idle_ns >= self.clock.fresh_ns:
                    self._transmit(connection, attempt)
                    return
                idle.append(connection)
            self._begin(attempt)
        except BaseException as error:
            self._on_error(error)
            self._take_back(attempt)

    def _begin(self, attempt: A) -> None:
        """Start an attempt on an idle connection or a new one; if none may be opened, it waits."""
        pool = attempt.pool
        idle = pool.idle
        while idle:
            connection = idle.pop()
            if connection.state == READY:
                # Closes up to this turn were seen; after a long idle time the gap is shut, too.
                if connection.idle_ns < self.clock.fresh_ns:
                    self._on_readable(connection)
                    if connection.state != READY:
                        continue
                self._transmit(connection, attempt)
                return
        attempt.sent_ns = -1
        attempt.started_ns = self._read()
        if pool.resolving:
            self._queues.add(attempt)
        elif not pool.addresses:
            self._reasons.say(Outcome.DNS, pool.origin.host, pool.trouble)
            self._unanswered(attempt, Outcome.DNS)
        elif self._may_open():
            self._lag(attempt.started_ns - attempt.intended_ns if attempt.attempt == 1 else 0)
            self.open_allowance -= 1
            outcome = self._dialer.open(attempt, self._tick, self.clock.now_ns)
            if outcome is not None:
                self._unanswered(attempt, outcome)
        else:
            self._queues.add(attempt)

    def _may_open(self) -> bool:
        return self.open_allowance > 0 and len(self.connections) < self.max_connections

    def _transmit(self, connection: Connection, attempt: A) -> None:
        """Write an attempt on a ready connection that has none."""
        payload = attempt.payload
        if attempt.request.is_head:
            expect_head(connection)
        connection.task = attempt
        attempt.sent_ns = now = self._read()
        if connection.tick:
            connection.tick = 0
        elif attempt.attempt == 1:
            self._lag(now - attempt.intended_ns)
        try:
            sent = connection.send(payload)
        except BlockingIOError:
            sent = 0
        except (OSError, ssl.SSLError):
            connection.task = None
            self._drop(connection)
            # Not a byte left, so this is no retry: the peer had closed the connection while it was
            # idle.
            self._begin(attempt)
            return
        if attempt.attempt == 1:
            self.counts.sent += 1
        if sent != len(payload):
            connection.pending = payload[sent:]
        if connection.pending:
            self._epoll.modify(connection.fd, _READ | _WRITE)

    # --- what the sockets say

    def turn(self) -> int:
        self._tick += 1
        self.clock.set()
        connections = self.connections
        on_readable = self._on_readable
        events = self._epoll.poll(0, EVENTS_PER_TURN)
        for fd, event in events:
            connection = connections.get(fd)
            if connection is None:
                continue  # closed earlier in this batch
            try:
                if event == _READ and connection.state == READY:
                    on_readable(connection)
                else:
                    self._on_event(connection, event)
            except BaseException as error:
                self._on_error(error)
                self._abandon(connection)
        return len(events)

    def _on_event(self, connection: Connection, event: int) -> None:
        """Anything but plain data on a ready connection."""
        if connection.tick == self._tick:
            return  # an event of this descriptor's previous owner, in the same batch
        if connection.state == READY:
            if event & _WRITE and connection.pending:
                try:
                    if connection.flush():
                        self._epoll.modify(connection.fd, _READ)
                except OSError:
                    self._failed(connection, Outcome.RESET)
            if event & ~_WRITE and connection.state == READY:
                self._on_readable(connection)
            return
        if connection.state == CONNECTING:
            code = connection.connect_error()
            if code:
                self._refused(connection, code)
                return
            self._drop(*self._dialer.let_go(connection))  # the first to connect is taken
        outcome = self._dialer.advance(connection)
        if outcome is not None:
            self._failed(connection, outcome)
        elif connection.state == READY:
            if connection.task is None:
                self._release(connection)
            else:
                self._transmit(connection, connection.task)

    def _refused(self, connection: Connection, code: int) -> None:
        attempt, connection.task = connection.task, None
        outcome = None
        if attempt is not None:
            outcome = self._dialer.refused(connection, attempt, code, self._tick, self.clock.now_ns)
        self._drop(connection)
        if outcome is not None:
            self._unanswered(attempt, outcome)

    def _on_readable(self, connection: Connection) -> None:
        try:
            data, stamp, _, _ = connection.recv(65_536, STAMP_SPACE)
        except BlockingIOError:
            return
        except (OSError, ssl.SSLError):
            self._failed(connection, Outcome.RESET)
            return
        attempt = connection.task
        if attempt is None:
            # Idle: the peer closed it, or sent what nobody asked for. Neither is any request's
            # failure.
            self._drop(connection)
            return
        try:
            raw = received(connection, data, attempt.request)
        except BrokenAnswerError as broken:
            if broken.why:
                self._reasons.say(broken.outcome, attempt.request.name, broken.why)
            self._failed(connection, broken.outcome)
            return
        if raw is not None:
            self._answered(connection, attempt, raw, stamp)

    # --- how attempts end

    def _answered(self, connection: Connection, attempt: A, raw: bytes, stamp: Stamp) -> None:
        """A whole response came; `stamp` says when its last byte did."""
        clock = self.clock
        done = clock.done(stamp, attempt.sent_ns)
        labels = connection.labels
        self._end_as((attempt, _OK, connection.status, raw, done, labels))
        connection.task, connection.complete = None, 0
        if labels is not None:
            connection.labels = [0] * self._observed
        if connection.keep and not connection.pending and not connection.ended:
            connection.idle_ns = clock.now_ns
            pool = connection.pool
            is_head = attempt.request.is_head
            if pool.wanted and not pool.waiting and not is_head:
                pool.idle.append(connection)
            else:
                if is_head:
                    connection.reset_parser()
                self._release(connection)
        else:
            self._drop(connection)

    def _unanswered(self, attempt: A, outcome: Outcome | None) -> None:
        self._end_as((attempt, outcome, 0, b"", self._read(), None))

    def _failed(self, connection: Connection, outcome: Outcome | None) -> None:
        """What a connection carries ended without a whole response, and so does the connection."""
        attempt = connection.task
        others = self._dialer.let_go(connection)
        connection.task = None
        self._drop(*others, connection)
        if attempt is not None:
            self._unanswered(attempt, outcome)

    def _abandon(self, connection: Connection) -> None:
        """Let go of a connection over which the transport itself failed."""
        if any(one[0] is connection.task for one in self.ended):
            connection.task = None
        self._failed(connection, None)

    def _take_back(self, attempt: A) -> None:
        """An attempt over whose beginning the transport itself failed."""
        for connection in list(self.connections.values()):
            if connection.task is attempt:
                self._abandon(connection)
        waits = attempt in attempt.pool.waiting
        if not waits and not any(one[0] is attempt for one in self.ended):
            self._unanswered(attempt, None)

    # --- connections between attempts

    def _release(self, connection: Connection) -> None:
        """To the next that waits, to the idle ones, or closed where users were steered away."""
        pool = connection.pool
        if pool.waiting:
            self._transmit(connection, pool.waiting.popleft())
        elif pool.wanted:
            pool.idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, *connections: Connection) -> None:
        """Close connections; an attempt waiting for the place of one gets a new one."""
        for connection in connections:
            if connection.state != CLOSED:
                self.connections.pop(connection.fd, None)
                connection.close()
            waiting = connection.pool.waiting
            if waiting and len(self.connections) < self.max_connections:
                self._begin(waiting.popleft())

    def has_idle(self, pool: Pool) -> bool:
        return bool(pool.idle)

    def drop_idle(self, pool: Pool) -> None:
        idle, pool.idle = pool.idle, []
        self._drop(*idle)

    def resolved(self, pool: Pool) -> None:
        waiting = list(pool.waiting)
        pool.waiting.clear()
        for attempt in waiting:
            self.submit(attempt)

    def waiting(self) -> int:
        return self._queues.firsts()

    # --- deadlines

    def sweep(self, now_ns: int) -> None:
        for connection in list(self.connections.values()):
            attempt = connection.task
            if attempt is None:
                continue
            late = overdue(connection, attempt, now_ns)
            if late is not None:
                self._failed(connection, late)
            elif connection.race is not None:
                self._dialer.hurry(connection, attempt, self._tick, now_ns)
        for attempt, outcome, why in self._queues.overdue(now_ns):
            self._reasons.say(outcome, attempt.pool.origin.host, why)
            self._unanswered(attempt, outcome)
        for attempt in self._queues.while_there_is_room(self._may_open):
            self._begin(attempt)

    # --- the end

    def withdraw(self) -> None:
        for attempt in self._queues.empty():
            self._unanswered(attempt, Outcome.NOT_SENT)

    def end(self) -> None:
        taken: set[int] = set()
        try:
            taken = self._last_look()
        except BaseException as error:
            self._on_error(error)
        now = self._read()
        for connection in list(self.connections.values()):
            if connection.task is not None:
                self._failed(connection, owed(connection, now, was_taken=connection.fd in taken))
        self.withdraw()
        self._close_all()

    def _last_look(self) -> set[int]:
        """Read the answers that have come; which connections the target has taken and we not."""
        taken: set[int] = set()
        for _ in range(_LAST_LOOKS):  # an answer may come in many pieces
            self._tick += 1
            self.clock.set()
            events = self._epoll.poll(0, max(1, len(self.connections)))
            readable = answering(events, self.connections, taken)
            if not readable:
                break
            for connection in readable:
                if connection.state == READY:
                    self._on_readable(connection)
        return taken

    def _close_all(self) -> None:
        for connection in list(self.connections.values()):
            connection.task = None
            self.connections.pop(connection.fd, None)
            connection.close()

    def close(self) -> None:
        self._close_all()
        self._epoll.close()
