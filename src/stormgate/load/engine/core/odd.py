"""What the core gives away: the transport in Python, which takes over a connection as it is."""

from __future__ import annotations

import _socket
import select

from stormgate.load.engine.transport.seam import A
from stormgate.load.engine.transport.sockets import SocketTransport
from stormgate.load.http.connection import READY, Connection, expect_head


class OddTransport(SocketTransport[A]):
    """Sockets in Python, for TLS, the PROXY protocol, names with several addresses, and servers
    whose answers are not the plain HTTP/1.1 that the core decides about.
    """

    def adopt(self, attempt: A, fd: int, raw: bytes, written: int) -> None:
        """Go on with an attempt on the connection `fd`, which is this transport's now: `raw` came
        of its answer, and so much of its request was written.
        """
        connection = self._around(attempt, fd)
        connection.task = attempt
        connection.pending = attempt.payload[written:]
        self.connections[fd] = connection
        events = select.POLLIN | (select.POLLOUT if connection.pending else 0)
        self._epoll.register(fd, events)
        connection.recv = lambda _size, _space: (raw, (), 0, None)
        try:
            self._on_readable(connection)
        finally:
            if connection.state == READY:
                connection.recv = connection.sock.recvmsg

    def _around(self, attempt: A, fd: int) -> Connection:
        """A ready connection around a socket that is connected already."""
        sock = _socket.socket(fileno=fd)
        connection = self._dialer.plain(attempt.pool, 0, (sock.family, sock.getpeername()))
        connection.sock.close()
        connection.sock, connection.fd = sock, fd
        connection.send, connection.recv = sock.send, sock.recvmsg
        connection.state = READY
        if self._observed:
            connection.labels = [0] * self._observed
        if attempt.request.is_head:
            expect_head(connection)
        return connection
