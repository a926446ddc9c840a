"""What the core gives away: the transport in Python, which takes over a connection as it is."""

from __future__ import annotations

import _socket
import select
import ssl
from typing import Any

from stormgate.load.engine.transport.seam import A
from stormgate.load.engine.transport.sockets import SocketTransport
from stormgate.load.http.connection import READY, Connection, TlsConnection, expect_head
from stormgate.model import Outcome


class _Records:
    """A session of the core in place of `ssl.SSLObject` and its two buffers."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.write = channel.write

    def read(self, _size: int) -> bytes:
        plain: bytes | None = self._channel.read()
        if plain is None:
            raise ssl.SSLWantReadError
        return plain


class _Incoming:
    def __init__(self, channel: Any) -> None:
        self.write = channel.feed

    def write_eof(self) -> None:
        self.write(b"")


class _Outgoing:
    def __init__(self, channel: Any) -> None:
        self._out = channel.out

    def read(self) -> bytes:
        return b"".join(iter(self._out, b""))


class OddTransport(SocketTransport[A]):
    """Sockets in Python, for the PROXY protocol, names with several addresses, and servers
    whose answers are not the plain HTTP/1.1 that the core decides about.
    """

    def adopt(
        self, attempt: A, fd: int, raw: bytes, written: int, channel: Any, is_ended: bool
    ) -> None:
        """Go on with an attempt on the connection `fd`, which is this transport's now: `raw` came
        of its answer, so much of its request was written, and nothing more comes if it `is_ended`.
        `channel`: its TLS session, None where it is plain.
        """
        connection = self._around(attempt, fd, channel)
        connection.task = attempt
        connection.ended = bool(is_ended)
        self.connections[fd] = connection
        rest = attempt.payload[written:]
        if channel is None:
            connection.pending = rest
        else:
            try:
                connection.send(rest)  # behind the records that are not out yet
            except OSError:
                self._failed(connection, Outcome.RESET)
                return
        events = select.POLLIN | (select.POLLOUT if connection.pending else 0)
        self._epoll.register(fd, events)
        receive = connection.recv
        connection.recv = lambda _size, _space: (raw, (), 0, None)
        try:
            self._on_readable(connection)
        finally:
            if connection.state == READY:
                connection.recv = receive

    def _around(self, attempt: A, fd: int, channel: Any) -> Connection:
        """A ready connection around a socket that is connected already."""
        sock = _socket.socket(fileno=fd)
        address = sock.family, sock.getpeername()
        connection = self._dialer.make(attempt.pool, 0, address, is_secured=channel is not None)
        connection.sock.close()
        connection.sock, connection.fd = sock, fd
        if channel is None:
            connection.send, connection.recv = sock.send, sock.recvmsg
        elif isinstance(connection, TlsConnection):
            connection.carry_on(_Records(channel), _Incoming(channel), _Outgoing(channel))
        connection.state = READY
        if self._observed:
            connection.labels = [0] * self._observed
        if attempt.request.is_head:
            expect_head(connection)
        return connection
