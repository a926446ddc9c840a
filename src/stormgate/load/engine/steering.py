"""Moving users between edges while a run goes on: by a table at a URL, or by resolving host names
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import socket as gsocket

from stormgate.load.engine.pool import Place, Pool
from stormgate.load.engine.table import parse_table, steer
from stormgate.load.http.response import parse_message
from stormgate.net.allow import AllowList
from stormgate.net.origin import Origin, parse_origin

_TIMEOUT_S = 1.0
_MAX_TABLE_BYTES = 4_000_000


def resolve(pool: Pool, allow: AllowList) -> bool:
    """Look the pool's host up without blocking the hub; whether its address changed.

    Raises OSError (socket.gaierror) when it does not resolve and NotAllowedError when it leads
    outside the allow list.
    """
    host, port = pool.origin.host, pool.origin.port
    answers = gsocket.getaddrinfo(host, port, type=gsocket.SOCK_STREAM)
    found = allow.choose(host, answers)[0]
    if pool.address == found:
        return False
    pool.address = found
    return True


def fetch(origin: Origin, path: str, allow: AllowList) -> bytes:
    """The body of one GET, cooperatively. Raises OSError or ValueError when there is none."""
    with gevent.Timeout(_TIMEOUT_S, OSError(f"no answer within {_TIMEOUT_S} s")):
        answers = gsocket.getaddrinfo(origin.host, origin.port, type=gsocket.SOCK_STREAM)
        family, address = allow.choose(origin.host, answers)[0]
        with gsocket.socket(family, gsocket.SOCK_STREAM) as sock:
            sock.connect(address)
            head = (
                f"GET {origin.prefix or ''}{path or '/'} HTTP/1.1\r\nHost: "
                f"{origin.netloc}\r\nConnection: close\r\n\r\n"
            )
            sock.sendall(head.encode("ascii"))
            raw = bytearray()
            while chunk := sock.recv(65_536):
                raw += chunk
                if len(raw) > _MAX_TABLE_BYTES:
                    raise ValueError("the steering table is too large")
    status = raw.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise ValueError(f"the steering table's URL answered {bytes(raw[:40])!r}")
    return parse_message(bytes(raw))[1]


def follow_table(
    url: str,
    interval_s: float,
    places: Mapping[str, Place],
    allow: AllowList,
    on_change: Callable[[Any, dict[str, str], list[Pool]], None],
    on_error: Callable[[str], None],
) -> None:
    """Read the table every `interval_s`, for ever (until the greenlet is killed).

    An unreadable table changes nothing, as with a resolver that does not answer; each new reason is
    reported once.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    reported = ""
    while True:
        try:
            version, orders = parse_table(fetch(origin, path, allow))
        except (OSError, ValueError) as error:
            if str(error) != reported:
                reported = str(error)
                on_error(reported)
        else:
            reported = ""
            moved, left = steer(places, orders)
            if moved or left:
                on_change(version, moved, left)
        gevent.sleep(interval_s)
