"""Asking over the network within one deadline, from looking the name up to the last byte: a peer
that drips, floods or falls silent costs that long and no longer.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
import time
from typing import Any

from stormgate.net.allow import AllowList


class Deadline:
    """A point in CLOCK_MONOTONIC time, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left. Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no whole answer within {self.seconds:g} s")
        return left


def connect(host: str, port: int, allow: AllowList, deadline: Deadline) -> socket.socket:
    """A connection to the first address of the host that may be contacted and takes one. Raises
    NotAllowedError before anything is sent, OSError when none does in time.
    """
    error: OSError = OSError("no address")
    addresses = allow.choose(host, resolve(host, port, deadline))
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.left() / left)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as problem:
            sock.close()
            error = problem
        else:
            return sock
    raise error


def resolve(host: str, port: int, deadline: Deadline) -> list[tuple[Any, ...]]:
    """What `getaddrinfo` answers for a stream to the host. A resolver that does not answer in time
    is left behind in its thread. Raises OSError.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not found:
        raise TimeoutError(f"{host} was not resolved within {deadline.seconds:g} s")
    if isinstance(found[0], UnicodeError):
        raise OSError(f"{host!r} is no host name")
    if isinstance(found[0], OSError):
        raise found[0]
    return list(found[0])


class Incoming(io.RawIOBase):
    """What a socket sends, until a deadline and up to a size: for http.client, which reads
    `makefile` of its socket, and bounds single reads only.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, limit: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._limit = limit
        self._taken = 0

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer)
        self._taken += count
        if self._taken > self._limit:
            raise TooLongError(f"an answer over {self._limit:,} bytes")
        return count


class TooLongError(ValueError):
    """An answer that is longer than anyone needs."""
