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

from stormgate.lab.design.health import Health, Probe
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services import schema
from stormgate.lab.services.httpclient import HttpPeer, PeerReply
from stormgate.lab.services.serving import Running, every, failure_kind, problem, reply
from stormgate.lab.services.shared_cache import PREFIXES, SharedCache, unchanged
from stormgate.lab.services.tokens import AUDIENCE, LIFETIME_S, Claims, TokenWorks
from stormgate.lab.services.warming import Warmer
from stormgate.net.httpserver import HttpRequest, HttpResponse

_CACHE_ENTRIES = 20_000
_WARM_S = 0.2
# What the check of a token may take at the edge, ms; which side of it one was is a header.
_QUICK_MS = 5.0
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
    "x-chenu-ring-shard",
    "x-chenu-key",
    "cache-control",
    "etag",
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
        self.tokens = TokenWorks(config["secret"], config.get("private_key", ""))
        self.shards: tuple[str, ...] = tuple(config["shards"])
        self.local_shards = frozenset(config["local_shards"])
        self.users: int = config["users_per_shard"]
        self.routes = [_Route(entry, self.settings) for entry in config["services"]]
        self.shared = SharedCache()
        wanted = config.get("warmer")
        self.warmer = Warmer(wanted, self.shards, self.fetch) if wanted else None
        self._claims: dict[str, Claims] = {}
        self._cache: dict[tuple[str, str], tuple[float, bytes, str]] = {}

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path = request.path
        if path == "/healthz":
            return self.healthz()
        if path == "/login" and request.method == "POST":
            return self.login(request.body)
        if path == "/keys":
            return self.keys()
        began_s = time.perf_counter()
        claims = await self.admit(request.headers.get("authorization", ""))
        checked_ms = (time.perf_counter() - began_s) * 1000
        if isinstance(claims, HttpResponse):
            return self._timed(self._said(claims), checked_ms)
        if path in {"/session", "/mfa", "/vault"}:
            return self._timed(self.own(request, claims), checked_ms)
        return self._timed(await self.content(request, path, claims), checked_ms)

    async def admit(self, authorization: str) -> Claims | HttpResponse:
        """Who asks, or how they are refused. No trip to the core."""
        token = authorization[7:] if authorization.startswith("Bearer ") else ""
        return self.claims(token) or problem(401, "a valid bearer token is needed")

    async def content(self, request: HttpRequest, path: str, claims: Claims) -> HttpResponse:
        """What services have, from here where it may be kept here."""
        user, shard = claims.user, claims.shard
        if self.warmer is not None:
            self.warmer.asked(time.monotonic())
        if request.method == "GET" and path.startswith(PREFIXES):
            key = self.shared.key(request.target, user, shard)
            fetch = partial(self.forward, request, user, shard)
            return self._said(unchanged(request, await self.shared.answer(key, fetch)))
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

    async def warm(self) -> None:
        """Fetch what will be wanted, where it is time."""
        if self.warmer is not None:
            await self.warmer.step(time.monotonic())

    async def fetch(self, path: str, shard: str) -> HttpResponse:
        """A shared answer into the cache, as somebody of that shard would have it."""
        user = f"{shard}-0"
        key = self.shared.key(path, user, shard)
        request = HttpRequest("GET", path)
        return await self.shared.answer(key, partial(self.forward, request, user, shard))

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
        """A token for a user that exists; no trip to the core. As any issuer of tokens it also
        gives those that live shorter, or are for others.
        """
        try:
            data = json.loads(body)
            found = schema.parse_user(user := data["user"])
            lifetime_s = float(data.get("expiresIn", LIFETIME_S))
            audience, algorithm = str(data.get("audience", AUDIENCE)), data.get("alg", "HS256")
        except (ValueError, KeyError, TypeError):
            return self._said(problem(400, "the body must be JSON: {user}"))
        if found is None or found[0] not in self.shards or found[1] >= self.users:
            return self._said(problem(401, "no such user"))
        if not 0 < lifetime_s <= LIFETIME_S or algorithm not in self.tokens.algorithms:
            told = f"expiresIn up to {LIFETIME_S}, alg one of {', '.join(self.tokens.algorithms)}"
            return self._said(problem(400, told))
        token = self.tokens.issue(
            user,
            found[0],
            time.time(),
            lifetime_s=lifetime_s,
            audience=audience,
            algorithm=algorithm,
        )
        answer = {"token": token, "user": user, "shard": found[0]}
        return self._said(reply(200, answer, self._facts(found[0], "none", "edge")))

    def keys(self) -> HttpResponse:
        """What anybody may check tokens of RS256 with."""
        if not self.tokens.private_key:
            return self._said(problem(404, "tokens are signed with a secret alone"))
        return self._said(reply(200, {"publicKey": self.tokens.public_key}))

    def own(self, request: HttpRequest, claims: Claims) -> HttpResponse:
        """What an edge answers by itself: the session, its second factor, and what needs one."""
        facts = self._facts(claims.shard, "none", "edge")
        if request.path == "/session":
            left_s = round(claims.expires_s - time.time(), 3)
            said = {"user": claims.user, "secondFactor": claims.second_factor, "left_s": left_s}
            return self._said(reply(200, said, facts))
        if request.path == "/vault":
            if not claims.second_factor:
                return self._said(problem(403, "a second factor is needed", facts))
            return self._said(reply(200, {"user": claims.user, "open": True}, facts))
        if request.method == "GET":
            return self._said(reply(200, {"seed": self.tokens.seed(claims.user)}, facts))
        try:
            code = json.loads(request.body)["code"]
        except (ValueError, KeyError, TypeError):
            return self._said(problem(400, "the body must be JSON: {code}", facts))
        now_s = time.time()
        if not self.tokens.is_code(claims.user, code, now_s):
            return self._said(problem(401, "that is not the code", facts))
        token = self.tokens.issue(claims.user, claims.shard, now_s, second_factor=True)
        return self._said(reply(200, {"token": token, "user": claims.user}, facts))

    def claims(self, token: str) -> Claims | None:
        """What a valid token says; None otherwise. Checked tokens are remembered until they
        expire.
        """
        known = self._claims.get(token)
        if known is not None and known.expires_s > time.time():
            return known
        found = self.tokens.check(token) if token else None
        if found is not None:
            if len(self._claims) >= _CACHE_ENTRIES:
                self._claims.clear()
            self._claims[token] = found
        return found

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

    def _timed(self, response: HttpResponse, checked_ms: float) -> HttpResponse:
        response.headers["server-timing"] = f"auth;dur={checked_ms:.3f}"
        response.headers["x-chenu-auth"] = "quick" if checked_ms <= _QUICK_MS else "slow"
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
    edge.tokens.ready()
    interval_s = edge.settings.route_probe_s
    loops = [
        every(interval_s, partial(edge.probe, route), partial(edge.serves_all, route))
        for route in edge.routes
    ]
    return edge.handle, loops + ([] if edge.warmer is None else [every(_WARM_S, edge.warm)])
