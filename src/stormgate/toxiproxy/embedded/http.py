"""The API's HTTP/1.1 side: framing by httptools, one answer per request, in order."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import cast

import httptools

from stormgate.toxiproxy.embedded.api import TEXT, Answer, Api, Request

_LOG = logging.getLogger("toxiproxy")
_BODY_MAX = 16 * 1024 * 1024


class HttpConnection(asyncio.Protocol):
    """One client of the API."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._user_agent = b""
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except httptools.HttpParserError:
            self._refuse(400)

    # Called by httptools.

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"user-agent":
            self._user_agent = value
        elif lowered == b"expect" and value.lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= _BODY_MAX:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._transport.is_closing():
            return
        if self._size > _BODY_MAX:
            self._refuse(413)
            return
        request = Request(
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            self._user_agent.decode("latin-1"),
            b"".join(self._body),
        )
        try:
            answer = self._api.answer(request)
        except (
            Exception
        ):  # the API must outlive a fault in one handler; clients see a 500 they understand
            _LOG.exception("%s %s", request.method, request.target)
            answer = Answer(500, TEXT, b'{"error":"internal error","status":500}\n')
        keep = self._parser.should_keep_alive()
        self._transport.write(_encode(answer, keep))
        if not keep:
            self._transport.close()

    def _refuse(self, status: int) -> None:
        if not self._transport.is_closing():
            text = f"{status} {HTTPStatus(status).phrase}\n".encode()
            self._transport.write(_encode(Answer(status, TEXT, text), keep=False))
            self._transport.close()


def _encode(answer: Answer, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.request_id:
        lines.append(f"X-Toxiproxy-Request-Id: {answer.request_id}")
    if answer.status != 204:
        lines.append(f"Content-Length: {len(answer.body)}")
    if not keep:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
