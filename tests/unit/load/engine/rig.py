"""The engine over a transport and a clock that are played: no socket, no sleep, no gevent."""

import heapq
import itertools
from collections import deque

from stormgate.load.engine.attempts import Attempts
from stormgate.load.engine.engine import Engine
from stormgate.load.engine.flows import Flows
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.redirect import nowhere_else
from stormgate.load.engine.sandbox import Sandbox
from stormgate.load.engine.stream import Session, Stream
from stormgate.load.engine.transport.prompt import PromptTransport
from stormgate.load.engine.transport.seam import EVENTS_PER_TURN
from stormgate.load.record.counters import Counters, TransportCounts
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import Recorder
from stormgate.model import Outcome, Population

MS = 1_000_000
S = 1_000_000_000
BUSY_NS = 700_000  # the engine is woken no sooner than this after it went to sleep


def answer(status=200, *headers, body=b"ok"):
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", *headers))
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


OK = answer()


class PlayedClock:
    """A monotonic clock that moves when the test says so, and by `step_ns` whenever it is read."""

    def __init__(self, now_ns=1_000 * S, step_ns=0):
        self.now_ns = now_ns
        self.step_ns = step_ns

    def __call__(self):
        self.now_ns += self.step_ns
        return self.now_ns


class PlayedTransport(PromptTransport):
    """Keeps the law of `LoadTransport` without a socket.

    `play(attempt)` says what becomes of an attempt: raw bytes, an Outcome, a pair of one of these
    and the nanoseconds until then, or None: nothing, until its deadline. `room`: how many may be
    under way; the others wait. `cost_ns`: what beginning one takes of the clock. `keeps`:
    whether connections are used again.
    """

    def __init__(self, clock, play=lambda _attempt: OK, *, room=10**9, cost_ns=0, keeps=True):
        self.clock = clock
        self.play = play
        self.room = room
        self.cost_ns = cost_ns
        self.keeps = keeps
        self.ended = deque()
        self.counts = TransportCounts()
        self.open_allowance = 0
        self.submitted = []  # (edge, payload, attempt, intended_ns, at_ns)
        self.allowances = []
        self.waits = deque()
        self.held = {}  # id: attempt
        self.idle = 0
        self.dropped = []
        self.is_closed = False
        self._due = []
        self._order = itertools.count()

    @property
    def open_connections(self):
        return len(self.held)

    def fileno(self):
        return -1

    def submit(self, attempt):
        assert not self.is_closed
        assert id(attempt) not in self.held
        assert attempt not in self.waits, "one at a time"
        self.clock.now_ns += self.cost_ns
        now = attempt.started_ns = self.clock()
        attempt.sent_ns = -1
        self.allowances.append(self.open_allowance)
        if self.idle:
            self.idle -= 1
        else:
            self.open_allowance -= 1
        edge = attempt.pool.edge
        self.submitted.append((edge, attempt.payload, attempt.attempt, attempt.intended_ns, now))
        if len(self.held) < self.room:
            self._begin(attempt)
        else:
            self.waits.append(attempt)

    def _begin(self, attempt):
        self.held[id(attempt)] = attempt
        found = self.play(attempt)
        found, after_ns = found if isinstance(found, tuple) else (found, 0)
        if found not in (Outcome.REFUSED, Outcome.NOT_SENT, Outcome.DNS, Outcome.CONNECT_TIMEOUT):
            attempt.sent_ns = self.clock.now_ns
            if attempt.attempt == 1:
                self.counts.sent += 1
                self.counts.lags.append(attempt.sent_ns - attempt.intended_ns)
        if found is None:
            found, after_ns = Outcome.FIRST_BYTE_TIMEOUT, attempt.timeout_ns
        at_ns = self.clock.now_ns + after_ns
        heapq.heappush(self._due, (at_ns, next(self._order), attempt, found))

    @property
    def next_ns(self):
        return self._due[0][0] if self._due else None

    def turn(self):
        count = 0
        while self._due and self._due[0][0] <= self.clock.now_ns and count < EVENTS_PER_TURN:
            at_ns, _, attempt, found = heapq.heappop(self._due)
            self._end(attempt, found, at_ns)
            count += 1
        return count

    def _end(self, attempt, found, at_ns):
        del self.held[id(attempt)]
        if isinstance(found, bytes):
            final = found.rpartition(b"HTTP/1.1 ")[2]  # after what only announces it (1xx)
            done = (attempt, Outcome.OK, int(final[:3]), found, at_ns, None)
        else:
            done = (attempt, found, 0, b"", at_ns, None)
        self.ended.append(done)
        if self.waits:
            self._begin(self.waits.popleft())
        else:
            self.idle += self.keeps

    def sweep(self, now_ns):
        """Deadlines are events here."""

    def waiting(self):
        return sum(attempt.attempt == 1 for attempt in self.waits)

    def has_idle(self, _pool):
        return self.idle > 0

    def drop_idle(self, pool):
        self.dropped.append(pool)

    def resolved(self, _pool):
        """Nothing waits for an address here."""

    def withdraw(self):
        while self.waits:
            one = self.waits.popleft()
            self.ended.append((one, Outcome.NOT_SENT, 0, b"", self.clock.now_ns, None))

    def end(self):
        self.withdraw()
        self._due.clear()
        for attempt in list(self.held.values()):
            self._end(attempt, Outcome.FIRST_BYTE_TIMEOUT, self.clock.now_ns)

    def close(self):
        self.is_closed = True


