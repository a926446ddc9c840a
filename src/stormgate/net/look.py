"""Looking at a component from outside, in its own protocol, so that a fault is believed only when
its effect is seen.

One exchange per look, on a connection of its own, with a bound on time. Nothing here knows how the
fault was made.
"""

from __future__ import annotations

import enum
import os
import select
import socket
import time
from dataclasses import dataclass

from stormgate.model import Observe
from stormgate.net.allow import AllowList
from stormgate.net.deadline import Deadline, connect
from stormgate.net.references import resolved

# SSLRequest of the PostgreSQL protocol (length 8, code 80877103): answered with one byte before any
# authentication.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
# PostgreSQL refuses a longer startup packet (MAX_STARTUP_PACKET_LENGTH 10000), aiohttp a header
# line over 8190 bytes.
_EVERYONE = AllowList(None)
_PADDING_MAX = {"http": 8000, "postgres": 9000, "redis": 60_000, "tcp": 0}


class State(enum.StrEnum):
    """What came of one look."""

    ANSWERS = "answers"  # a reply in the component's protocol, healthy or not
    REFUSED = "refused"  # nobody listens
    RESET = "reset"  # the connection was made and then ended without an answer
    SILENT = "silent"  # nothing came in time
    UNREACHABLE = "unreachable"  # no route, bad address


@dataclass(frozen=True, slots=True)
class Sight:
    """One look: `latency_ms` from the start of connecting to the answer (or to giving up); `at_ns`
    is when it ended.
    """

    state: State
    latency_ms: float
    at_ns: int
    detail: str = ""

    @property
    def healthy(self) -> bool:
        """It answers, and not to say that it is unwell (HTTP 5xx, Redis LOADING)."""
        return self.state is State.ANSWERS and not self.detail.startswith("unwell")

    def __str__(self) -> str:
        return f"{self.state} after {self.latency_ms:.0f} ms" + (
            f" ({self.detail})" if self.detail else ""
        )


def look(
    observe: Observe,
    timeout_s: float = 1.0,
    *,
    address: str | None = None,
    padding: int = 0,
    allow: AllowList = _EVERYONE,
) -> Sight:
    """One exchange with `observe.address`, or with `address` instead (a link that leads there), all
    of it within `timeout_s`. Never raises OSError. What `allow` does not permit is UNREACHABLE, and
    nothing was sent; under a guard (net/guard.py) what that does not permit, too.

    `padding` asks for that many more bytes in the request (as far as the protocol allows), to see a
    narrow link.
    """
    begun = time.monotonic()
    deadline = begun + timeout_s
    detail = ""
    try:
        there = resolved(address or observe.address, os.environ)
        with _connect(there, allow, timeout_s) as connection:
            detail = _exchange(
                connection, observe, deadline, min(padding, _PADDING_MAX.get(observe.protocol, 0))
            )
        state = State.ANSWERS
    except ConnectionRefusedError:
        state = State.REFUSED
    except TimeoutError:
        state = State.SILENT
    except (ConnectionError, EOFError) as error:
        state, detail = State.RESET, type(error).__name__
    except (OSError, ValueError) as error:
        state, detail = State.UNREACHABLE, str(error)
    except KeyError as error:
        state, detail = State.UNREACHABLE, f"it refers to ${{{error.args[0]}}}, which is not set"
    end = time.monotonic_ns()
    return Sight(state, (end / 1e9 - begun) * 1000, end, detail)


def padding_sent(observe: Observe, padding: int) -> int:
    """How many of the asked-for bytes of padding the protocol can carry."""
    return min(padding, _PADDING_MAX.get(observe.protocol, 0))


