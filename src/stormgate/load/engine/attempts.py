"""One request after another over non-blocking connections: from a task with a request to a row and
a reply.
"""

from __future__ import annotations

import select
import ssl
import struct
import time
from collections.abc import Mapping

from stormgate.load.engine.attempt import Task
from stormgate.load.engine.pool import Pool
from stormgate.load.engine.redirect import Elsewhere, nowhere_else, redirected
from stormgate.load.engine.transport import Wire
from stormgate.load.flow import Reply
from stormgate.load.http.connection import READY, Connection, Stamp, expect_head
from stormgate.load.http.cookies import SETS_COOKIE
from stormgate.load.http.location import REDIRECTS
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.recorder import CODE, Recorder
from stormgate.model import Outcome

IDLE_CHECK_NS = 1_000_000_000
_BRACKET_NS = 5_000  # two clocks read further apart than this were read with a pause in between
# a stamp may be younger than the turn of the loop that reads it, by as much as a turn takes
_AHEAD_NS = 20_000_000
_sets_cookie = SETS_COOKIE.search
_timespec = struct.Struct("qq").unpack
_OK, _BAD_STATUS, _NOT_SENT = Outcome.OK, Outcome.BAD_STATUS, Outcome.NOT_SENT
_OK_CODE, _BAD_STATUS_CODE = CODE[_OK], CODE[_BAD_STATUS]
_READ = select.POLLIN
_WRITE = select.POLLOUT
clock = time.monotonic_ns


