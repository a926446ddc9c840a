"""Moving users between edges while a run goes on: by a table at a URL, or by resolving host names
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import socket as gsocket

from stormgate.load.engine.pool import Pool, Pools
from stormgate.load.engine.table import parse_table, steer
from stormgate.load.http.addresses import Addresses
from stormgate.net.allow import AllowList, NotAllowedError
from stormgate.net.fetch import fetch

_TIMEOUT_S = 1.0


def resolve(pool: Pool, allow: AllowList) -> bool:
    """Look the pool's host up without blocking the hub; whether its addresses changed.

    Raises OSError (socket.gaierror) when it does not resolve and NotAllowedError when it leads
    outside the allow list.
    """
    host, port = pool.origin.host, pool.origin.port
    try:
        answers = gsocket.getaddrinfo(host, port, type=gsocket.SOCK_STREAM)
        found = Addresses(allow.choose(host, answers))
    except (OSError, NotAllowedError) as error:
        pool.trouble = str(error)
        raise
    if pool.addresses == found:
        return False
    pool.addresses = found
    return True


def follow_table(
    url: str,
    interval_s: float,
    places: Mapping[str, Pools],
    allow: AllowList,
    on_change: Callable[[Any, dict[str, str], list[Pool]], None],
    on_error: Callable[[str], None],
) -> None:
    """Read the table every `interval_s`, for ever (until the greenlet is killed).

    An unreadable table changes nothing, as with a resolver that does not answer; each new reason is
    reported once.
    """
    reported = ""
    while True:
        try:
            # Cooperative as Locust's own clients are: its sockets are gevent's.
            version, orders = parse_table(fetch(url, allow, _TIMEOUT_S))
        except (OSError, ValueError, RecursionError) as error:
            if str(error) != reported:
                reported = str(error)
                on_error(reported)
        else:
            reported = ""
            moved, left = steer(places, orders)
            if moved or left:
                on_change(version, moved, left)
        gevent.sleep(interval_s)
