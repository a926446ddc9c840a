"""One request after another over non-blocking connections: from a task with a request to a row and
a reply.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable, Iterable, Mapping

from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.clock import clock
from stormgate.load.engine.flows import OnFlowError, Sandbox
from stormgate.load.engine.pool import Pool, Pools
from stormgate.load.engine.redirect import Elsewhere, nowhere_else, redirected
from stormgate.load.engine.transport import Wire
from stormgate.load.flow import Reply
from stormgate.load.http.connection import READY, Connection, Stamp, expect_head
from stormgate.load.http.cookies import SETS_COOKIE
from stormgate.load.http.location import REDIRECTS
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.recorder import CODE, Recorder
from stormgate.model import Outcome

_SHORTEST_NS = 1_000_000
_AGAIN, _ONWARD = "again", "onward"
_sets_cookie = SETS_COOKIE.search
_OK, _BAD_STATUS, _NOT_SENT = Outcome.OK, Outcome.BAD_STATUS, Outcome.NOT_SENT
_OK_CODE, _BAD_STATUS_CODE = CODE[_OK], CODE[_BAD_STATUS]
_READ = select.POLLIN
_WRITE = select.POLLOUT


def _is_deadline(value: object) -> bool:
    return type(value) is int and value >= _SHORTEST_NS


class Exchange(Wire):
    """Requests over connections. A subclass decides what follows a reply (`after`)."""

    def __init__(
        self,
        recorder: Recorder,
        places: Iterable[Pools],
        *,
        max_connections: int,
        observe: Mapping[str, str],
        on_flow_error: OnFlowError | None,
        on_engine_error: Callable[[str], None] | None,
    ) -> None:
        super().__init__(recorder, max_connections=max_connections, observe=observe)
        self.places = list(places)
        self.recorder = recorder
        self.elsewhere: Elsewhere = nowhere_else
        self.sandbox = Sandbox(self.counters, on_flow_error, on_engine_error)
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

    def after(self, task: FlowTask, reply: Reply) -> None:
        """What follows a request's end."""
        raise NotImplementedError

    def give_up(self, task: FlowTask, error: Exception) -> None:
        """A flow's request cannot go on, over what it was made of."""
        raise NotImplementedError

    # --- sending

    def prepare(self, task: FlowTask, pool: Pool | None = None) -> None:
        """Make a task's request ready to be sent, by `pool` or where its population's requests go
        now. What the user put into it is used here: what that raises, it raises before anything is
        counted.
        """
        place, request = task.stream.place, task.request
        self._dress(task, pool or place.current)
        task.timeout_ns, task.connect_timeout_ns = request.timeout_ns, request.connect_timeout_ns
        if not (_is_deadline(task.timeout_ns) and _is_deadline(task.connect_timeout_ns)):
            raise TypeError("a request's deadlines are set when it is made: get(path, timeout_s=2)")
        code = request.codes.get(place)
        task.code = self._series(task) if code is None else code

    def _dress(self, task: FlowTask, pool: Pool) -> None:
        request, session = task.request, task.stream.session
        task.pool = pool
        payload = (request.heads.get(pool) or request.head_for(pool)) + session.block
        if session.has_cookies or pool.basic or request.is_bare:
            payload = session.dress(payload, pool, request)
        task.payload = payload if request.is_plain else payload + request.body

    def submit(self, task: FlowTask) -> None:
        """Start the first attempt of a prepared request, whose intended start has come."""
        self._next_request = task.number = self._next_request + 1
        task.attempt = 1
        pool = task.pool
        idle = pool.idle
        if idle:  # nearly always: `attempt`, in short
            connection = idle.pop()
            if connection.state == READY and connection.idle_ns >= self.clock.fresh_ns:
                self.transmit(connection, task)
                return
            idle.append(connection)
        self.attempt(task, pool)

    def attempt(self, task: FlowTask, pool: Pool) -> None:
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
                if connection.idle_ns < self.clock.fresh_ns:
                    self.on_readable(connection)
                    if connection.state != READY:
                        continue
                self.transmit(connection, task)
                return
        task.sent_ns = -1
        task.started_ns = clock()
        if pool.resolving:
            pool.waiting.append(task)
        elif not pool.addresses:
            self.reasons.say(Outcome.DNS, pool.origin.host, pool.trouble)
            self.deferred.append((task, Outcome.DNS))
        elif self.open_allowance > 0 and len(self.connections) < self.max_connections:
            self.open(task)
        else:
            pool.waiting.append(task)

    def transmit(self, connection: Connection, task: FlowTask) -> None:
        """Write the request on a ready connection that has none."""
        payload = task.payload
        if task.request.is_head:
            expect_head(connection)
        connection.task = task
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
            self.attempt(task, connection.pool)
            return
        if task.attempt == 1:
            self.counters.sent += 1
        if sent != len(payload):
            connection.pending = payload[sent:]
        if connection.pending:
            self.epoll.modify(connection.fd, _READ | _WRITE)

    # --- how requests end

    # One function, as this runs for every response and a call costs as much as several of its
    # lines.
    def answered(self, connection: Connection, task: FlowTask, raw: bytes, stamp: Stamp) -> None:  # noqa: PLR0912
        """Record a whole response, keep or close its connection, and go on."""
        request, intended, sent = task.request, task.intended_ns, task.sent_ns
        done = self.clock.done(stamp, sent)
        status = connection.status
        reply = Reply(request, _OK, status, raw, intended, done)
        head_size = raw.find(b"\r\n\r\n")
        if _sets_cookie(raw, 0, head_size if head_size >= 0 else len(raw)):
            self._keep_cookies(task, connection.pool, reply)
        # What a flow wants of an answer, it wants of the final one.
        hop = status in REDIRECTS and request.redirects and self._leads_on(connection, task, reply)
        if hop or self._is_right(task, status):
            outcome, outcome_code = _OK, _OK_CODE
        else:
            reply.outcome = outcome = _BAD_STATUS
            outcome_code = _BAD_STATUS_CODE
        if request.looks_inside and outcome is _OK and not hop:
            if not self._fits(task, reply):
                outcome, outcome_code = Outcome.WRONG_BODY, CODE[Outcome.WRONG_BODY]
                self.reasons.say(outcome, request.name, reply.error)
            reply = reply.again(request, outcome, status, raw, intended, done)
        reply.labels = labels = connection.labels
        row = (
            intended,
            sent,
            done,
            task.number,
            task.code,
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
        if outcome is not _OK:
            self.failures.note(task, reply)
        if connection.keep and not connection.pending and not connection.ended:
            connection.idle_ns = self.clock.now_ns
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

    def _keep_cookies(self, task: FlowTask, pool: Pool, reply: Reply) -> None:
        if task.stream.session.keeps_cookies and task.request.cookies:
            values = reply.headers.get_all("set-cookie")
            task.stream.session.keep_cookies(values, pool, task.request)

    def _leads_on(self, connection: Connection, task: FlowTask, reply: Reply) -> bool:
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

    def _is_right(self, task: FlowTask, status: int) -> bool:
        expect = task.request.expect
        if expect is None:
            return 200 <= status < 400
        try:
            return status in expect
        except Exception as error:  # somebody's hand was in it since it was made
            self.sandbox.caught(task.stream.name, error)
            return 200 <= status < 400

    def _fits(self, task: FlowTask, reply: Reply) -> bool:
        """Whether an answer's body is right. A check that is broken itself says nothing of the
        body, and is counted as the flow's.
        """
        try:
            return reply.fits()
        except BaseException as error:
            self.sandbox.caught(task.stream.name, error)
            return True

    def _series(self, task: FlowTask) -> int:
        request, place = task.request, task.stream.place
        code = self.recorder.series_code(place.name, request.name, request.method, request.op)
        request.codes[place] = code
        return code

    def ended_without_reply(self, task: FlowTask, outcome: Outcome) -> None:
        now = clock()
        sent = -1 if outcome is Outcome.NOT_SENT else task.sent_ns
        labels = self._no_labels
        self._record(
            self._pack(
                task.intended_ns,
                sent,
                now,
                task.number,
                task.code,
                0,
                0,
                task.attempt,
                CODE[outcome],
                *labels,
            )
        )
        reply = Reply(task.request, outcome, 0, b"", task.intended_ns, now)
        if outcome is not _NOT_SENT:
            self.failures.note(task, reply)
        if task.attempt == 1:  # once: a request is what its first attempt came to
            if outcome is _NOT_SENT:
                self.counters.not_sent += 1
            elif sent < 0:
                self.counters.unreached += 1
        self._ended(task, reply)

    def unserved(self, task: FlowTask, pool: Pool) -> None:
        """A request waited for a connection in vain, or for its host's address."""
        if pool.resolving:
            outcome, why = Outcome.DNS, "no address came within a request's timeout"
        else:
            outcome, why = Outcome.NOT_SENT, "no connection came free within a request's timeout: "
            why += f"this generator opens {self.max_connections} at most (by ulimit -n)"
        self.reasons.say(outcome, pool.origin.host, why)
        self.ended_without_reply(task, outcome)

    def _ended(self, task: FlowTask, reply: Reply) -> None:
        try:
            step = None if self.stopping else self._next_step(task, reply)
        except Exception as error:
            self.counters.completed += 1
            self.give_up(task, error)
            return
        if step is _AGAIN:
            task.attempt += 1
            self.attempt(task, task.pool)
            return
        self.counters.completed += 1
        if step is _ONWARD:
            self.submit(task)
        else:
            task.redirects = 0
            self.after(task, reply)

    def _next_step(self, task: FlowTask, reply: Reply) -> str | None:
        """What the request itself asks for next: another attempt, or the request a redirect leads
        to, either of them prepared. Raises what users' values raise.
        """
        retry, outcome = task.request.retry, reply.outcome
        if (
            retry is not None
            and outcome is not _NOT_SENT
            and outcome in retry.on
            and task.attempt < retry.attempts
        ):
            place = task.stream.place
            again = retry.next_edge or not task.pool.is_edge
            self._dress(task, place.next_after(task.pool) if again else place.current)
            return _AGAIN
        if task.leads_to is None:
            return None
        (task.request, pool), task.leads_to = task.leads_to, None
        task.redirects += 1
        task.intended_ns = reply.done_ns
        self.prepare(task, pool)
        return _ONWARD

    def abandon(self, connection: Connection) -> None:
        """Let go of a connection over which the engine itself failed. Its request gets no row: it
        must not look like the target's failure.
        """
        task = connection.task
        self.dialer.let_go(connection)
        connection.task = None
        self.drop(connection)
        if task is not None:
            self.counters.completed += 1

    def waiting(self) -> int:
        """Requests that wait for a free connection under the cap: ours, not the target's."""
        return sum(
            task.attempt == 1
            for place in self.places
            for pool in place.pools.values()
            if not pool.resolving
            for task in pool.waiting
        )
