"""A small HTTP/1.1 client for hops inside the lab: kept connections, bounded in time, and never a
second try.

aiohttp's own client repeats an idempotent request by itself when a kept connection turns out to be
closed. In a system whose failures are being counted that would be a hidden retry, so it is not used
here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httptools

from stormgate.lab.design.health import Probe


@dataclass(frozen=True, slots=True)
class PeerReply:
    """A whole response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reply: asyncio.Future[PeerReply] | None = None
        self.usable = True
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionResetError("closed before the answer was whole"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        reply = PeerReply(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self.usable = self.usable and bool(self._parser.should_keep_alive())
        self._headers, self._body = {}, []
        self._parser = httptools.HttpResponseParser(self)
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(reply)

    def _fail(self, error: Exception) -> None:
        self.usable = False
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)

    def close(self) -> None:
        self.usable = False
        if self.transport is not None:
            self.transport.abort()


class Outgoing:
    """What goes along with a request, and hears how it ended."""

    headers: Mapping[str, str] = {}

    def ended(self, status: int) -> None:
        """The answer's status; 0 when none came."""


# Who wants to go along: asked for each request, by its method and the first part of its path.
OUTGOING: list[Callable[[str], Outgoing | None]] = []


class HttpPeer:
    """One address and the idle connections to it."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._idle: list[_Connection] = []

    async def request(
        self,
        method: str,
        target: str,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> PeerReply:
        """One request, one answer. Raises OSError (refused, reset, not HTTP) or TimeoutError; it
        may have been served then.
        """
        along = [one for ask in OUTGOING if (one := ask(f"{method} {target}")) is not None]
        lines = [f"{method} {target} HTTP/1.1", f"host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"{name}: {value}" for one in along for name, value in one.headers.items()]
        if body or method in {"POST", "PUT"}:
            lines.append(f"content-length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        try:
            reply = await self._exchange(data, timeout_s)
        except BaseException:
            for one in along:
                one.ended(0)
            raise
        for one in along:
            one.ended(reply.status)
        return reply

    async def _exchange(self, data: bytes, timeout_s: float) -> PeerReply:
        async with asyncio.timeout(timeout_s):
            connection = await self._connection()
            try:
                connection.reply = asyncio.get_running_loop().create_future()
                assert connection.transport is not None  # noqa: S101
                connection.transport.write(data)
                reply = await connection.reply
            except BaseException:
                connection.close()
                raise
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    async def probe(self, target: str, *, timeout_s: float) -> tuple[Probe, bytes]:
        """Ask for health: 200 is OK, any other answer counts as refused. The body is given in
        either case.
        """
        try:
            reply = await self.request("GET", target, timeout_s=timeout_s)
        except TimeoutError:
            return Probe.SILENT, b""
        except OSError:
            return Probe.REFUSED, b""
        return (Probe.OK if reply.status == 200 else Probe.REFUSED), reply.body

    def close(self) -> None:
        """Drop the idle connections: after a death they are of no use, and dialling again is
        quick.
        """
        while self._idle:
            with contextlib.suppress(OSError):
                self._idle.pop().close()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(_Connection, self.host, self.port)
        return protocol
