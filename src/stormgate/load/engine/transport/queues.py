"""Attempts that wait for a connection, and what is over its deadline. No socket is touched here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from select import POLLOUT
from typing import Generic

from stormgate.load.engine.pool import Pool
from stormgate.load.engine.transport.seam import A, LoadAttempt
from stormgate.load.http.connection import READY, Connection
from stormgate.model import Outcome

_UNANSWERED_NS = 1_000_000_000  # a connection not taken for so long would not have been
IN_VAIN = (
    "no connection came free within a request's timeout: this generator opens {most} at most "
    "(by ulimit -n)"
)
_NO_ADDRESS = "no address came within a request's timeout"


class Queues(Generic[A]):
    """The attempts that wait, in order, in the pool they are to go by."""

    def __init__(self, max_connections: int) -> None:
        self._why = IN_VAIN.format(most=max_connections)
        self._pools: dict[Pool, None] = {}  # in which any has ever waited

    def add(self, attempt: A) -> None:
        attempt.pool.waiting.append(attempt)
        self._pools[attempt.pool] = None

    def firsts(self) -> int:
        """First attempts that wait for a free connection, and not for an address."""
        return sum(
            attempt.attempt == 1
            for pool in self._pools
            if not pool.resolving
            for attempt in pool.waiting
        )

    def while_there_is_room(self, is_room: Callable[[], bool]) -> Iterator[A]:
        """Take out what may begin now: in a pool that holds no connection none will come free."""
        for pool in self._pools:
            while pool.waiting and not pool.resolving and is_room():
                yield pool.waiting.popleft()

    def overdue(self, now_ns: int) -> Iterator[tuple[A, Outcome, str]]:
        """Take out what has waited in vain; how it ends, and why."""
        for pool in self._pools:
            waiting = pool.waiting
            while waiting and now_ns - waiting[0].started_ns > waiting[0].timeout_ns:
                if pool.resolving:
                    yield waiting.popleft(), Outcome.DNS, _NO_ADDRESS
                else:
                    yield waiting.popleft(), Outcome.NOT_SENT, self._why

    def empty(self) -> Iterator[A]:
        """Take out all of it."""
        for pool in self._pools:
            while pool.waiting:
                yield pool.waiting.popleft()


def overdue(connection: Connection, attempt: LoadAttempt, now_ns: int) -> Outcome | None:
    """How an attempt on a connection ends when it is over its deadline; None when it is not."""
    if connection.state != READY:
        late = now_ns - attempt.started_ns > attempt.connect_timeout_ns
        return Outcome.CONNECT_TIMEOUT if late else None
    since_ns = attempt.started_ns if attempt.sent_ns < 0 else attempt.sent_ns
    return _late(connection) if now_ns - since_ns > attempt.timeout_ns else None


def owed(connection: Connection, now_ns: int, *, was_taken: bool) -> Outcome:
    """How an attempt in flight ends when the load does: as the time-out it would become.

    Only what the target owes us: a request that was not written, although the target had taken its
    connection or had no time to, was not sent.
    """
    if connection.state == READY:
        return _late(connection)
    if was_taken or now_ns - connection.task.started_ns < _UNANSWERED_NS:
        return Outcome.NOT_SENT
    return Outcome.CONNECT_TIMEOUT


def _late(connection: Connection) -> Outcome:
    return Outcome.BODY_TIMEOUT if connection.chunks else Outcome.FIRST_BYTE_TIMEOUT


def answering(
    events: Iterable[tuple[int, int]], connections: Mapping[int, Connection], taken: set[int]
) -> list[Connection]:
    """Of the connections with an event those to be read; into `taken` the descriptors of those that
    are not made yet and wait for us.
    """
    readable = []
    for fd, event in events:
        connection = connections.get(fd)
        if connection is None or connection.task is None:
            continue
        if connection.state != READY:
            taken.add(fd)
        elif event & ~POLLOUT:
            readable.append(connection)
    return readable
