"""Lines of a request's head: making them, and leaving out those that must not go everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

_FRAMING = frozenset({"content-length", "transfer-encoding"})
# A field name (RFC 9110, 5.6.2) and what a value may not hold (5.5): a server answers such a line
# with 400, which would be the user's slip laid at the target's door.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_CRLF = b"\r\n"

# What a browser keeps to the origin it was meant for (WHATWG Fetch, HTTP-redirect fetch, 13).
CREDENTIALS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
# What describes a body, and goes with it when a redirect makes a request a GET.
OF_THE_BODY = frozenset(
    {
        b"content-encoding",
        b"content-language",
        b"content-location",
        b"content-type",
        b"content-length",
    }
)


def without(block: bytes, names: Collection[bytes]) -> bytes:
    """A block of header lines less those called so (lower case)."""
    return b"".join(
        line
        for line in block.splitlines(keepends=True)
        if line.partition(b":")[0].lower() not in names
    )


def body_of(json_value: Any, data: bytes | str | None) -> tuple[bytes, str | None]:
    """A request's body and its content type."""
    if json_value is not None:
        return json.dumps(
            json_value, separators=(",", ":"), allow_nan=False
        ).encode(), "application/json"
    if data is None:
        return b"", None
    return (data.encode() if isinstance(data, str) else data), "application/octet-stream"


def header_block(headers: Mapping[str, str]) -> bytes:
    """Headers as bytes, each line ended. Raises TypeError for what is no string, ValueError for a
    name or value that would break out of its line or that no header may have.
    """
    lines = []
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a header is a string for a string, not {type(value).__name__}")
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line or not name or ":" in name:
            raise ValueError(f"header {name!r} has a line break or no name")
        if not _TOKEN(name) or _CONTROLS(value):
            raise ValueError(f"header {line[:200]!r} has a character that no header may have")
        try:
            lines.append(line.encode("latin-1") + _CRLF)
        except UnicodeEncodeError:
            raise ValueError(f"header {line[:200]!r} is not latin-1: encode its value") from None
    return b"".join(lines)


def extra_headers(
    headers: Mapping[str, str] | None,
    body: bytes,
    content_type: str | None,
    method: str,
    decode: bool,
) -> bytes:
    """The header lines of one request: its own, and those its body and options imply."""
    own = dict(headers or {})
    given = {name.lower() for name in own}
    if given & _FRAMING:
        raise ValueError(f"{', '.join(sorted(given & _FRAMING))}: the body's own, not headers=")
    if content_type is not None and "content-type" not in given:
        own["Content-Type"] = content_type
    if body or method in ("POST", "PUT", "PATCH"):
        own["Content-Length"] = str(len(body))
    if decode and "accept-encoding" not in given:
        own["Accept-Encoding"] = "gzip, br"
    return header_block(own)


def dressed(head: bytes, *, bare: bool, basic: bytes, cookies: str) -> bytes:
    """A request's head with what depends on where it goes: without credentials (`bare`), or with
    those of the URL (`basic`, a whole line), and with `cookies`. What the flow wrote itself stands.
    """
    if bare:
        head = without(head, CREDENTIALS)
    added = b""
    given = head.lower()
    if basic and not bare and b"\nauthorization:" not in given:
        added += basic
    if cookies and b"\ncookie:" not in given:
        added += f"Cookie: {cookies}\r\n".encode("latin-1")
    return head[:-2] + added + _CRLF if added else head
