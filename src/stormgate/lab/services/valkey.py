"""A small client for Valkey: one connection, commands answered in the order they are sent. Bounded
in time; no second try.
"""

from __future__ import annotations

import asyncio
from collections import deque

ValkeyReply = bytes | int | None


class ValkeyError(OSError):
    """The server refused a command."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[asyncio.Future[ValkeyReply]] = deque()
        self.lost = False
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self.waiting and (parsed := parse(self._buffer)) is not None:
            reply, used = parsed
            self._buffer = self._buffer[used:]
            future = self.waiting.popleft()
            if future.done():
                continue  # given up on, but its place in the row counts
            if isinstance(reply, ValkeyError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionResetError("the cache closed the connection"))

    def close(self) -> None:
        self.lost = True
        if self.transport is not None:
            self.transport.abort()


def parse(data: bytes) -> tuple[ValkeyReply | ValkeyError, int] | None:
    """The first reply (RESP2: simple string, error, integer, bulk string) and its length; None
    while it is not whole.
    """
    end = data.find(b"\r\n")
    if end < 0:
        return None
    kind, head, used = data[:1], data[1:end], end + 2
    match kind:
        case b"+":
            return head, used
        case b"-":
            return ValkeyError(head.decode(errors="replace")), used
        case b":":
            return int(head), used
        case b"$":
            size = int(head)
            if size < 0:
                return None, used
            return (
                (data[used : used + size], used + size + 2)
                if len(data) >= used + size + 2
                else None
            )
    return ValkeyError(f"not RESP2: {data[:20]!r}"), len(data)


def encode(command: tuple[str | bytes | int, ...]) -> bytes:
    """A command as an array of bulk strings."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(
        b"$%d\r\n%b\r\n" % (len(part), part) for part in parts
    )


class Valkey:
    """One server. Raises OSError (refused, reset, an error reply) and TimeoutError."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    async def call(self, *command: str | bytes | int) -> ValkeyReply:
        """The reply to one command."""
        async with asyncio.timeout(self._timeout_s):
            connection = self._connection
            if connection is None or connection.lost:
                connection = await self._connect()
            future: asyncio.Future[ValkeyReply] = asyncio.get_running_loop().create_future()
            connection.waiting.append(future)
            assert connection.transport is not None  # noqa: S101
            connection.transport.write(encode(command))
            try:
                return await future
            except asyncio.CancelledError:
                # Late: who knows for how long. A fresh connection will tell.
                connection.close()
                raise

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.lost:
                _, self._connection = await asyncio.get_running_loop().create_connection(
                    _Connection, *self._address
                )
            return self._connection
