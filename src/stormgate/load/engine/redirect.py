"""Following a redirect, when a flow asked for it: to the same edge only, since where users go is
steering's business.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from stormgate.load.engine.pool import Pool
from stormgate.load.flow import Reply, Request

_KEEPS_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def redirected(request: Request, reply: Reply, pool: Pool) -> Request | None:
    """The request a redirect leads to; None when it is none, or leads to another host or out of the
    edge's base path.

    301, 302 and 303 become a GET without a body (HEAD stays HEAD), as browsers do (RFC 9110, 15.4).
    """
    if reply.status not in _REDIRECTS:
        return None
    origin = pool.origin
    base = f"{origin.scheme}://{origin.netloc}{pool.prefix}{request.path}"
    parts = urlsplit(urljoin(base, reply.headers.get("location", "")))
    if (parts.scheme, parts.netloc) != (origin.scheme, origin.netloc) or not parts.path.startswith(
        pool.prefix
    ):
        return None
    path = parts.path[len(pool.prefix) :] + (f"?{parts.query}" if parts.query else "")
    try:
        return request.moved(path, keep_method=reply.status in _KEEPS_METHOD or request.is_head)
    except ValueError:
        return None
