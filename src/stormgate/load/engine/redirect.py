"""Following a redirect, when a flow asked for it, as a browser does."""

from __future__ import annotations

from collections.abc import Callable

from stormgate.load.engine.pool import Pool, Pools
from stormgate.load.flow import Reply, Request
from stormgate.load.http.location import follow, method_after
from stormgate.net.origin import HttpOrigin

# The pool for an origin that is none of a population's edges. Raises ValueError when nothing may
# be sent there.
Elsewhere = Callable[[Pools, HttpOrigin], Pool]


def nowhere_else(_place: Pools, origin: HttpOrigin) -> Pool:
    raise ValueError(f"{origin.netloc} is not an edge of this population")


def redirected(
    request: Request, reply: Reply, pool: Pool, place: Pools, elsewhere: Elsewhere
) -> tuple[Request, Pool]:
    """The request a redirect leads to, and the pool it goes by: the one of the answer, another edge
    of the population, or one of `elsewhere`.

    Credentials stay with the origin they were meant for. Raises ValueError saying why the redirect
    is the final answer.
    """
    locations = set(reply.headers.get_all("location"))
    if len(locations) > 1:
        raise ValueError("with several Locations")
    own = pool.origin
    base = f"{own.scheme}://{pool.host}{pool.prefix}{request.path}"
    origin, path = follow(base, locations.pop() if locations else "")
    seen = (origin.scheme, origin.netloc)
    same = seen in ((own.scheme, own.netloc.lower()), (own.scheme, pool.host.lower()))
    target = _pool_for(own if same else origin, path, pool, place, elsewhere)
    if target.prefix:
        path = path[len(target.prefix) :]
    return request.moved(
        path, method_after(reply.status, request.method), keep_credentials=same
    ), target


def _pool_for(
    origin: HttpOrigin, path: str, pool: Pool, place: Pools, elsewhere: Elsewhere
) -> Pool:
    for one in (pool, *place.pools.values()):
        if (one.origin.scheme, one.origin.host, one.origin.port) == (
            origin.scheme,
            origin.host,
            origin.port,
        ) and (not one.prefix or path.startswith(f"{one.prefix}/")):
            return one
    return elsewhere(place, origin.at_root())
