"""Where a population's requests go: its edges in order, and the keep-alive connections to each."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stormgate.load.flow import header_block
from stormgate.model import Population

if TYPE_CHECKING:
    from stormgate.load.engine.attempt import Task
    from stormgate.load.http.connection import Connection


class NotAllowedError(ValueError):
    """An address outside the target's `allow` list: nothing may be sent there."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A base URL taken apart."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"
        )


def parse_origin(url: str) -> Origin:
    """Raises ValueError naming the URL when it is not http(s)://host[:port][/prefix]."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not a base URL of the form http(s)://host[:port]")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Origin(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


class AllowList:
    """The only networks and host names that may be contacted. None: all (a user's own `-H host`,
    without a target).
    """

    def __init__(self, allow: Sequence[str] | None) -> None:
        self._all = allow is None
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in allow or ():
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.add(entry.lower().rstrip("."))

    def permits(self, host: str, address: str) -> bool:
        """Whether `address` (to which `host` resolved) may be contacted."""
        if self._all or host.lower().rstrip(".") in self._names:
            return True
        ip = ipaddress.ip_address(address.partition("%")[0])
        return any(ip in network for network in self._networks if network.version == ip.version)


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
