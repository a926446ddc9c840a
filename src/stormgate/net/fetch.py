"""One GET of ours: to an allowed address, without a proxy, without following anybody anywhere,
whole within one deadline and a size limit.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

from stormgate.net.allow import AllowList

LIMIT_BYTES = 1 << 20


def fetch(url: str, allow: AllowList, deadline_s: float, limit: int = LIMIT_BYTES) -> bytes:
    """The body of a 200 answer. Raises NotAllowedError or ValueError before anything is sent, and
    OSError or ValueError in one line for everything that is not such an answer in time.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) URL")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # The last is the one in use: TLS wraps the first, and the deadline must reach the wrapped one.
    held = [_connected(allow.resolve(parts.hostname, port), deadline_s)]
    late = threading.Event()

    def end() -> None:
        # A peer that sends a byte now and then keeps every single read in time.
        late.set()
        with contextlib.suppress(OSError):
            held[-1].shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(deadline_s, end)
    timer.daemon = True
    timer.start()
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            held.append(
                context.wrap_socket(
                    held[0], server_hostname=parts.hostname, do_handshake_on_connect=False
                )
            )
            held[-1].do_handshake()  # type: ignore[attr-defined]
        return _exchange(held[-1], parts.hostname, port, path, limit)
    except (OSError, http.client.HTTPException) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise OSError(f"no whole answer within {deadline_s:g} s") from error
        if isinstance(error, OSError):
            raise
        raise OSError(f"no HTTP answer ({type(error).__name__})") from error
    finally:
        timer.cancel()
        for sock in held:
            sock.close()


def _connected(addresses: list[tuple[int, Any]], deadline_s: float) -> socket.socket:
    """A connection to the first of the addresses that takes one. Raises the last one's OSError."""
    error: OSError = OSError("no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(deadline_s / len(addresses))
        try:
            sock.connect(address)
        except OSError as problem:
            sock.close()
            error = problem
        else:
            sock.settimeout(deadline_s)
            return sock
    raise error


def _exchange(sock: socket.socket, host: str, port: int, path: str, limit: int) -> bytes:
    connection = http.client.HTTPConnection(host, port)
    connection.sock = sock
    connection.request("GET", path, headers={"Connection": "close"})
    with contextlib.closing(connection.getresponse()) as answer:
        if answer.status != 200:
            where = f" to {answer.headers['Location']!r}" if answer.headers.get("Location") else ""
            raise ValueError(f"answered {answer.status}{where}, not 200")
        body = answer.read(limit + 1)
        if len(body) > limit:
            raise ValueError(f"an answer over {limit:,} bytes")
        return body
