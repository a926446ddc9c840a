"""One HTTP exchange of ours: with an allowed address, without a proxy, without following anybody
anywhere, whole within one deadline and a size limit.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from stormgate.net.allow import AllowList
from stormgate.net.deadline import Deadline, Incoming, TooLongError, connect

LIMIT_BYTES = 1 << 20


class NoHttpError(OSError):
    """Something answered, but not in HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are as the peer wrote them."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def fetch(url: str, allow: AllowList, deadline_s: float, limit: int = LIMIT_BYTES) -> bytes:
    """The body of a 200 answer. Raises NotAllowedError or ValueError before anything is sent, and
    OSError or ValueError in one line for everything that is not such an answer in time.
    """
    answer = exchange("GET", url, allow, deadline_s, limit=limit)
    if answer.status != 200:
        where = f" to {answer.headers['Location']!r}" if answer.headers.get("Location") else ""
        raise ValueError(f"answered {answer.status}{where}, not 200")
    return answer.body


def exchange(
    method: str,
    url: str,
    allow: AllowList,
    deadline_s: float,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    limit: int = LIMIT_BYTES,
    head_only: bool = False,
) -> Answer:
    """Whatever an HTTP server answers, up to `limit` bytes in all; with `head_only` without its
    body, of whatever length that is. Raises as `fetch`: TimeoutError
    for the deadline, NoHttpError for what is not HTTP, ssl.SSLError, ConnectionError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) URL")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    deadline = Deadline(deadline_s)
    try:
        with closing(_connected(parts.scheme, parts.hostname, port, allow, deadline)) as sock:
            sock.settimeout(deadline.left())
            connection = http.client.HTTPConnection(parts.hostname, port)  # of it only the request
            connection.sock = sock
            connection.request(method, path, body, {"Connection": "close", **(headers or {})})
            # It takes of its socket no more than `makefile`.
            response = http.client.HTTPResponse(
                Incoming(sock, deadline, limit),  # type: ignore[arg-type]
                method=method,
            )
            with closing(response):
                response.begin()
                if head_only:
                    return Answer(response.status, response.headers, b"")
                # Never all of it: a length of terabytes would be made room for at once.
                content = response.read(limit)
                if response.length or (content and response.read(1)):
                    whole = len(content) < limit
                    raise _cut() if whole else TooLongError(f"an answer over {limit:,} bytes")
                return Answer(response.status, response.headers, content)
    except TimeoutError as error:
        raise TimeoutError(f"no whole answer within {deadline_s:g} s") from error
    except http.client.RemoteDisconnected:
        raise
    except http.client.IncompleteRead as error:
        raise _cut() from error
    except http.client.HTTPException as error:
        raise NoHttpError(f"no HTTP answer ({type(error).__name__})") from error


def _cut() -> ConnectionError:
    return ConnectionError("the answer ended before it was whole")


def _connected(
    scheme: str, host: str, port: int, allow: AllowList, deadline: Deadline
) -> socket.socket:
    sock = connect(host, port, allow, deadline)
    if scheme == "http":
        return sock
    try:
        sock.settimeout(deadline.left())
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
