"""An edge: checks tokens, answers what it may from its own cache, and passes the rest to the
nearest service that lives.

It never tries a request twice. An upstream that dies answers 502, one that is late 504, and no
upstream at all 503.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import jwt

from stormgate.lab.design.health import Health, Probe
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services import schema
from stormgate.lab.services.httpclient import HttpPeer, PeerReply
from stormgate.lab.services.serving import Running, every, failure_kind, problem, reply
from stormgate.net.httpserver import HttpRequest, HttpResponse

_TOKEN_S = 3600
_CACHE_ENTRIES = 20_000
_PASSED = (
    "x-chenu-region",
    "x-chenu-shard",
    "x-chenu-cache",
    "x-chenu-tier",
    "x-chenu-node",
    "x-chenu-epoch",
    "x-chenu-model",
    "x-chenu-model-ms",
    "x-chenu-fleet",
    "x-chenu-cost",
)


class _Route:
    """The way to one region's service."""

    def __init__(self, entry: dict[str, Any], settings: LabSettings) -> None:
        self.region: str = entry["region"]
        self.peer = HttpPeer(entry["host"], entry["port"])
        self.health = Health(settings.route_refused_s, settings.route_silent_s)
        self.shards: set[str] = set()

    def record(self, probe: Probe, began_s: float) -> None:
        if self.health.record(probe, began_s, time.monotonic()) and not self.health.up:
            self.peer.close()


class Edge:
    """State of one edge process; `config` is its wiring (see `wiring.py`)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.settings = LabSettings.from_json(config["settings"])
        self.region: str = config["region"]
        self.secret: str = config["secret"]
        self.shards: tuple[str, ...] = tuple(config["shards"])
        self.local_shards = frozenset(config["local_shards"])
        self.users: int = config["users_per_shard"]
        self.routes = [_Route(entry, self.settings) for entry in config["services"]]
        self._claims: dict[str, tuple[float, str, str]] = {}
        self._cache: dict[tuple[str, str], tuple[float, bytes, str]] = {}

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path = request.path
        if path == "/healthz":
            return self.healthz()
        if path == "/login" and request.method == "POST":
            return self.login(request.body)
        token = request.headers.get("authorization", "")
        claims = self.claims(token[7:]) if token.startswith("Bearer ") else None
        if claims is None:
            return self._said(problem(401, "a valid bearer token is needed"))
        user, shard = claims
        cacheable = request.method == "GET" and path.startswith(("/profile", "/spheres/"))
        if (
            cacheable
            and (found := self._cache.get((user, path))) is not None
            and found[0] > time.monotonic()
        ):
            return self._said(reply(200, found[1], self._facts(found[2], "hit", "edge")))
        response = await self.forward(request, user, shard)
        # Rows of a continent stay there, in the edge's memory too.
        if cacheable and response.status == 200 and shard in self.local_shards:
            self._remember((user, path), response, shard)
        return self._said(response)

    def healthz(self) -> HttpResponse:
        """200 when some service lives. `services` says which can serve everything, `missing` which
        shards none of them can.
        """
        served = {shard for route in self.routes if route.health.up for shard in route.shards}
        missing = [shard for shard in self.shards if shard not in served]
        services = {route.region: self.serves_all(route) for route in self.routes}
        return reply(
            200 if any(route.health.up for route in self.routes) else 503,
            {"services": services, "missing": missing},
        )

    def serves_all(self, route: _Route) -> bool:
        """Whether that service lives and can serve every shard."""
        return route.health.up and route.shards.issuperset(self.shards)

    def login(self, body: bytes) -> HttpResponse:
        """A token for a user that exists; no trip to the core."""
        try:
            user = json.loads(body)["user"]
            found = schema.parse_user(user)
        except (ValueError, KeyError, TypeError):
            return self._said(problem(400, "the body must be JSON: {user}"))
        if found is None or found[0] not in self.shards or found[1] >= self.users:
            return self._said(problem(401, "no such user"))
        now = int(time.time())
        token = jwt.encode(
            {"sub": user, "shard": found[0], "iat": now, "exp": now + _TOKEN_S},
            self.secret,
            algorithm="HS256",
        )
        answer = {"token": token, "user": user, "shard": found[0]}
        return self._said(reply(200, answer, self._facts(found[0], "none", "edge")))

    def claims(self, token: str) -> tuple[str, str] | None:
        """(user, shard) of a valid token; None otherwise. Checked tokens are remembered until they
        expire.
        """
        known = self._claims.get(token)
        now = time.time()
        if known is not None and known[0] > now:
            return known[1], known[2]
        try:
            data = jwt.decode(
                token, self.secret, algorithms=["HS256"], options={"require": ["exp", "sub"]}
            )
            user, shard, expires = str(data["sub"]), str(data["shard"]), float(data["exp"])
        except (jwt.InvalidTokenError, KeyError, ValueError):
            return None
        if len(self._claims) >= _CACHE_ENTRIES:
            self._claims.clear()
        self._claims[token] = (expires, user, shard)
        return user, shard

    async def forward(self, request: HttpRequest, user: str, shard: str) -> HttpResponse:
        """Pass the request to the nearest service that can serve the shard: once."""
        living = [route for route in self.routes if route.health.up]
        # Where none says it can serve the shard, the nearest decides by itself: what it last said
        # may be half a second old.
        route = next(
            (route for route in living if shard in route.shards), living[0] if living else None
        )
        if route is None:
            return problem(503, "no service can be reached", self._facts(shard, "none", "edge"))
        began_s = time.monotonic()
        try:
            answer = await route.peer.request(
                request.method,
                request.target,
                headers={"x-chenu-user": user},
                body=request.body,
                timeout_s=self.settings.edge_timeout_s,
            )
        except OSError as error:  # TimeoutError is one too
            route.record(failure_kind(error), began_s)
            status, why = (504, "is late") if isinstance(error, TimeoutError) else (502, "is gone")
            facts = {**self._facts(shard, "none", "edge"), "x-chenu-region": route.region}
            return problem(status, f"the service in {route.region} {why}", facts)
        return self.relay(answer)

    def relay(self, answer: PeerReply) -> HttpResponse:
        """What a service answered, as the user gets it."""
        passed = {name: answer.headers[name] for name in _PASSED if name in answer.headers}
        return reply(answer.status, answer.body, passed)

    async def probe(self, route: _Route) -> None:
        """Ask one service how it is, and which shards it can serve."""
        began_s = time.monotonic()
        result, body = await route.peer.probe("/healthz", timeout_s=self.settings.probe_timeout_s)
        if result is Probe.OK:
            route.shards = set(json.loads(body)["shards"])
        route.record(result, began_s)

    def _facts(self, shard: str, cache: str, tier: str) -> dict[str, str]:
        return {
            "x-chenu-region": self.region,
            "x-chenu-shard": shard,
            "x-chenu-cache": cache,
            "x-chenu-tier": tier,
        }

    def _said(self, response: HttpResponse) -> HttpResponse:
        response.headers["x-chenu-edge"] = self.region
        return response

    def _remember(self, key: tuple[str, str], response: HttpResponse, shard: str) -> None:
        if len(self._cache) >= _CACHE_ENTRIES:
            self._cache.clear()
        self._cache[key] = (time.monotonic() + self.settings.edge_ttl_s, response.body, shard)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of an edge process."""
    return run(Edge(config))


def run(edge: Edge) -> Running:
    """The handler and loops of this edge."""
    interval_s = edge.settings.route_probe_s
    return edge.handle, [
        every(interval_s, partial(edge.probe, route), partial(edge.serves_all, route))
        for route in edge.routes
    ]
