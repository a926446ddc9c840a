"""Where a `Location` leads, as browsers read it (RFC 9110, 10.2.2; WHATWG URL). Pure."""

from __future__ import annotations

import re
import string
from urllib.parse import quote, urljoin, urlsplit

from stormgate.net.origin import HttpOrigin, parse_origin

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What the standard leaves alone: unreserved, reserved and "%", less what it percent-encodes in a
# path, or in a query.
_PATH_SAFE = string.ascii_letters + string.digits + "-._~:/[]@!$&'()*+,;=%|\\"
_NO_HOST = re.compile(r"https?:/*", re.IGNORECASE)
_QUERY_SAFE = _PATH_SAFE + "?`{}^"


def method_after(status: int, method: str) -> str:
    """The method after a redirect: browsers turn a POST into a GET after 301 and 302, and all but
    GET and HEAD after 303 (WHATWG Fetch, HTTP-redirect fetch, 12).
    """
    if (status in (301, 302) and method == "POST") or (
        status == 303 and method not in ("GET", "HEAD")
    ):
        return "GET"
    return method


def follow(base: str, location: str) -> tuple[HttpOrigin, str]:
    """The origin (its prefix empty) and the path with its query that `location` leads to from the
    URL `base`. `location` is as it stood in the header, one character a byte: bytes outside ASCII
    and spaces are percent-encoded as they came. A fragment stays with the user.

    Raises ValueError when it leads to nothing that can be asked by HTTP.
    """
    text = "".join(c for c in location.strip(" \t\r\n\0") if c not in "\t\r\n")
    text, _, _ = text.partition("#")
    if not text and not location.strip():
        raise ValueError("without a Location")
    head, mark, query = text.partition("?")
    if _NO_HOST.fullmatch(head):
        raise ValueError(f"its Location {printable(location)!r} has no host")
    url = urlsplit(urljoin(base, head.replace("\\", "/") + mark + query))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"its Location {printable(location)!r} is no http(s) URL")
    try:
        # The host's letters may be UTF-8: they are read before anything folds them.
        named = urlsplit("//" + url.netloc.encode("latin-1").decode("utf-8"))
        name, port = (named.hostname or "").encode("idna").decode("ascii"), named.port
    except ValueError:
        raise ValueError(f"its Location {printable(location)!r} has no host or port") from None
    netloc = f"[{name}]" if ":" in name else name
    origin = parse_origin(f"{url.scheme}://{netloc}" + (f":{port}" if port is not None else ""))
    path = quote(_without_dots(url.path or "/").encode("latin-1"), safe=_PATH_SAFE)
    if url.query:
        path += "?" + quote(url.query.encode("latin-1"), safe=_QUERY_SAFE)
    return origin, path


def _without_dots(path: str) -> str:
    """A path without its dot segments (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    if plain in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def printable(location: str) -> str:
    """A Location without a name and password, and not longer than a line."""
    before, at, after = location.partition("@")
    scheme, slashes, _ = before.partition("//")
    return (scheme + slashes + after if at and slashes and "/" not in _ else location)[:200]