class PlayedAlarm:
    """Says when the engine wants to be woken."""

    def __init__(self, clock):
        self.clock = clock
        self.at_ns = 0
        self.is_ticking = False
        self.interrupts = []

    def start(self, wake):
        self.wake = wake

    def set(self, at_ns):
        self.at_ns, self.is_ticking = at_ns, False

    def tick(self, interval_ns):
        self.at_ns, self.is_ticking = self.clock.now_ns + interval_ns, True

    def interrupted(self, error):
        self.interrupts.append(error)

    def close(self):
        self.wake = None


class Rig:
    """An engine for one population with the edges `edges`, nearest first."""

    def __init__(
        self,
        play=lambda _attempt: OK,
        *,
        edges=("a", "b", "c"),
        headers=None,
        url="http://{edge}.test",
        step_ns=0,
        max_late_ns=S,
        elsewhere=nowhere_else,
        **transport,
    ):
        links = {edge: url.format(edge=edge) for edge in edges}
        self.population = Population(
            name="london",
            share=1,
            latitude=0,
            longitude=0,
            edges=tuple(edges),
            links=links,
            headers=headers or {},
        )
        self.place = Pools(self.population, 0, links)
        self.clock = PlayedClock(step_ns=step_ns)
        self.transport = PlayedTransport(self.clock, play, **transport)
        self.alarm = PlayedAlarm(self.clock)
        self.recorder = Recorder("w")
        self.counters = Counters()
        self.counters.transport = self.transport.counts
        self.flow_errors, self.engine_errors, self.said, self.failed = [], [], [], []
        self.sandbox = Sandbox(
            self.counters, lambda *told: self.flow_errors.append(told), self.engine_errors.append
        )
        self.attempts = Attempts(
            self.transport,
            self.recorder,
            self.counters,
            self.sandbox,
            reasons=Reasons(lambda *what: self.said.append(what)),
            failures=FirstFailures(self.failed.append),
            elsewhere=elsewhere,
        )
        self.flows = Flows(self.sandbox, prepare=self.attempts.prepare, submit=self.attempts.submit)
        self.engine = Engine(
            self.flows,
            self.attempts,
            self.transport,
            self.alarm,
            self.sandbox,
            clock=self.clock,
            max_connections=10_000,
            max_late_ns=max_late_ns,
        )
        self.taken = []
        self.streams = 0

    def stream(self, flow, *, name="test", rate=100.0, poisson=False, **more):
        self.streams += 1
        session = Session(self.population, self.streams, self.streams)
        stream = Stream(
            name,
            self.place,
            session,
            key=self.streams,
            rate_per_s=rate,
            poisson=poisson,
            begin=flow,
            **more,
        )
        self.engine.add_stream(stream)
        return stream

    def once(self, *requests, headers=None):
        """One flow that asks for these and keeps its replies, which it returns."""
        replies = []

        def flow(session):
            for name, value in (headers or {}).items():
                session.set_header(name, value)
            for request in requests:
                replies.append((yield request))

        stream = self.stream(flow)
        begin, stream.begin = stream.begin, None
        stream.begin = lambda session: (self.engine.remove_stream(stream), begin(session))[1]
        self.until(lambda: len(replies) == len(requests))
        return replies

    def run(self, for_ns):
        """Wake the engine whenever it asks to be, or something was answered, for so long."""
        end_ns = self.clock.now_ns + for_ns
        while True:
            at_ns = self.alarm.at_ns
            if not self.alarm.is_ticking and self.transport.next_ns is not None:
                at_ns = min(at_ns, self.transport.next_ns)
            if at_ns > end_ns:
                break
            self.clock.now_ns = max(self.clock.now_ns, at_ns)
            self.engine.wake()
        self.clock.now_ns = max(self.clock.now_ns, end_ns)

    def until(self, condition, within_ns=60 * S):
        end_ns = self.clock.now_ns + within_ns
        while not condition():
            assert self.clock.now_ns < end_ns, "the condition did not come true"
            self.run(MS)

    def rows(self):
        """All rows so far, in the order of their requests and attempts."""
        self.taken += self.recorder.batch(self.recorder.take()).to_pylist()
        return sorted(self.taken, key=lambda row: (row["request"], row["attempt"]))

    def finish(self, grace_ns=0):
        """As a worker ends."""
        self.engine.stop_arrivals()
        self.run(grace_ns)
        self.engine.end_in_flight()
        self.engine.close()
        return self.rows()

    def outcomes(self):
        return [row["outcome"] for row in self.rows()]


def books(rows, totals):
    """What is wrong with the books at the end, in words: nothing is planned that does not end as
    exactly one outcome.
    """
    wrong = []
    keys = [(row["request"], row["attempt"]) for row in rows]
    if len(set(keys)) != len(keys):
        wrong.append("a row is there twice")
    by_request = {}
    for row in rows:
        by_request.setdefault(row["request"], []).append(row)
    for request, own in by_request.items():
        if [row["attempt"] for row in own] != list(range(1, len(own) + 1)):
            wrong.append(f"attempts of {request} are {[row['attempt'] for row in own]}")
    if set(by_request) != set(range(1, totals["planned"] + 1)):
        wrong.append("a request without a row, or a row without a request")
    if totals["completed"] != totals["planned"]:
        wrong.append(f"{totals['completed']} completed of {totals['planned']}")
    firsts = [own[0] for own in by_request.values()]
    unsent = sum(row["outcome"] == "not_sent" for row in firsts)
    written = sum(row["sent_ns"] is not None for row in firsts)
    found = totals["sent"], totals["unreached"], totals["not_sent"]
    if found != (written, len(firsts) - written - unsent, unsent):
        wrong.append(
            f"counted {found}, rows say {written}, {unsent} not sent, {len(firsts)} in all"
        )
    return wrong
