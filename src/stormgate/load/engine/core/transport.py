"""The compiled core as a transport, and the one in Python beside it for what is odd."""

from __future__ import annotations

import atexit
import heapq
import itertools
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic

from gevent import monkey

from stormgate.load.engine.core.odd import OddTransport
from stormgate.load.engine.core.terms import NoTermsError, peer, terms, tls_trouble
from stormgate.load.engine.pool import Pool
from stormgate.load.engine.transport.queues import IN_VAIN
from stormgate.load.engine.transport.seam import EVENTS_PER_TURN, NEVER, A, Completion
from stormgate.load.http.addresses import Addresses, spelt
from stormgate.load.http.connection import OUT_OF_FILES
from stormgate.load.record.counters import TransportCounts
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome

_epoll = monkey.get_original("select", "epoll")
_sleep = monkey.get_original("time", "sleep")
# So long before its time an attempt is handed over: longer than this process is ever held up by
# what else it does, shorter than what anybody would notice of an edge that was left meanwhile.
LEAD_NS = 50_000_000
# By `End` of core.h; the last is none.
_OUTCOMES = (
    Outcome.OK,
    Outcome.RESET,
    Outcome.MALFORMED,
    Outcome.REFUSED,
    Outcome.CONNECT_TIMEOUT,
    Outcome.FIRST_BYTE_TIMEOUT,
    Outcome.BODY_TIMEOUT,
    Outcome.NOT_SENT,
    Outcome.TLS,
    None,
)

MOST_ADDRESSES = 256  # of core.h
_IN_PYTHON = "the transport in Python carries what goes there, not the compiled core"


class _Way:
    """How a pool is dialled: the number of its twin in the core, None where it is odd."""

    __slots__ = ("addresses", "at", "number", "spoilt")

    def __init__(self) -> None:
        self.addresses: Addresses | None = None
        self.at: tuple[tuple[str, int], ...] = ()
        self.number: int | None = None
        self.spoilt = False  # its answers are odd


def what_is_odd(pool: Pool) -> str:
    """Why the core cannot dial a pool, in words; "" where it can."""
    if pool.proxy_source is not None:
        return "a PROXY line"
    if any("%" in address[0] for _, address in pool.addresses.all):
        return "an address of one link alone"
    count = len(pool.addresses.all)
    return f"a name with {count} addresses" if count > MOST_ADDRESSES else ""


