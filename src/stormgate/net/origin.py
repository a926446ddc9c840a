"""A base URL taken apart."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

_USER = re.compile(r"//[^/?#]*@")


@dataclass(frozen=True, slots=True)
class HttpOrigin:
    """A base URL taken apart. `authorization` is what a name and password in it make the value of
    that header; it is never shown.
    """

    scheme: str
    host: str
    port: int
    prefix: str
    authorization: str = field(default="", repr=False, compare=False)

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"
        )

    def at_root(self) -> HttpOrigin:
        """The same origin without a prefix."""
        return replace(self, prefix="")


def parse_origin(url: str) -> HttpOrigin:
    """Raises ValueError naming the URL, without a name and password, when it is not
    http(s)://[user:password@]host[:port][/prefix].
    """
    shown = without_user(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{shown!r} is not a base URL: {without_user(str(error))}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{shown!r} is not a base URL of the form http(s)://host[:port]")
    port = port or (443 if parts.scheme == "https" else 80)
    return HttpOrigin(
        parts.scheme, parts.hostname, port, parts.path.rstrip("/"), _authorization(parts)
    )


def without_user(text: str) -> str:
    """A text with URLs, less the names and passwords in them."""
    return _USER.sub("//", text)


def _authorization(parts: SplitResult) -> str:
    """RFC 7617, with percent-encoding undone."""
    if parts.username is None and parts.password is None:
        return ""
    user, password = (unquote_to_bytes(part or "") for part in (parts.username, parts.password))
    return "Basic " + base64.b64encode(user + b":" + password).decode("ascii")
