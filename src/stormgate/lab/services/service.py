"""A region's service: CHE·NU's objects from the regional cache, the nearest replica, or the
primary. Never a second try.
"""

from __future__ import annotations

import json
import time
import uuid
from functools import partial
from typing import Any

import psycopg

from stormgate.lab.design.health import Health, Probe
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services import schema, shared_content
from stormgate.lab.services.books import RESOURCES, Books
from stormgate.lab.services.database import Node
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.inference.router import InferenceRouter
from stormgate.lab.services.ring import server as ring_server
from stormgate.lab.services.serving import Running, every, failure_kind, problem, reply
from stormgate.lab.services.shards import ShardView
from stormgate.lab.services.valkey import Valkey
from stormgate.net.httpserver import HttpRequest, HttpResponse


class RegionCache:
    """The region's Valkey. Whatever it does, a request is answered: without it the database is
    asked.
    """

    def __init__(self, address: tuple[str, int], settings: LabSettings) -> None:
        host, port = address
        self.settings = settings
        self.health = Health(settings.route_refused_s, settings.route_silent_s)
        self._client = Valkey(host, port, settings.cache_timeout_s)

    async def call(self, *command: Any) -> Any:
        """The answer, or None when the cache is down or does not answer in time."""
        if not self.health.up:
            return None
        return await self._try(*command)

    async def probe(self) -> None:
        """Ask whether it is there."""
        await self._try("PING")

    async def _try(self, *command: Any) -> Any:
        began_s = time.monotonic()
        try:
            answer = await self._client.call(*command)
        except OSError as error:  # TimeoutError is one too
            self.health.record(failure_kind(error), began_s, time.monotonic())
            return None
        self.health.record(Probe.OK, began_s, time.monotonic())
        return answer


