"""From a request to a connection: one address after another, within its connect deadline."""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from typing import Any, Protocol

from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.clock import TurnClock
from stormgate.load.http.addresses import Address, Race, spelt
from stormgate.load.http.connection import OUT_OF_FILES, OWN_LIMITS, Connection
from stormgate.load.record.counters import Counters
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome

_UNDER_WAY = frozenset({0, errno.EINPROGRESS})


class DialerOwner(Protocol):
    """What a dialer knows of the transport that it opens connections for."""

    clock: TurnClock
    connections: dict[int, Connection]
    counters: Counters
    deferred: deque[tuple[FlowTask, Outcome]]
    epoll: Any
    reasons: Reasons
    tick: int

    def drop(self, connection: Connection) -> None:
        """Close a connection."""

    def failed(self, connection: Connection, outcome: Outcome) -> None:
        """End what a connection carries, and the connection."""

    def ended_without_reply(self, task: FlowTask, outcome: Outcome) -> None:
        """End a request."""


class Dialer:
    """Opens a wire's connections. A name with several addresses is dialled as RFC 8305 says: the
    next one when one fails or is silent for 250 ms, the first to connect is taken.
    """

    def __init__(
        self, wire: DialerOwner, plain: type[Connection], tls: type[Connection], *, observed: int
    ) -> None:
        self._wire = wire
        self._plain, self._tls = plain, tls
        self._observed = observed

    def open(self, task: FlowTask) -> None:
        """Begin a connection for a task; one that cannot be had ends the attempt."""
        addresses = task.pool.addresses.order()
        first = addresses.pop(0)
        race = Race(addresses, task.connect_timeout_ns) if addresses else None
        outcome = self._begin(task, first, race)
        if outcome is not None and race is not None:
            outcome = self._next(task, race, outcome)
        if outcome is not None:
            self._wire.deferred.append((task, outcome))

    def _begin(self, task: FlowTask, address: Address, race: Race | None) -> Outcome | None:
        """Dial one address; None when that is under way."""
        pool, wire = task.pool, self._wire
        try:
            connection = (self._plain if pool.tls is None else self._tls)(pool, wire.tick, address)
        except OSError as error:
            return self._failed(task, address, error.errno or errno.EIO, race)
        if self._observed:
            connection.labels = [0] * self._observed
        connection.task = task
        code = connection.connect()
        if code not in _UNDER_WAY:
            connection.close()
            return self._failed(task, address, code, race)
        if race is not None:
            connection.race = race
            race.running.append(connection)
            race.since_ns = wire.clock.now_ns
        wire.counters.new_connections += 1
        wire.connections[connection.fd] = connection
        wire.epoll.register(connection.fd, select.POLLIN | select.POLLOUT)
        return None

    def _next(self, task: FlowTask, race: Race, outcome: Outcome) -> Outcome | None:
        """Dial what is left after one address led nowhere; the outcome when nothing is under way
        any more.
        """
        outcome = race.lost(outcome)
        while race.rest:
            found = self._begin(task, race.rest.pop(0), race)
            if found is None:
                return None
            outcome = race.lost(found)
        return None if race.running else outcome

    def _failed(self, task: FlowTask, address: Address, code: int, race: Race | None) -> Outcome:
        host = task.pool.origin.host
        if code in OUT_OF_FILES:
            self._wire.reasons.say(
                Outcome.NOT_SENT,
                host,
                f"{os.strerror(code)}: this generator's own limit; raise it (ulimit -n 65536)",
            )
        elif race is not None:
            self._wire.reasons.say(
                "address", host, f"{spelt(address)}: {os.strerror(code)}; the next one is tried"
            )
        if code in OWN_LIMITS:
            return Outcome.NOT_SENT
        return Outcome.CONNECT_TIMEOUT if code == errno.ETIMEDOUT else Outcome.REFUSED

    # --- what became of it

    def refused(self, connection: Connection, code: int) -> None:
        """A connection could not be made."""
        task, race, wire = connection.task, connection.race, self._wire
        if task is None:
            wire.drop(connection)
            return
        outcome: Outcome | None = self._failed(task, (0, connection.address), code, race)
        if race is not None and outcome is not None:
            race.running.remove(connection)
            connection.race = connection.task = None
            wire.drop(connection)
            outcome = self._next(task, race, outcome)
            if outcome is not None:
                wire.ended_without_reply(task, outcome)
        elif outcome is not None:
            wire.failed(connection, outcome)

    def connected(self, connection: Connection) -> None:
        """The first to connect is taken; the others are let go."""
        if connection.race is not None:
            self.let_go(connection)

    def let_go(self, connection: Connection) -> None:
        """End what runs beside a connection."""
        race, connection.race = connection.race, None
        if race is None:
            return
        for other in race.running:
            if other is not connection:
                self._wire.reasons.say(
                    "address",
                    other.pool.origin.host,
                    f"{spelt((0, other.address))} did not answer within "
                    f"{race.delay_ns // 1_000_000} ms; the next one was tried",
                )
                other.race = other.task = None
                self._wire.drop(other)
        race.running.clear()

    def hurry(self, connection: Connection, now_ns: int) -> None:
        """Try the next address beside one that is silent."""
        race, task = connection.race, connection.task
        if race is not None and task is not None and race.waits_too_long(now_ns):
            found = self._begin(task, race.rest.pop(0), race)
            if found is not None:
                race.lost(found)
