"""Where a population's requests go: its edges in order, and the keep-alive connections to each."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stormgate.load.flow import header_block
from stormgate.model import Population
from stormgate.net.origin import Origin, parse_origin

if TYPE_CHECKING:
    from stormgate.load.engine.attempt import Task
    from stormgate.load.http.connection import Connection


class Pool:
    """One population's way to one edge: an address, the headers it always sends, and the
    connections it holds.

    `idle` is a stack: the connection used last is used next, so surplus ones age and are closed by
    the peer.
    """

    __slots__ = (
        "address",
        "edge",
        "headers",
        "idle",
        "origin",
        "prefix",
        "proxy_source",
        "tls",
        "waiting",
        "wanted",
    )

    def __init__(self, edge: str, origin: Origin, population: Population) -> None:
        population_headers = population.headers
        self.proxy_source = population.proxy_source
        self.edge = edge
        self.origin = origin
        self.prefix = origin.prefix
        given = {name.lower() for name in population_headers}
        own = {} if "host" in given else {"Host": origin.netloc}
        if "user-agent" not in given:
            own["User-Agent"] = "stormgate"
        self.headers = header_block({**own, **population_headers})
        self.address: tuple[int, Any] | None = None
        self.tls: Any = None
        self.idle: list[Connection] = []
        self.waiting: deque[Task] = deque()
        self.wanted = False  # whether new requests are steered here


class Place:
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

    def next_after(self, pool: Pool) -> Pool:
        """The next-nearest edge after `pool`, round to the first again."""
        if pool.edge not in self.order:
            return self.current
        return self.pools[self.order[(self.order.index(pool.edge) + 1) % len(self.order)]]