def _connect(address: str, allow: AllowList, timeout_s: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    return connect(host.strip("[]"), int(port), allow, Deadline(timeout_s))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _exchange(connection: socket.socket, observe: Observe, deadline: float, padding: int) -> str:
    if observe.protocol == "http":
        return _http(connection, observe, deadline, padding)
    if observe.protocol == "redis":
        return _redis(connection, deadline, padding)
    if observe.protocol == "postgres":
        return _postgres(connection, deadline, padding)
    if observe.protocol == "tcp":
        return _tcp(connection, deadline)
    raise ValueError(f"unknown protocol {observe.protocol!r}; one of http, redis, postgres, tcp")


def _http(connection: socket.socket, observe: Observe, deadline: float, padding: int) -> str:
    lines = [
        f"GET {observe.path} HTTP/1.1",
        f"Host: {observe.address}",
        "User-Agent: stormgate",
        "Connection: close",
    ]
    if padding:
        lines.append("X-Padding: " + "x" * padding)
    _send(connection, ("\r\n".join(lines) + "\r\n\r\n").encode(), deadline)
    status_line, _ = _read_line(connection, deadline)
    parts = status_line.split(b" ", 2)
    if not parts[0].startswith(b"HTTP/") or len(parts) < 2 or not parts[1].isdigit():
        raise ConnectionError(f"not HTTP: {status_line[:40]!r}")
    status = int(parts[1])
    return f"unwell: HTTP {status}" if status >= 500 else f"HTTP {status}"


def _redis(connection: socket.socket, deadline: float, padding: int) -> str:
    payload = b"x" * padding
    request = (
        b"*2\r\n$4\r\nPING\r\n$%d\r\n%s\r\n" % (len(payload), payload)
        if payload
        else b"*1\r\n$4\r\nPING\r\n"
    )
    _send(connection, request, deadline)
    line, rest = _read_line(connection, deadline)
    if payload and line == b"$%d" % len(payload):
        # It sends back what it was sent, and no more is waited for, whatever it says.
        _read_exactly(connection, max(0, len(payload) + 2 - len(rest)), deadline)
        return "+PONG"
    if line[:1] not in {b"+", b"-"}:
        raise ConnectionError(f"not Redis: {line[:40]!r}")
    unwell = line.startswith((b"-LOADING", b"-MASTERDOWN", b"-MISCONF"))
    return ("unwell: " if unwell else "") + line[:40].decode("latin-1")


def _postgres(connection: socket.socket, deadline: float, padding: int) -> str:
    if padding:
        # A startup packet with one long option; the server answers it with an error or an
        # authentication request.
        body = b"\x00\x03\x00\x00user\x00stormgate\x00options\x00" + b" " * padding + b"\x00\x00"
        _send(connection, (len(body) + 4).to_bytes(4, "big") + body, deadline)
    else:
        _send(connection, _SSL_REQUEST, deadline)
    reply = _read_exactly(connection, 1, deadline)
    if reply not in {b"S", b"N", b"E", b"R"}:
        raise ConnectionError(f"not PostgreSQL: {reply!r}")
    return reply.decode("latin-1")


def _tcp(connection: socket.socket, deadline: float) -> str:
    """A bare port promises no more than to accept; one that hangs up at once is a proxy without
    anything behind it.
    """
    readable, _, _ = select.select([connection], [], [], min(0.02, _left(deadline)))
    if readable and not connection.recv(1):
        raise EOFError
    return "accepted"


def _send(connection: socket.socket, data: bytes, deadline: float) -> None:
    connection.settimeout(_left(deadline))
    connection.sendall(data)


def _read_line(connection: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    """The first line, and what came after it already."""
    data = b""
    while b"\r\n" not in data:
        data += _receive(connection, 4096, deadline)
        if len(data) > 65536:
            raise ConnectionError("an endless first line")
    line, _, rest = data.partition(b"\r\n")
    return line, rest


def _read_exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        data += _receive(connection, min(65536, count - len(data)), deadline)
    return data


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    connection.settimeout(_left(deadline))
    data = connection.recv(size)
    if not data:
        raise EOFError
    return data