class Exchange(Wire):
    """Requests over connections. A subclass decides what follows a reply (`after`)."""

    def __init__(
        self, recorder: Recorder, *, max_connections: int, observe: Mapping[str, str]
    ) -> None:
        super().__init__(recorder, max_connections=max_connections, observe=observe)
        self.recorder = recorder
        self.elsewhere: Elsewhere = nowhere_else
        self.fresh_ns = 0  # a connection used since needs no second look
        self._epoch_s = int(time.time())
        self._epoch_ns = self._latest_ns = 0
        self.set_clock()
        self.stopping = False
        self.failures = FirstFailures()
        self._next_request = 0
        self._record = recorder.rows.append
        self._pack = recorder.pack
        self._no_labels = (0,) * self._observed

    @property
    def planned(self) -> int:
        """Requests whose intended start has come."""
        return self._next_request

    @property
    def in_flight(self) -> int:
        """Requests submitted and not ended."""
        return self._next_request - self.counters.completed

    def after(self, task: Task, reply: Reply) -> None:
        """What follows a request's end."""
        raise NotImplementedError

    def set_clock(self) -> int:
        """Take the time, and what turns the kernel's stamps, which are in time of day, into
        monotonic time.
        """
        before, realtime, now = clock(), time.time_ns(), clock()
        if now - before < _BRACKET_NS or not self._epoch_ns:
            self._epoch_ns = before - (realtime - self._epoch_s * 1_000_000_000)
        self._latest_ns = now + _AHEAD_NS
        self.now_ns = now
        self.fresh_ns = now - IDLE_CHECK_NS
        return now

    # --- sending

    def submit(self, task: Task, pool: Pool | None = None) -> None:
        """Start the first attempt of `task.request`, whose intended start has come, by `pool` or
        where its population's requests go now.
        """
        self._next_request = task.number = self._next_request + 1
        task.attempt = 1
        task.pool = pool = pool or task.stream.place.current
        idle = pool.idle
        if idle:  # nearly always: `attempt`, in short
            connection = idle.pop()
            if connection.state == READY and connection.idle_ns >= self.fresh_ns:
                self.transmit(connection, task)
                return
            idle.append(connection)
        self.attempt(task, pool)

    def attempt(self, task: Task, pool: Pool) -> None:
        """Start an attempt on an idle connection, a new one, or when none may be opened, the pool's
        queue.
        """
        task.pool = pool
        idle = pool.idle
        while idle:
            connection = idle.pop()
            if connection.state == READY:
                # The read watcher saw every close up to this wake-up; after a long idle time the
                # gap since is shut, too.
                if connection.idle_ns < self.fresh_ns:
                    self.on_readable(connection)
                    if connection.state != READY:
                        continue
                self.transmit(connection, task)
                return
        task.sent_ns = -1
        task.started_ns = clock()
        if pool.resolving:
            task.connection = None
            pool.waiting.append(task)
        elif not pool.addresses:
            self.reasons.say(Outcome.DNS, pool.origin.host, pool.trouble)
            self.deferred.append((task, Outcome.DNS))
        elif self.open_allowance > 0 and len(self.connections) < self.max_connections:
            self.open(task)
        else:
            task.connection = None
            pool.waiting.append(task)

    def transmit(self, connection: Connection, task: Task) -> None:
        """Write the request on a ready connection that has none."""
        request, pool, session = task.request, connection.pool, task.stream.session
        payload = (request.heads.get(pool) or request.head_for(pool)) + session.block
        if session.has_cookies or pool.basic or request.is_bare:
            payload = session.dress(payload, pool, request)
        if not request.is_plain:
            payload += request.body
            if request.is_head:
                expect_head(connection)
        connection.task = task
        task.connection = connection
        task.sent_ns = now = clock()
        if connection.tick:
            connection.tick = 0
        elif task.attempt == 1:
            self._lag(now - task.intended_ns)
        try:
            sent = connection.send(payload)
        except BlockingIOError:
            sent = 0
        except (OSError, ssl.SSLError):
            connection.task = None
            self.drop(connection)
            # Not a byte left, so this is no retry: the peer had closed the connection while it was
            # idle.
            self.attempt(task, pool)
            return
        if sent != len(payload):
            connection.pending = payload[sent:]
        if connection.pending:
            self.epoll.modify(connection.fd, _READ | _WRITE)

    # --- how requests end

    # One function, as this runs for every response and a call costs as much as several of its
    # lines.
    def answered(self, connection: Connection, task: Task, raw: bytes, stamp: Stamp) -> None:  # noqa: PLR0912, PLR0915
        """Record a whole response, keep or close its connection, and go on."""
        request, intended, sent = task.request, task.intended_ns, task.sent_ns
        if stamp:
            seconds, nanoseconds = _timespec(stamp[0][2])
            done = (seconds - self._epoch_s) * 1_000_000_000 + nanoseconds + self._epoch_ns
            if not sent <= done <= self._latest_ns:  # the machine's time of day was set just now
                done = clock()
        else:
            done = clock()
        status = connection.status
        reply = Reply(request, _OK, status, raw, intended, done)
        head_size = raw.find(b"\r\n\r\n")
        if _sets_cookie(raw, 0, head_size if head_size >= 0 else len(raw)):
            self._keep_cookies(task, connection.pool, reply)
        # What a flow wants of an answer, it wants of the final one.
        hop = request.redirects and status in REDIRECTS and self._leads_on(connection, task, reply)
        if hop or ((200 <= status < 400) if request.expect is None else status in request.expect):
            outcome, outcome_code = _OK, _OK_CODE
        else:
            reply.outcome = outcome = _BAD_STATUS
            outcome_code = _BAD_STATUS_CODE
        if request.looks_inside and outcome is _OK and not hop and not reply.fits():
            reply.outcome, outcome_code = Outcome.WRONG_BODY, CODE[Outcome.WRONG_BODY]
            self.reasons.say(Outcome.WRONG_BODY, request.name, reply.error)
        if reply.outcome is not _OK:
            self.failures.note(task, reply)
        code = request.codes.get(task.stream.place)
        if code is None:
            code = self._series(task)
        labels = connection.labels
        row = (
            intended,
            sent,
            done,
            task.number,
            code,
            len(raw) - head_size - 4,
            status,
            task.attempt,
            outcome_code,
        )
        if labels is None:
            self._record(self._pack(*row))
        else:
            self._record(self._pack(*row, *labels))
            connection.labels = [0] * self._observed
        connection.task, connection.complete = None, 0
        if connection.keep and not connection.pending and not connection.ended:
            connection.idle_ns = self.now_ns
            pool = connection.pool
            if pool.wanted and not pool.waiting and request.is_plain:
                pool.idle.append(connection)
            else:
                if request.is_head:
                    connection.reset_parser()
                self.release(connection)
        else:
            self.drop(connection)
        if request.retry is None and not request.redirects:
            self.counters.completed += 1
            self.after(task, reply)
        else:
            self._ended(task, reply)

    def _keep_cookies(self, task: Task, pool: Pool, reply: Reply) -> None:
        if task.stream.session.keeps_cookies and task.request.cookies:
            values = reply.headers.get_all("set-cookie")
            task.stream.session.keep_cookies(values, pool, task.request)

    def _leads_on(self, connection: Connection, task: Task, reply: Reply) -> bool:
        """Whether a redirect is followed: then the answer is not the final one."""
        request, place = task.request, task.stream.place
        try:
            if task.redirects >= request.redirects:
                raise ValueError(f"beyond the {request.redirects} to follow")
            task.leads_to = redirected(request, reply, connection.pool, place, self.elsewhere)
        except ValueError as error:
            why = f"a {reply.status} is the final answer: {error}"
            self.reasons.say("redirect", request.name, why)
            return False
        return True

    def _series(self, task: Task) -> int:
        request, place = task.request, task.stream.place
        code = self.recorder.series_code(place.name, request.name, request.method, request.op)
        request.codes[place] = code
        return code

    def ended_without_reply(self, task: Task, outcome: Outcome) -> None:
        now = clock()
        request = task.request
        code = request.codes.get(task.stream.place)
        if code is None:
            code = self._series(task)
        sent = -1 if outcome is Outcome.NOT_SENT else task.sent_ns
        labels = self._no_labels
        self._record(
            self._pack(
                task.intended_ns,
                sent,
                now,
                task.number,
                code,
                0,
                0,
                task.attempt,
                CODE[outcome],
                *labels,
            )
        )
        reply = Reply(request, outcome, 0, b"", task.intended_ns, now)
        if outcome is not _NOT_SENT:
            self.failures.note(task, reply)
        self._ended(task, reply)

    def _ended(self, task: Task, reply: Reply) -> None:
        retry = task.request.retry
        counters = self.counters
        unsent = reply.outcome is Outcome.NOT_SENT
        if (
            retry is not None
            and not unsent
            and reply.outcome in retry.on
            and task.attempt < retry.attempts
            and not self.stopping
        ):
            task.attempt += 1
            place = task.stream.place
            again = retry.next_edge or not task.pool.is_edge
            self.attempt(task, place.next_after(task.pool) if again else place.current)
            return
        counters.completed += 1
        if unsent and task.attempt == 1:  # once: what is left of `planned` counts as sent
            counters.not_sent += 1
        if task.leads_to is not None:
            (request, pool), task.leads_to = task.leads_to, None
            if not self.stopping:
                task.redirects += 1
                task.request, task.intended_ns = request, reply.done_ns
                self.submit(task, pool)
                return
        task.redirects = 0
        self.after(task, reply)