class Service:
    """State of one service process; `config` is its wiring (see `wiring.py`)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.settings = LabSettings.from_json(config["settings"])
        self.region: str = config["region"]
        self.cache = RegionCache((config["cache"]["host"], config["cache"]["port"]), self.settings)
        self.shards = {entry["name"]: ShardView(entry, self.settings) for entry in config["shards"]}
        self.steward = HttpPeer(config["steward"]["host"], config["steward"]["port"])
        self.books = Books(self.settings.service_timeout_s)
        self.router = self.inference(config["models"]) if config.get("models") else None
        way = config.get("ring")
        self.ring = HttpPeer(way["host"], way["port"]) if way else None

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request of an edge."""
        parts = request.path.strip("/").split("/")
        if parts == ["healthz"]:
            return self.healthz()
        user = request.headers.get("x-chenu-user", "")
        if not user and parts[0] in {"users", "shards"} and len(parts) > 2:
            # From inside, past the edges, which never leave the user out: whoever operates the lab
            # reads as that user would, or as somebody of that shard.
            user, parts = parts[1] if parts[0] == "users" else f"{parts[1]}-0", parts[2:]
        parsed = schema.parse_user(user)
        shard = self.shards.get(parsed[0]) if parsed else None
        if parsed is None or shard is None:
            return problem(400, "no such user")
        if self.ring is not None and (parts[0] == "ring" or parts == ["shards"]):
            return await ring_server.passed(self.ring, request, self.settings.service_timeout_s)
        values = {"user": user, "home": schema.home_region(parsed[1], shard.regions)}
        try:
            if request.method == "GET":
                return await self.read(shard, values, parts, request)
            if request.method == "POST":
                return await self.write(shard, values, parts, request.body)
        except TimeoutError as error:
            return problem(504, str(error), self._facts(shard, "none", "none"))
        except ConnectionError as error:
            return problem(502, str(error), self._facts(shard, "none", "none"))
        except psycopg.Error as error:
            return problem(503, f"refused: {error}", self._facts(shard, "none", "none"))
        return problem(405, "GET or POST")

    def inference(self, models: list[dict[str, Any]]) -> InferenceRouter:
        """Who routes calls of the assistant."""
        return InferenceRouter(models, self.settings)

    def database_connections(self) -> int:
        """Open connections to all nodes."""
        return sum(node.connections for shard in self.shards.values() for node in shard.nodes)

    def healthz(self) -> HttpResponse:
        """200 always: a service that answers lives. `shards` are those it can read."""
        body = {
            "shards": [shard.name for shard in self.shards.values() if shard.reader() is not None],
            "cache": self.cache.health.up,
            "databases": {
                node.name: node.health.up for shard in self.shards.values() for node in shard.nodes
            },
            "primaries": {shard.name: shard.primary for shard in self.shards.values()},
        }
        return reply(200, body)

    async def read(
        self, shard: ShardView, values: dict[str, Any], parts: list[str], request: HttpRequest
    ) -> HttpResponse:
        """Cache, then the nearest current node."""
        if parts[0] in RESOURCES:
            if (node := shard.reader()) is None:
                return self._unreadable(shard)
            return await self.books.read(
                node, parts, self._facts(shard, "none", _tier(shard, node))
            )
        if parts[0] in shared_content.RESOURCES:
            if (node := shard.reader()) is None:
                return self._unreadable(shard)
            facts = self._facts(shard, "none", _tier(shard, node))
            return await shared_content.answer(node, parts, facts, self.settings)
        question = _question(parts, values, request.query.get("sphere", schema.SPHERES[0]))
        if question is None:
            return problem(404, "there is no such thing", self._facts(shard, "none", "none"))
        key, sql, parameters = question
        cached = await self.cache.call("GET", key) if shard.cacheable else None
        if cached is not None:
            return reply(200, cached, self._facts(shard, "hit", "cache"))
        node = shard.reader()
        if node is None:
            return self._unreadable(shard)
        row = await node.query(sql, parameters, self.settings.service_timeout_s)
        facts = self._facts(shard, "miss" if shard.cacheable else "none", _tier(shard, node))
        if row is None:
            return problem(404, "there is no such thing", facts)
        if shard.cacheable:
            ttl_s = (
                self.settings.thread_ttl_s if parts[0] == "threads" else self.settings.profile_ttl_s
            )
            await self.cache.call("SET", key, row[0], "PX", int(ttl_s * 1000))
        return reply(200, row[0], facts)

    async def write(
        self, shard: ShardView, values: dict[str, Any], parts: list[str], body: bytes
    ) -> HttpResponse:
        """To the primary, and acknowledged only when it says so: with a synchronous standby, when
        both sites have it.
        """
        if parts == ["assistant"] and self.router is not None:
            facts = self._facts(shard, "none", "none")
            del facts["x-chenu-tier"]  # no data was read: the model's own tier is said instead
            return await self.router.answer(body, facts)
        if parts[0] in RESOURCES:
            if (node := shard.writer()) is None:
                return self._without_primary(shard)
            return await self.books.write(node, parts, body, self._written(shard, node))
        parameters = _content(parts, body)
        if parameters is None:
            return problem(
                400,
                "an id (UUID), and sphere and title, or body, are needed",
                self._facts(shard, "none", "none"),
            )
        return await self.store(shard, values, parameters)

    async def store(
        self, shard: ShardView, values: dict[str, Any], parameters: dict[str, Any]
    ) -> HttpResponse:
        """A thread or a message into the shard that takes it."""
        creates = "thread" not in parameters
        shard = await self.place(shard, creates=creates)
        node = shard.writer()
        if node is None:
            return self._without_primary(shard)
        facts = self._written(shard, node)
        sql = schema.CREATE_THREAD if creates else schema.WRITE_MESSAGE
        row = await node.query(sql, {**values, **parameters}, self.settings.service_timeout_s)
        if not creates and (row is None or row[0] == 0):
            return problem(404, "there is no such thread", facts)
        created = row is not None and (creates or row[1] == 1)
        if shard.cacheable:
            # A log is a store too: what a user wrote stays on the continent of their shard.
            self.log(values["user"], parameters)
            if created:
                await self.invalidate(values["user"], parameters)
        return reply(201 if created else 200, {"id": parameters["id"], "created": created}, facts)

    async def place(self, shard: ShardView, *, creates: bool) -> ShardView:
        """The shard that takes a write of a user of `shard`: always that one."""
        return shard

    async def invalidate(self, user: str, parameters: dict[str, Any]) -> None:
        """What a write made stale goes out of the cache here; other regions' run out by
        themselves.
        """
        if "thread" in parameters:
            await self.cache.call("DEL", f"thread:{user}:{parameters['thread']}")
        else:
            sphere = parameters["sphere"]
            await self.cache.call("DEL", f"threads:{user}:{sphere}", f"sphere:{user}:{sphere}")

    async def follow_steward(self) -> None:
        """Learn who the primaries are. Without the steward the last answer stands."""
        try:
            answer = await self.steward.request(
                "GET", "/cluster", timeout_s=self.settings.probe_timeout_s
            )
        except OSError:
            return
        if answer.status == 200:
            for name, state in json.loads(answer.body).items():
                self.shards[name].primary = state["primary"]
                self.shards[name].readable = frozenset(state["readable"])
                self.shards[name].epoch = state["epoch"]

    def log(self, user: str, parameters: dict[str, Any]) -> None:
        """A line about a write, with how its text begins, into this region's log."""
        text = parameters.get("title") or parameters.get("body") or ""
        line = {"region": self.region, "user": user, "wrote": parameters["id"], "text": text[:80]}
        print(json.dumps(line), flush=True)

    def _unreadable(self, shard: ShardView) -> HttpResponse:
        why = f"no node of shard {shard.name} can be read"
        return problem(503, why, self._facts(shard, "none", "none"))

    def _without_primary(self, shard: ShardView) -> HttpResponse:
        why = f"shard {shard.name} has no primary"
        return problem(503, why, self._facts(shard, "none", "none"))

    def _written(self, shard: ShardView, node: Node) -> dict[str, str]:
        """Of a write: also which node takes it, and in which epoch of the shard, as far as is known
        here.
        """
        side = {"x-chenu-node": node.region, "x-chenu-epoch": str(shard.epoch)}
        return {**self._facts(shard, "none", "primary"), **side}

    def _facts(self, shard: ShardView, cache: str, tier: str) -> dict[str, str]:
        return {
            "x-chenu-region": self.region,
            "x-chenu-shard": shard.name,
            "x-chenu-cache": cache,
            "x-chenu-tier": tier,
        }


