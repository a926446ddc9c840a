"""From a prepared request to its rows and its reply: attempts, retries, redirects, steering.

Attempts go down to a transport and come back as completions; what a flow is to hear comes back in
`settle`. Nothing here calls up, and nothing here knows a socket.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from numpy.typing import NDArray

from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.pool import Pool
from stormgate.load.engine.redirect import Elsewhere, nowhere_else, redirected
from stormgate.load.engine.sandbox import Sandbox
from stormgate.load.engine.stream import Stream
from stormgate.load.engine.transport.seam import LoadTransport
from stormgate.load.flow import Reply
from stormgate.load.http.cookies import SETS_COOKIE
from stormgate.load.http.location import REDIRECTS
from stormgate.load.record.counters import Counters
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import CODE, Recorder
from stormgate.model import Outcome

_SHORTEST_NS = 1_000_000
_sets_cookie = SETS_COOKIE.search
_OK, _BAD_STATUS, _NOT_SENT = Outcome.OK, Outcome.BAD_STATUS, Outcome.NOT_SENT
_OK_CODE, _BAD_STATUS_CODE = CODE[_OK], CODE[_BAD_STATUS]

# A flow's reply, or what its request was made of raised: then the flow can go no further.
Settled = tuple[FlowTask, Reply | Exception]


def _is_deadline(value: object) -> bool:
    return type(value) is int and value >= _SHORTEST_NS


class Attempts:
    """Requests over a transport. Each attempt is a row; `stopping`: nothing is tried again and no
    redirect followed any more. `elsewhere` finds the pool of an origin that is no edge.
    """

    def __init__(
        self,
        transport: LoadTransport[FlowTask],
        recorder: Recorder,
        counters: Counters,
        sandbox: Sandbox,
        *,
        reasons: Reasons,
        failures: FirstFailures,
        elsewhere: Elsewhere = nowhere_else,
    ) -> None:
        self.counters = counters
        self.elsewhere = elsewhere
        self.stopping = False
        self._transport = transport
        self._recorder = recorder
        self._sandbox = sandbox
        self._reasons = reasons
        self._failures = failures
        self._settled: deque[Settled] = deque()
        self._next_request = 0
        self._record = recorder.rows.append
        self._pack = recorder.pack
        self._no_labels = (0,) * len(recorder.observed)

    @property
    def planned(self) -> int:
        """Requests whose intended start has come."""
        return self._next_request

    @property
    def in_flight(self) -> int:
        """Requests submitted and not ended."""
        return self._next_request - self.counters.completed

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

    def _series(self, task: FlowTask) -> int:
        request, place = task.request, task.stream.place
        code = self._recorder.series_code(place.name, request.name, request.method, request.op)
        request.codes[place] = code
        return code

    def submit(self, task: FlowTask) -> None:
        """Start the first attempt of a prepared request, whose intended start has come."""
        self._next_request = task.number = self._next_request + 1
        task.attempt = 1
        self._transport.submit(task)

    def add_unsent(self, times: NDArray[Any], series: NDArray[Any], now_ns: int) -> None:
        """Arrivals that were dropped in bulk, without running their flows: `not_sent`."""
        count = len(times)
        self._recorder.add_unsent(times, series, self._next_request + 1, now_ns)
        self._next_request += count
        self.counters.completed += count
        self.counters.not_sent += count

    def unsent_series(self, stream: Stream) -> int:
        """The code of the rows of a stream's arrivals that were dropped."""
        return self._recorder.series_code(stream.place.name, stream.name, "GET", "read")

    # --- how requests end

    def settle(self) -> deque[Settled]:
        """Deal with what has ended so far: rows are written, and what a request asks for next is
        submitted. What flows are to hear, oldest first; whoever takes one removes it.
        """
        ended = self._transport.ended
        take = ended.popleft
        # Those of now: what ends at once when it is tried again waits for the next call.
        for _ in range(len(ended)):
            task, outcome, status, raw, done, labels = take()
            try:
                if outcome is _OK:
                    self._answered(task, status, raw, done, labels)
                elif outcome is not None:
                    self._unanswered(task, outcome, done)
                else:
                    self._complete(task)  # the transport's own failure: no row, no reply
            except BaseException as error:
                self._sandbox.slipped(error)
                if task.attempt:
                    self._complete(task)
        return self._settled

    def _complete(self, task: FlowTask) -> None:
        task.attempt = 0
        self.counters.completed += 1

    # One function, as this runs for every response and a call costs as much as several of its
    # lines.
    def _answered(
        self, task: FlowTask, status: int, raw: bytes, done: int, labels: list[int] | None
    ) -> None:
        """Record a whole response, and go on."""
        request, intended = task.request, task.intended_ns
        reply = Reply(request, _OK, status, raw, intended, done)
        head_size = raw.find(b"\r\n\r\n")
        if _sets_cookie(raw, 0, head_size if head_size >= 0 else len(raw)):
            self._keep_cookies(task, reply)
        # What a flow wants of an answer, it wants of the final one.
        hop = status in REDIRECTS and request.redirects and self._leads_on(task, reply)
        if hop or self._is_right(task, status):
            outcome, outcome_code = _OK, _OK_CODE
        else:
            reply.outcome = outcome = _BAD_STATUS
            outcome_code = _BAD_STATUS_CODE
        if request.looks_inside and outcome is _OK and not hop:
            if not self._fits(task, reply):
                outcome, outcome_code = Outcome.WRONG_BODY, CODE[Outcome.WRONG_BODY]
                self._reasons.say(outcome, request.name, reply.error)
            reply = reply.again(request, outcome, status, raw, intended, done)
        reply.labels = labels
        row = (
            intended,
            task.sent_ns,
            done,
            task.number,
            task.code,
            len(raw) - head_size - 4,
            status,
            task.attempt,
            outcome_code,
        )
        self._record(self._pack(*row) if labels is None else self._pack(*row, *labels))
        if outcome is not _OK:
            self._failures.note(task, reply)
        if request.retry is None and not request.redirects:
            task.attempt = 0
            self.counters.completed += 1
            self._settled.append((task, reply))
        else:
            self._go_on(task, reply)

    def _keep_cookies(self, task: FlowTask, reply: Reply) -> None:
        if task.stream.session.keeps_cookies and task.request.cookies:
            values = reply.headers.get_all("set-cookie")
            task.stream.session.keep_cookies(values, task.pool, task.request)

    def _leads_on(self, task: FlowTask, reply: Reply) -> bool:
        """Whether a redirect is followed: then the answer is not the final one."""
        request, place = task.request, task.stream.place
        try:
            if task.redirects >= request.redirects:
                raise ValueError(f"beyond the {request.redirects} to follow")
            task.leads_to = redirected(request, reply, task.pool, place, self.elsewhere)
        except ValueError as error:
            why = f"a {reply.status} is the final answer: {error}"
            self._reasons.say("redirect", request.name, why)
            return False
        return True

    def _is_right(self, task: FlowTask, status: int) -> bool:
        expect = task.request.expect
        if expect is None:
            return 200 <= status < 400
        try:
            return status in expect
        except Exception as error:  # somebody's hand was in it since it was made
            self._sandbox.caught(task.stream.name, error)
            return 200 <= status < 400

    def _fits(self, task: FlowTask, reply: Reply) -> bool:
        """Whether an answer's body is right. A check that is broken itself says nothing of the
        body, and is counted as the flow's.
        """
        try:
            return reply.fits()
        except BaseException as error:
            self._sandbox.caught(task.stream.name, error)
            return True

    def _unanswered(self, task: FlowTask, outcome: Outcome, done: int) -> None:
        """Record that nothing whole came back, and go on."""
        sent = -1 if outcome is _NOT_SENT else task.sent_ns
        self._record(
            self._pack(
                task.intended_ns,
                sent,
                done,
                task.number,
                task.code,
                0,
                0,
                task.attempt,
                CODE[outcome],
                *self._no_labels,
            )
        )
        reply = Reply(task.request, outcome, 0, b"", task.intended_ns, done)
        if outcome is not _NOT_SENT:
            self._failures.note(task, reply)
        if task.attempt == 1:  # once: a request is what its first attempt came to
            if outcome is _NOT_SENT:
                self.counters.not_sent += 1
            elif sent < 0:
                self.counters.unreached += 1
        self._go_on(task, reply)

    def _go_on(self, task: FlowTask, reply: Reply) -> None:
        """What the request itself asks for next, else its reply."""
        try:
            if not self.stopping and self._tries_again(task, reply):
                task.attempt += 1
                self._transport.submit(task)
                return
            hop = not self.stopping and self._moves_on(task, reply)
        except Exception as error:  # users' values, used again
            self._complete(task)
            self._settled.append((task, error))
            return
        self._complete(task)
        if hop:
            self.submit(task)
        else:
            task.redirects = 0
            self._settled.append((task, reply))

    def _tries_again(self, task: FlowTask, reply: Reply) -> bool:
        """Whether there is another attempt; then it is prepared. Raises what users' values
        raise.
        """
        retry, outcome = task.request.retry, reply.outcome
        if (
            retry is None
            or outcome is _NOT_SENT
            or outcome not in retry.on
            or task.attempt >= retry.attempts
        ):
            return False
        place = task.stream.place
        again = retry.next_edge or not task.pool.is_edge
        self._dress(task, place.next_after(task.pool) if again else place.current)
        return True

    def _moves_on(self, task: FlowTask, reply: Reply) -> bool:
        """Whether a redirect leads to another request; then it is prepared. Raises what users'
        values raise.
        """
        if task.leads_to is None:
            return False
        (task.request, pool), task.leads_to = task.leads_to, None
        task.redirects += 1
        task.intended_ns = reply.done_ns
        self.prepare(task, pool)
        return True
