"""A non-blocking HTTP/1.1 connection, plain or TLS, and the parser that finds where its responses
end.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import ssl
import struct
from collections.abc import Sequence
from typing import Any

import httptools

from stormgate.geography.sources import proxy_line
from stormgate.load.http.addresses import Address, Race
from stormgate.load.http.folded import has_fold, is_whole, unfolded
from stormgate.load.http.response import ends_at_close
from stormgate.model import Outcome

CONNECTING, HANDSHAKE, READY, CLOSED = range(4)
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
# Errors of socket() and connect() that are this machine's own limits, not the target's answer.
OWN_LIMITS = frozenset(
    {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENOBUFS, errno.ENOMEM, *OUT_OF_FILES}
)

# The kernel stamps what it receives (socket(7), SO_TIMESTAMPNS): then a busy generator cannot make
# a reply look late. The option has no name in Python's socket module; its number and the two longs
# of a stamp are those of 64-bit Linux.
_SO_TIMESTAMPNS = 35 if struct.calcsize("l") == 8 else None
STAMP_SPACE = _socket.CMSG_SPACE(16)
# Ancillary data of one read: (level, type, struct timespec of the time of day when the last byte
# read came); often empty.
Stamp = Sequence[tuple[int, int, bytes]]


class Connection:
    """One connection of a pool.

    The parser is asked for completion only: headers and body are parsed again from the raw bytes
    when a flow looks at them, which most never do. `complete` counts responses finished by the last
    feed; more than one for one request is malformed.
    """

    __slots__ = (
        "address",
        "chunks",
        "complete",
        "ended",
        "fd",
        "feed",
        "idle_ns",
        "keep",
        "labels",
        "parser",
        "pending",
        "pool",
        "race",
        "recv",
        "send",
        "sock",
        "state",
        "status",
        "task",
        "tick",
    )

    # Whose connection it is; known of it here: `origin` and `tls`. What it carries now, or None:
    # not looked at here.
    pool: Any
    task: Any

    def __init__(self, pool: Any, tick: int, address: Address) -> None:
        """To one of the pool's addresses. Raises OSError when no socket can be had."""
        family, self.address = address
        self.pool = pool
        self.tick = tick
        self.task = None
        self.race: Race | None = None  # while others are tried beside this one
        self.state = CONNECTING
        self.pending = b""
        self.chunks: list[bytes] | None = None
        self.labels: list[int] | None = None
        self.complete = 0
        self.status = 0
        self.keep = True
        self.ended = False  # the peer has said that nothing more will come
        self.idle_ns = 0
        self.sock: Any = _socket.socket(
            family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        )
        self.sock.setblocking(False)
        if _SO_TIMESTAMPNS is not None:
            with contextlib.suppress(OSError):  # without stamps a reply's time is when it was read
                self.sock.setsockopt(_socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.fd: int = self.sock.fileno()
        if family in (_socket.AF_INET, _socket.AF_INET6):
            self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.send: Any = self.sock.send
        # recv(size, STAMP_SPACE) returns data, stamp, flags and address.
        self.recv: Any = self.sock.recvmsg
        self.reset_parser()

    def reset_parser(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.feed = self.parser.feed_data

    def connect(self) -> int:
        """Begin connecting; 0, EINPROGRESS or the error number."""
        code: int = self.sock.connect_ex(self.address)
        return code

    def connect_error(self) -> int:
        code: int = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        return code

    def announce(self, source: str) -> bool:
        """Say by a PROXY protocol line, ahead of all else, that `source` is the client; whether the
        whole line went out.
        """
        try:
            line = proxy_line(source, self.sock.getsockname(), self.sock.getpeername())
            return bool(self.sock.send(line) == len(line))
        except OSError:
            return False

    def handshake(self) -> bool:
        """Whether the connection is ready to carry requests; True at once without TLS."""
        return True

    def flush(self) -> bool:
        """Send what is pending; whether all of it is out. Raises OSError when the connection is
        lost.
        """
        try:
            self.pending = self.pending[self.sock.send(self.pending) :]
        except BlockingIOError:
            return False
        return not self.pending

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200:  # an informational response (100, 103) only announces the real one
            self.status = status
            self.complete += 1
            self.keep = self.parser.should_keep_alive()

    def close(self) -> None:
        if self.state != CLOSED:
            self.state = CLOSED
            self.sock.close()
            # The parser refers to this object and this object to it: cut the cycle, so that no
            # collector run is needed.
            self.parser = self.feed = self.send = self.recv = None


class _HeadProtocol:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def on_headers_complete(self) -> None:
        connection = self._connection
        status = connection.parser.get_status_code()
        if status >= 200:
            connection.status = status
            connection.complete = 1
            connection.keep = connection.parser.should_keep_alive()


def expect_head(connection: Connection) -> None:
    """The next response answers a HEAD request: it ends with its headers, whatever length it
    announces (RFC 9112, 6.3).
    """
    connection.parser = httptools.HttpResponseParser(_HeadProtocol(connection))
    connection.feed = connection.parser.feed_data


def refold(connection: Connection, data: bytes, *, is_head: bool) -> bool:
    """Whether the response that the parser gave up at `data` may be one with folded header lines
    (RFC 9112, 5.2), which it does not know: then it has been fed again, unfolded.
    """
    raw = b"".join(connection.chunks or ()) + data
    if connection.complete or not has_fold(raw):
        return False
    if is_head:
        expect_head(connection)
    else:
        connection.reset_parser()
    feed, held = connection.feed, bytearray()

    def feed_whole(data: bytes) -> None:
        held.extend(data)
        if is_whole(held):
            connection.feed = feed
            feed(unfolded(bytes(held)))

    connection.feed = feed_whole
    try:
        feed_whole(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return True


class BrokenAnswerError(Exception):
    """What came is no answer and never will be: the outcome, and why ("": the outcome says it)."""

    def __init__(self, outcome: Outcome, why: str = "") -> None:
        super().__init__(outcome, why)
        self.outcome, self.why = outcome, why


def received(connection: Connection, data: bytes, request: Any) -> bytes | None:
    """All of the response to `request` once it is whole, None while more is to come. `data` b""
    is the connection's end. Raises BrokenAnswerError.
    """
    if data:
        try:
            connection.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not refold(connection, data, is_head=request.is_head):
                raise BrokenAnswerError(Outcome.MALFORMED, str(error)) from error
        if connection.complete == 1 and connection.chunks is None:
            return data
    if connection.chunks is None:
        connection.chunks = []
    connection.chunks.append(data)
    if connection.complete > 1:
        raise BrokenAnswerError(Outcome.MALFORMED, "more than one answer to one request")
    if data and not connection.complete and not connection.ended:
        return None
    raw = b"".join(connection.chunks)
    if not (data and connection.complete):
        if not (raw and ends_at_close(raw)):  # RFC 9112, 6.3, rule 8
            raise BrokenAnswerError(Outcome.RESET)
        connection.keep = False
        connection.status = connection.parser.get_status_code()
    connection.chunks = None
    return raw


def tls_trouble(error: ssl.SSLError | ssl.CertificateError) -> str:
    """Why TLS was not agreed on, in OpenSSL's words, without its line numbers."""
    said = str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)
    return said.replace("_", " ").lower() if said.isupper() else said


class TlsConnection(Connection):
    """A connection under TLS, by memory buffers: the ssl module's sockets would be gevent's, which
    block a greenlet.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, pool: Any, tick: int, address: Address) -> None:
        super().__init__(pool, tick, address)
        self._incoming: Any = ssl.MemoryBIO()
        self._outgoing: Any = ssl.MemoryBIO()
        self._tls: Any = pool.tls.wrap_bio(
            self._incoming, self._outgoing, server_hostname=pool.origin.host
        )
        self.send = self._send
        self.recv = self._recv

    def carry_on(self, session: Any, incoming: Any, outgoing: Any) -> None:
        """Go on with a session that was agreed on elsewhere, by what acts as `ssl`'s objects do."""
        self._tls, self._incoming, self._outgoing = session, incoming, outgoing
        self.send, self.recv = self._send, self._recv

    def handshake(self) -> bool:
        """Raises ssl.SSLError (a certificate that does not verify, no common version) or OSError
        (connection lost).
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    return False
            except ssl.SSLError:
                self._flush()  # the alert tells the peer why
                raise
            else:
                self._flush()
                return True

    def _fill(self) -> bool:
        """Move bytes from the socket to TLS; False when there are none now. Raises
        ConnectionResetError at end of file.
        """
        try:
            data = self.sock.recv(65_536)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed during the TLS handshake")
        self._incoming.write(data)
        return True

    def _flush(self) -> None:
        data = self.pending + self._outgoing.read()
        if data:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            self.pending = data[sent:]

    def _send(self, data: bytes) -> int:
        self._tls.write(data)
        self._flush()
        return len(data)

    def _recv(self, size: int, space: int) -> tuple[bytes, Stamp, int, Any]:
        """Plain bytes; b"" at end of file. Raises BlockingIOError when no whole record is there
        yet, OSError when lost.
        """
        data, stamp, flags, address = self.sock.recvmsg(size, space)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        plain = []
        while True:
            try:
                part = self._tls.read(65_536)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            if not part:
                # A close_notify may come long before the connection's own end.
                self.ended = True
                break
            plain.append(part)
        if plain or self.ended:
            return b"".join(plain), stamp, flags, address
        raise BlockingIOError(errno.EAGAIN, "no whole TLS record yet")