def _tier(shard: ShardView, node: Node) -> str:
    return "primary" if node.region == shard.primary else "replica"


def _question(
    parts: list[str], values: dict[str, Any], sphere: str
) -> tuple[str, str, dict[str, Any]] | None:
    """Cache key, SQL and parameters of a read; None for what does not exist."""
    user = values["user"]
    match parts:
        case ["profile"]:
            return f"profile:{user}", schema.PROFILE, values
        case ["spheres", name] if name in schema.SPHERES:
            return f"sphere:{user}:{name}", schema.SPHERE, {**values, "sphere": name}
        case ["threads"] if sphere in schema.SPHERES:
            return f"threads:{user}:{sphere}", schema.LIST_THREADS, {**values, "sphere": sphere}
        case ["threads", thread] if (found := _uuid(thread)) is not None:
            return f"thread:{user}:{found}", schema.OPEN_THREAD, {**values, "thread": found}
    return None


def _content(parts: list[str], body: bytes) -> dict[str, Any] | None:
    """The parameters of a write; None where the request makes no sense."""
    try:
        data = json.loads(body)
        identity = _uuid(data["id"])
        if identity is None:
            return None
        common = {"id": identity, "version": _version(data)}
        if parts == ["threads"] and data["sphere"] in schema.SPHERES:
            return {**common, "sphere": data["sphere"], "title": str(data["title"])[:200]}
        if (
            len(parts) == 3
            and parts[0] == "threads"
            and parts[2] == "messages"
            and (thread := _uuid(parts[1])) is not None
        ):
            return {**common, "thread": thread, "body": str(data["body"])[:2000]}
    except (ValueError, KeyError, TypeError):
        return None
    return None


def _version(data: dict[str, Any]) -> int | None:
    """The writer's own number of a write, where it gives one. Raises ValueError for none."""
    version = data.get("version")
    if version is not None and (type(version) is not int or not 0 < version < 2**62):
        raise ValueError(version)
    return version


def _uuid(text: Any) -> str | None:
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError):
        return None


def _seen(health: Health) -> bool:
    return health.seen


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of a service process."""
    return run(Service(config))


def run(service: Service) -> Running:
    """The handler and loops of this service."""
    settings = service.settings
    nodes = [node for shard in service.shards.values() for node in shard.nodes]
    loops = [
        every(
            settings.route_probe_s,
            partial(node.probe, settings.probe_timeout_s),
            partial(_seen, node.health),
        )
        for node in nodes
    ]
    loops.append(
        every(settings.route_probe_s, service.cache.probe, partial(_seen, service.cache.health))
    )
    loops.append(every(settings.database_probe_s, service.follow_steward))
    loops += service.router.loops() if service.router is not None else []
    return service.handle, loops
