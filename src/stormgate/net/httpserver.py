"""A small HTTP/1.1 server on llhttp, for the lab's processes and the embedded Toxiproxy's API.

In the lab each request of a user passes two of these. aiohttp's server takes three times the CPU
for one, and most of a second to import; the lab shares two cores with the load generator that
measures it, so that time would be seen in the results.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

import httptools

_MAX_BODY_BYTES = 1 << 20
_MAX_PIPELINED = 100
_BARE = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class HttpRequest:
    """A whole request. Header names are lower case; `target` is path and query as sent."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2]))


@dataclass(slots=True)
class HttpResponse:
    """An answer; `content_type` empty: none is said."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def encode(self, *, keep: bool, head: bool = False) -> bytes:
        """As it goes over the wire."""
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}\r\n"]
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        if self.status not in _BARE:  # RFC 9110, 8.6
            lines.append(f"Content-Length: {len(self.body)}\r\n")
        lines.append("\r\n" if keep else "Connection: close\r\n\r\n")
        return "".join(lines).encode("latin-1") + (b"" if head else self.body)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def not_understood(status: int) -> HttpResponse:
    """The answer to what is no request, or too long a one."""
    return HttpResponse(status, b'{"error": "not understood"}')


@dataclass(slots=True)
class _Service:
    """What all connections of a server share."""

    handler: Handler
    refusal: Callable[[int], HttpResponse]
    body_max_bytes: int
    connections: set[_Connection] = field(default_factory=set)


class _Connection(asyncio.Protocol):
    def __init__(self, service: _Service) -> None:
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[HttpRequest, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._target = bytearray()
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        # What was begun is finished: a client that hangs up has not taken its write back.
        self._transport = None
        self._waiting.clear()
        self._service.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except (httptools.HttpParserError, UnicodeDecodeError):
            self._refuse(400)
        if len(self._waiting) > _MAX_PIPELINED:
            self._refuse(400)

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.decode("latin-1").lower()
        self._headers[lowered] = value.decode("latin-1")
        if lowered == "expect" and value.lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= self._service.body_max_bytes:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._body_bytes > self._service.body_max_bytes:
            # Only now: an answer while the client still sends would reach it as a reset.
            self._refuse(413)
            return
        method = self._parser.get_method().decode("ascii")
        request = HttpRequest(
            method, self._target.decode("ascii"), self._headers, b"".join(self._body)
        )
        keep = bool(self._parser.should_keep_alive())
        self._target, self._headers, self._body, self._body_bytes = bytearray(), {}, [], 0
        self._waiting.append((request, keep))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        while self._waiting:
            request, keep = self._waiting.popleft()
            try:
                response = await self._service.handler(request)
            except Exception:
                traceback.print_exc()
                response = HttpResponse(500, b'{"error": "internal"}')
            if self._transport is None:
                break
            self._transport.write(response.encode(keep=keep, head=request.method == "HEAD"))
            if not keep:
                self._transport.close()
                break
        self._task = None

    def _refuse(self, status: int) -> None:
        if self._transport is not None:
            self._transport.write(self._service.refusal(status).encode(keep=False))
            self._transport.close()
            self._transport = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    sock: socket.socket | None = None,
    refusal: Callable[[int], HttpResponse] = not_understood,
    body_max_bytes: int = _MAX_BODY_BYTES,
) -> AsyncIterator[None]:
    """Serve at an address, or on a listening socket, while the context lasts; connections that are
    open at its end are cut. Raises OSError when the port is taken.
    """
    service = _Service(handler, refusal, body_max_bytes)
    loop = asyncio.get_running_loop()
    server = (
        await loop.create_server(lambda: _Connection(service), host, port, backlog=1024)
        if sock is None
        else await loop.create_server(lambda: _Connection(service), sock=sock, backlog=1024)
    )
    try:
        yield
    finally:
        server.close()
        for connection in list(service.connections):
            connection.abort()
