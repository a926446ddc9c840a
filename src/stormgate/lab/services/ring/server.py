"""The ring: values by key on shards that are chosen by consistent hashing, one shard more when they
are too busy, without a key being away for a moment.

Its shards are parts of this one process: what is real is where each key is, how many move, and that
they do so while they are read and written.
"""

from __future__ import annotations

import json
import time
from collections import deque
from functools import partial
from typing import Any

from stormgate.lab.design.ring import Ring
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.serving import Running, every, failure_kind, problem, reply
from stormgate.net.httpserver import HttpRequest, HttpResponse

# A shard above this part of its capacity splits, once it was so for this long.
_HOT = 0.8
_HOT_S = 3.0
_LOOK_S = 0.5
_MEMORY = 0.7  # of the last looks' rate in the next one's
_BATCH = 20
_MOVE_S = 0.05


class RingServer:
    """State of the ring's process; `config`: shards, most, capacity_per_s, virtual_nodes."""

    def __init__(self, config: dict[str, Any]) -> None:
        names = tuple(f"ring-{number}" for number in range(config["shards"]))
        self.ring = self.first(names, config["virtual_nodes"])
        self.most: int = config["most"]
        self.capacity_per_s: float = config["capacity_per_s"]
        self.stores: dict[str, dict[str, str]] = {name: {} for name in names}
        self.where: dict[str, str] = {}
        self.moving: deque[str] = deque()
        self.splits = self.moved = 0
        self.rates = dict.fromkeys(names, 0.0)
        self._asked = dict.fromkeys(names, 0)
        self._looked_s = self._cool_s = time.monotonic()

    def first(self, names: tuple[str, ...], virtual_nodes: int) -> Ring:
        """The ring at the start."""
        return Ring(names, virtual_nodes)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        parts = request.path.strip("/").split("/")
        match parts:
            case ["healthz"]:
                return reply(200, {"shards": []})
            case ["shards"]:
                return reply(200, self.told())
            case ["shards", "split"] if request.method == "POST":
                return reply(200 if self.split() else 409, self.told())
            case ["ring", key] if 0 < len(key) <= 100:
                return self.keyed(request, key)
        return problem(404, "there is no such thing")

    def keyed(self, request: HttpRequest, key: str) -> HttpResponse:
        """A read or a write, where the key is now."""
        shard = self.where.get(key) or self.ring.owner(key)
        self._asked[shard] += 1
        facts = {"x-chenu-ring-shard": shard, "x-chenu-key": key, "x-chenu-tier": "primary"}
        if request.method == "GET":
            value = self.stores[shard].get(key)
            if value is None:
                return problem(404, "there is no such key", facts)
            return reply(200, {"key": key, "value": value}, facts)
        try:
            value = str(json.loads(request.body)["value"])[:200]
        except (ValueError, KeyError, TypeError):
            return problem(400, "the body must be JSON: {value}", facts)
        self.where[key] = shard
        self.stores[shard][key] = value
        return reply(200, {"key": key, "value": value}, facts)

    def told(self) -> dict[str, Any]:
        """The shards, their keys and their load."""
        return {
            "shards": {
                name: {
                    "keys": len(store),
                    "rate_per_s": round(self.rates[name], 2),
                    "load": round(self.rates[name] / self.capacity_per_s, 3),
                }
                for name, store in self.stores.items()
            },
            "virtualNodes": self.ring.virtual_nodes,
            "splits": self.splits,
            "moved": self.moved,
            "moving": len(self.moving),
        }

    def split(self) -> bool:
        """One shard more, where one may be; its keys come one batch after the other."""
        if len(self.stores) >= self.most or self.moving:
            return False
        name = f"ring-{len(self.stores)}"
        after = self.ring.grown(name)
        self.stores[name], self.rates[name], self._asked[name] = {}, 0.0, 0
        self.moving.extend(self.ring.moving(self.where, after))
        self.ring, self.splits = after, self.splits + 1
        print(f"{time.monotonic():.3f} split to {name}, {len(self.moving)} keys", flush=True)
        return True

    async def move(self) -> None:
        """Bring some keys to where they belong. Each is in one place or the other, never in none:
        nothing else runs between.
        """
        for _ in range(min(_BATCH, len(self.moving))):
            key = self.moving.popleft()
            here, there = self.where[key], self.ring.owner(key)
            self.stores[there][key] = self.stores[here].pop(key)
            self.where[key] = there
            self.moved += 1

    async def look(self) -> None:
        """Measure each shard's load; one that stays hot has the ring split."""
        now = time.monotonic()
        elapsed_s, self._looked_s = now - self._looked_s, now
        for name, count in self._asked.items():
            self.rates[name] = _MEMORY * self.rates[name] + (1 - _MEMORY) * count / max(
                elapsed_s, 1e-3
            )
            self._asked[name] = 0
        if not self.is_hot():
            self._cool_s = now
        elif now - self._cool_s >= _HOT_S:
            self._cool_s = now
            self.split()

    def is_hot(self) -> bool:
        """Whether a shard has more to do than it should."""
        return max(self.rates.values()) > _HOT * self.capacity_per_s


async def passed(peer: HttpPeer, request: HttpRequest, timeout_s: float) -> HttpResponse:
    """What the ring says to a request of a service's users."""
    try:
        answer = await peer.request(
            request.method, request.target, body=request.body, timeout_s=timeout_s
        )
    except OSError as error:
        late = failure_kind(error)
        return problem(502, f"the ring cannot be asked: {late.name.lower()}")
    told = {name: value for name, value in answer.headers.items() if name.startswith("x-chenu-")}
    return reply(answer.status, answer.body, told)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of the ring's process."""
    return run(RingServer(config))


def run(server: RingServer) -> Running:
    """The handler and loops of this ring."""
    loops = [every(_LOOK_S, partial(server.look)), every(_MOVE_S, partial(server.move))]
    return server.handle, loops