class CoreTransport(Generic[A]):
    """Attempts over connections of a native thread: see `LoadTransport`.

    `native` is the core's module (`_core`); `odd` carries what the core does not. `wanted` are the
    names of the headers whose values `code_of(position, value)` gives a code for. `on_error` is
    told of the transport's own failures.
    """

    batches = True
    lead_ns = LEAD_NS

    def __init__(
        self,
        native: Any,
        odd: OddTransport[A],
        reasons: Reasons,
        on_error: Callable[[BaseException], None],
        *,
        wanted: Sequence[bytes] = (),
        code_of: Callable[[int, bytes], int] = lambda _position, _value: 0,
    ) -> None:
        """Raises OSError or ValueError when the core cannot be had."""
        self.ended: deque[Completion[A]] = odd.ended
        self.counts: TransportCounts = odd.counts
        self._odd = odd
        self._reasons = reasons
        self._on_error = on_error
        self._most = odd.max_connections
        self._ways: dict[Pool, _Way] = {}
        self._early: list[tuple[int, int, A]] = []  # for the odd transport, which knows no time
        self._order = itertools.count()
        self._firsts = self._released = self._sent = self._opened = 0
        self._waiting = self._open = 0
        self._tls = native.tls
        self._terms: dict[int, tuple[Any, object]] = {}  # by the id of the context, which it keeps
        self._native = native.Core(
            _OUTCOMES,
            self.ended.append,
            code_of,
            self._hand_over,
            self._say,
            self._passed_over,
            wanted,
            self._most,
        )
        self._epoll = _epoll()
        self._epoll.register(self._native.fileno(), 1)
        self._epoll.register(odd.fileno(), 1)
        # Before the interpreter is taken down: until then the thread may read what is to be sent.
        close = weakref.WeakMethod(self.close)
        atexit.register(lambda: (method := close()) and method())

    # --- what is known

    @property
    def open_allowance(self) -> int:
        return int(self._native.allowance)

    @open_allowance.setter
    def open_allowance(self, count: int) -> None:
        self._native.allowance = self._odd.open_allowance = count

    @property
    def open_connections(self) -> int:
        return self._open + self._odd.open_connections

    @property
    def due_ns(self) -> int:
        return self._early[0][0] if self._early else NEVER

    def fileno(self) -> int:
        return int(self._epoll.fileno())

    def ahead(self) -> int:
        early = sum(attempt.attempt == 1 for _, _, attempt in self._early)
        return self._firsts - self._released + early

    def waiting(self) -> int:
        return self._waiting + self._odd.waiting()

    def has_idle(self, pool: Pool) -> bool:
        way = self._ways.get(pool)
        if way is None or way.number is None:
            return self._odd.has_idle(pool)
        return bool(self._native.has_idle(way.number))

    # --- sending

    def submit(self, attempt: A) -> None:
        pool = attempt.pool
        try:
            way = self._ways.get(pool)
            if way is None or way.addresses is not pool.addresses:
                way = self._find(pool)
            if way.number is not None and not pool.resolving:
                self._native.submit(way.number, attempt, pool.wanted)
                self._firsts += attempt.attempt == 1
            elif attempt.intended_ns > time.monotonic_ns():
                early = (attempt.intended_ns, next(self._order), attempt)
                heapq.heappush(self._early, early)
            else:
                self._odd.submit(attempt)
        except BaseException as error:
            self._on_error(error)
            self.ended.append((attempt, None, 0, b"", time.monotonic_ns(), None))

    def _find(self, pool: Pool) -> _Way:
        """How a pool is dialled now that its addresses are others."""
        way = self._ways.setdefault(pool, _Way())
        way.addresses = pool.addresses
        odd, secured = what_is_odd(pool), ()
        try:
            secured = self._secured(pool) if way.number is None and not odd else ()
        except NoTermsError as error:
            odd = str(error)
        if odd:
            self._reasons.say("engine", pool.origin.host, f"{odd}: {_IN_PYTHON}")
        if odd or way.spoilt or not pool.addresses:
            if way.number is not None:
                self._native.drop_idle(way.number)
            way.number = None
            return way
        at = tuple(address[:2] for _, address in pool.addresses.all)
        if way.number is None:
            way.number = self._native.pool(at, *secured)
        elif at != way.at:  # looked up again, and others
            self._native.point(way.number, at)
        way.at = at
        return way

    def _secured(self, pool: Pool) -> tuple[Any, ...]:
        """How a pool's connections are secured, for the core. Raises NoTermsError."""
        if pool.tls is None:
            return ()
        known = self._terms.get(id(pool.tls))
        if known is None:
            known = self._terms[id(pool.tls)] = pool.tls, terms(self._tls, pool.tls)
        return known[1], *peer(pool.origin.host)

    def flush(self) -> None:
        self._native.flush()

    def _release_early(self, now_ns: int) -> None:
        while self._early and self._early[0][0] <= now_ns:
            self._odd.submit(heapq.heappop(self._early)[2])

    # --- what became of it

    def turn(self) -> int:
        events = self._odd.turn()
        if self._early:
            self._release_early(time.monotonic_ns())
        count = self._take()
        if self._odd.connections:
            self._native.most = self._most - self._odd.open_connections
        self._odd.max_connections = self._most - self._open
        return events if events >= EVENTS_PER_TURN else min(events + count, EVENTS_PER_TURN - 1)

    def _take(self) -> int:
        taken = self._native.take()
        count, sent, opened, self._released, self._waiting, self._open, lags = taken
        counts = self.counts
        counts.sent += sent - self._sent
        counts.new_connections += opened - self._opened
        counts.lags.extend(lags)
        self._sent, self._opened = sent, opened
        return int(count)

    def _hand_over(self, attempt: A, *taken: Any) -> None:
        """The core does not decide about an answer: it, its connection, and what goes to that pool
        from now on are the odd transport's.
        """
        pool = attempt.pool
        try:
            way = self._ways[pool]
            if not way.spoilt:
                way.spoilt = True
                way.addresses = None
                why = f"its answers are not plain HTTP/1.1: {_IN_PYTHON}"
                self._reasons.say("engine", pool.origin.host, why)
            self._odd.adopt(attempt, *taken)
        except BaseException as error:
            self._on_error(error)
            if not any(one[0] is attempt for one in self.ended):
                self.ended.append((attempt, None, 0, b"", time.monotonic_ns(), None))

    def _say(self, attempt: A, outcome: Outcome, why: str | None, code: int) -> None:
        host = attempt.pool.origin.host
        if code in OUT_OF_FILES:
            limit = f"{os.strerror(code)}: this generator's own limit; raise it (ulimit -n 65536)"
            self._reasons.say(Outcome.NOT_SENT, host, limit)
        elif outcome is Outcome.TLS:
            place = attempt.pool.origin.netloc
            self._reasons.say(outcome, place, tls_trouble(why or "", host))
        elif outcome is Outcome.NOT_SENT and why:
            self._reasons.say(outcome, host, IN_VAIN.format(most=self._most))
        elif why:
            self._reasons.say(outcome, attempt.request.name, why)

    def _passed_over(self, attempt: A, host: str, port: int, code: int, silent_ms: int) -> None:
        at = spelt((0, (host, port)))
        why = f"{at}: {os.strerror(code)}; the next one is tried"
        if not code:
            why = f"{at} did not answer within {silent_ms} ms; the next one was tried"
        self._reasons.say("address", attempt.pool.origin.host, why)

    def sweep(self, now_ns: int) -> None:
        """The core's own deadlines are its thread's."""
        self._odd.sweep(now_ns)

    # --- steering, and the end

    def drop_idle(self, pool: Pool) -> None:
        way = self._ways.get(pool)
        if way is not None and way.number is not None:
            self._native.drop_idle(way.number)
        self._odd.drop_idle(pool)

    def resolved(self, pool: Pool) -> None:
        waiting = list(pool.waiting)
        pool.waiting.clear()
        for attempt in waiting:
            self.submit(attempt)
        self.flush()

    def withdraw(self) -> None:
        self._odd.withdraw()
        self._native.withdraw()
        self._take()

    def end(self) -> None:
        # What was handed over ahead of its time still has it.
        while self._early:
            _sleep(max(0, self._early[0][0] - time.monotonic_ns()) / 1e9)
            self._release_early(time.monotonic_ns())
        self._native.finish()
        self._take()
        self._odd.end()

    def close(self) -> None:
        self._native.close()
        self._odd.close()
        self._epoll.close()
