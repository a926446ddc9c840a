"""Where a population's requests go: its edges in order, and the keep-alive connections to each."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from stormgate.load.http.addresses import Addresses
from stormgate.load.http.head import header_block
from stormgate.model import Population
from stormgate.net.origin import HttpOrigin, parse_origin


class Pool:
    """One population's way to one edge: an address, the headers it always sends, and the
    connections it holds.

    `idle` and `waiting` are the transport's own. `idle` is a stack: the connection used last is
    used next, so surplus ones age and are closed by the peer.
    """

    __slots__ = (
        "addresses",
        "basic",
        "cookie_host",
        "edge",
        "headers",
        "host",
        "idle",
        "is_edge",
        "origin",
        "prefix",
        "proxy_source",
        "resolving",
        "tls",
        "trouble",
        "waiting",
        "wanted",
    )

    def __init__(
        self,
        edge: str,
        origin: HttpOrigin,
        population: Population,
        *,
        is_edge: bool = True,
        is_own: bool = True,
    ) -> None:
        """`is_edge` False: reached by redirects only; `is_own` False: at another origin, which does
        not go by the name (Host) of the population's site.
        """
        population_headers = {
            name: value
            for name, value in population.headers.items()
            if is_own or name.lower() != "host"
        }
        self.is_edge = is_edge
        self.proxy_source = population.proxy_source
        self.edge = edge
        self.origin = origin
        self.prefix = origin.prefix
        given = {name.lower() for name in population_headers}
        # The site's name to its users: a Location or a cookie speaks of it.
        self.host = next(
            (text for name, text in population_headers.items() if name.lower() == "host"),
            origin.netloc,
        )
        self.cookie_host = (urlsplit(f"//{self.host}").hostname or origin.host).rstrip(".")
        value = origin.authorization
        self.basic = header_block({"Authorization": value}) if value else b""
        if "authorization" in given:
            self.basic = b""  # the population brings its own
        own = {} if "host" in given else {"Host": origin.netloc}
        if "user-agent" not in given:
            own["User-Agent"] = "stormgate"
        self.headers = header_block({**own, **population_headers})
        self.addresses = Addresses()
        self.trouble = "its name was not looked up"  # why there are no addresses
        self.resolving = False  # its name is being looked up: what is to go there waits
        self.tls: Any = None
        self.idle: list[Any] = []
        self.waiting: deque[Any] = deque()  # attempts, in order
        self.wanted = False  # whether new requests are steered here


class Pools:
    """A population at work: its pools by edge, nearest first, and the one its new requests go to
    now.
    """

    __slots__ = ("current", "index", "model", "name", "order", "pools")

    def __init__(self, model: Population, index: int, urls: Mapping[str, str]) -> None:
        """`urls`: the base URL of each edge in order. Raises ValueError when there is none or one
        is not a base URL.
        """
        if not urls:
            raise ValueError(f"population {model.name!r} has no edge with a link to dial")
        self.model = model
        self.name = model.name
        self.index = index
        self.pools = {edge: Pool(edge, parse_origin(url), model) for edge, url in urls.items()}
        self.order = tuple(self.pools)
        self.current = self.pools[self.order[0]]
        self.current.wanted = True

    def steer(self, order: Sequence[str]) -> Pool | None:
        """Send new requests to the first known edge of `order`. Returns the pool that was left,
        None when nothing changed.
        """
        known = tuple(edge for edge in order if edge in self.pools)
        if not known or known == self.order:
            return None
        self.order = known
        left, self.current = self.current, self.pools[known[0]]
        left.wanted = False
        self.current.wanted = True
        return left if left is not self.current else None

    def elsewhere(self, origin: HttpOrigin) -> Pool:
        """The pool of an origin that is no edge, made when a redirect first leads there."""
        name = f"{origin.scheme}://{origin.netloc}"
        pool = self.pools.get(name)
        if pool is None:
            is_own = any(one.origin.at_root() == origin for one in self.pools.values())
            pool = Pool(name, origin, self.model, is_edge=False, is_own=is_own)
            self.pools[name] = pool
            pool.wanted = True
        return pool

    def next_after(self, pool: Pool) -> Pool:
        """The next-nearest edge after `pool`, round to the first again; `pool` if it is none."""
        if not pool.is_edge:
            return pool
        if pool.edge not in self.order:
            return self.current
        return self.pools[self.order[(self.order.index(pool.edge) + 1) % len(self.order)]]
