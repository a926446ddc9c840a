"""A whole HTTP/1.1 response as headers and body, for the flows and labels that look inside one."""

from __future__ import annotations

from typing import Any

import httptools

from stormgate.load.http.folded import unfolded


class Headers(dict[str, str]):
    """Headers by lower-case name, looked up in any case; the values of a repeated one joined with
    ", ".
    """

    def __init__(self) -> None:
        super().__init__()
        self._all: dict[str, list[str]] = {}

    def add(self, name: str, value: str) -> None:
        values = self._all.setdefault(name.lower(), [])
        values.append(value)
        super().__setitem__(name.lower(), ", ".join(values))

    def get_all(self, name: str) -> list[str]:
        """Each value of a header, in the order they came; none when it did not come."""
        return list(self._all.get(name.lower(), ()))

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class _Collector:
    def __init__(self, is_head: bool) -> None:
        self.headers = Headers()
        self.parts: list[bytes] = []
        self.is_headed = False  # its head is whole
        self._is_head = is_head

    def on_message_begin(self) -> None:
        # An informational response (100, 103) comes before the real one in the same bytes: only the
        # last message counts.
        self.headers = Headers()
        self.parts = []
        self.is_headed = False

    def on_headers_complete(self) -> None:
        self.is_headed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_body(self, data: bytes) -> None:
        if not self._is_head:
            self.parts.append(data)


def _collect(raw: bytes, *, is_head: bool = False) -> tuple[_Collector, int]:
    """What is found in `raw`, and the last status. What cannot be parsed is left out, never
    raised.
    """
    collector = _Collector(is_head)
    parser = httptools.HttpResponseParser(collector)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserError:
        whole = unfolded(raw)
        if whole != raw:
            return _collect(whole, is_head=is_head)
    return collector, parser.get_status_code()


def parse_message(raw: bytes, *, is_head: bool = False) -> tuple[Headers, bytes]:
    """Headers, and the body without chunk framing. What cannot be parsed is left out, never
    raised.
    """
    collector, _ = _collect(raw, is_head=is_head)
    return collector.headers, b"".join(collector.parts)


def ends_at_close(raw: bytes) -> bool:
    """Whether a response is whole by the closing of its connection (RFC 9112, 6.3, rule 8): one
    that was cut off within its head is not, and an interim one (1xx) never is.
    """
    collector, status = _collect(raw)
    return (
        collector.is_headed
        and status >= 200
        and "content-length" not in collector.headers
        and "transfer-encoding" not in collector.headers
    )
