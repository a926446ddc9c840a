"""From an attempt to a connection: one address after another, within its connect deadline."""

from __future__ import annotations

import errno
import os
import select
import ssl
from typing import Any

from stormgate.load.engine.transport.seam import LoadAttempt
from stormgate.load.http.addresses import Address, Race, spelt
from stormgate.load.http.connection import (
    CONNECTING,
    HANDSHAKE,
    OUT_OF_FILES,
    OWN_LIMITS,
    READY,
    Connection,
    tls_trouble,
)
from stormgate.load.record.counters import TransportCounts
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome

_UNDER_WAY = frozenset({0, errno.EINPROGRESS})


class Dialer:
    """Opens connections into a table and an epoll that are given. A name with several addresses is
    dialled as RFC 8305 says: the next one when one fails or is silent for 250 ms, the first to
    connect is taken.

    It closes none that was under way and ends no attempt: it returns which are to be.
    """

    def __init__(
        self,
        epoll: Any,
        connections: dict[int, Connection],
        counts: TransportCounts,
        reasons: Reasons,
        classes: tuple[type[Connection], type[Connection]],
        *,
        observed: int,
    ) -> None:
        """`classes`: of a plain connection and of one under TLS."""
        self._epoll = epoll
        self._connections = connections
        self._counts = counts
        self._reasons = reasons
        self._plain, self._tls = classes
        self._observed = observed
        self._tick = 0  # tells a connection from the previous owner of its descriptor
        self._now_ns = 0

    def open(self, attempt: LoadAttempt, tick: int, now_ns: int) -> Outcome | None:
        """Begin a connection for an attempt, in the transport's turn `tick`; how the attempt ends
        when none can be had.
        """
        self._tick, self._now_ns = tick, now_ns
        addresses = attempt.pool.addresses.order()
        first = addresses.pop(0)
        race = Race(addresses, attempt.connect_timeout_ns) if addresses else None
        outcome = self._begin(attempt, first, race)
        if outcome is not None and race is not None:
            outcome = self._next(attempt, race, outcome)
        return outcome

    def make(self, pool: Any, tick: int, address: Address, *, is_secured: bool) -> Connection:
        """A connection that is not dialled yet. Raises OSError when no socket can be had."""
        return (self._tls if is_secured else self._plain)(pool, tick, address)

    def _begin(self, attempt: LoadAttempt, address: Address, race: Race | None) -> Outcome | None:
        """Dial one address; None when that is under way."""
        pool = attempt.pool
        try:
            connection = self.make(pool, self._tick, address, is_secured=pool.tls is not None)
        except OSError as error:
            return self._failed(attempt, address, error.errno or errno.EIO, race)
        if self._observed:
            connection.labels = [0] * self._observed
        connection.task = attempt
        code = connection.connect()
        if code not in _UNDER_WAY:
            connection.close()
            return self._failed(attempt, address, code, race)
        if race is not None:
            connection.race = race
            race.running.append(connection)
            race.since_ns = self._now_ns
        self._counts.new_connections += 1
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, select.POLLIN | select.POLLOUT)
        return None

    def _next(self, attempt: LoadAttempt, race: Race, outcome: Outcome) -> Outcome | None:
        """Dial what is left after one address led nowhere; the outcome when nothing is under way
        any more.
        """
        outcome = race.lost(outcome)
        while race.rest:
            found = self._begin(attempt, race.rest.pop(0), race)
            if found is None:
                return None
            outcome = race.lost(found)
        return None if race.running else outcome

    def _failed(
        self, attempt: LoadAttempt, address: Address, code: int, race: Race | None
    ) -> Outcome:
        host = attempt.pool.origin.host
        if code in OUT_OF_FILES:
            self._reasons.say(
                Outcome.NOT_SENT,
                host,
                f"{os.strerror(code)}: this generator's own limit; raise it (ulimit -n 65536)",
            )
        elif race is not None:
            self._reasons.say(
                "address", host, f"{spelt(address)}: {os.strerror(code)}; the next one is tried"
            )
        if code in OWN_LIMITS:
            return Outcome.NOT_SENT
        return Outcome.CONNECT_TIMEOUT if code == errno.ETIMEDOUT else Outcome.REFUSED

    # --- what became of it

    def advance(self, connection: Connection) -> Outcome | None:
        """Go on with the making of a connection that is made of TCP: it is READY, or waits for the
        peer. How its attempt ends when it cannot be made.
        """
        pool = connection.pool
        if connection.state == CONNECTING:
            if pool.proxy_source is not None and not connection.announce(pool.proxy_source):
                return Outcome.RESET
            connection.state = HANDSHAKE
            self._epoll.modify(connection.fd, select.POLLIN)
        try:
            done = connection.handshake()
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._reasons.say(Outcome.TLS, pool.origin.netloc, tls_trouble(error))
            return Outcome.TLS
        except OSError:
            return Outcome.RESET
        if done:
            connection.state = READY
        return None

    def refused(
        self, connection: Connection, attempt: LoadAttempt, code: int, tick: int, now_ns: int
    ) -> Outcome | None:
        """A connection could not be made and is to be closed, its attempt taken off it. How the
        attempt ends; None while another address is tried.
        """
        self._tick, self._now_ns = tick, now_ns
        race = connection.race
        outcome = self._failed(attempt, (0, connection.address), code, race)
        if race is None:
            return outcome
        race.running.remove(connection)
        connection.race = None
        return self._next(attempt, race, outcome)

    def let_go(self, connection: Connection) -> list[Connection]:
        """End the race of a connection. The others that ran, without what they carried: they are
        to be closed.
        """
        race, connection.race = connection.race, None
        if race is None:
            return []
        others = [other for other in race.running if other is not connection]
        for other in others:
            self._reasons.say(
                "address",
                other.pool.origin.host,
                f"{spelt((0, other.address))} did not answer within "
                f"{race.delay_ns // 1_000_000} ms; the next one was tried",
            )
            other.race = other.task = None
        race.running.clear()
        return others

    def hurry(self, connection: Connection, attempt: LoadAttempt, tick: int, now_ns: int) -> None:
        """Try the next address beside one that is silent."""
        self._tick, self._now_ns = tick, now_ns
        race = connection.race
        if race is not None and race.waits_too_long(now_ns):
            found = self._begin(attempt, race.rest.pop(0), race)
            if found is not None:
                race.lost(found)
