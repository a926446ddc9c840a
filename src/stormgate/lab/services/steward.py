"""The steward: watches shards and edges, fails shards over, steers users, and says how the whole
lab is.

It stands for what is spread over many places in a real system (a consensus group, DNS health
checkers). It sees each edge through the links of each population, and each database through a link
of its own, so that what is cut off from users is cut off from it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from stormgate.lab.design import failover
from stormgate.lab.design.health import Health, Probe
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.errors import LabError
from stormgate.lab.runtime import control
from stormgate.lab.services import steward_state
from stormgate.lab.services.database import Node
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.serving import Running, every, failure_kind, problem, reply
from stormgate.lab.services.valkey import Valkey
from stormgate.net.httpserver import HttpRequest, HttpResponse

_LOOK = (
    "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names') <> '',"
    " r.state = 'streaming' AND clock_timestamp() - r.reply_time < interval '2.5 s',"
    " CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), "
    "r.flush_lsn)::bigint END"
    " FROM (SELECT 1) one LEFT JOIN pg_stat_replication r ON r.application_name = %(peer)s"
)
_STATUS_PROBE_S = 0.5
_ACT_S = 2.0
_SETTLED_S = 10.0


class _Database:
    """A database node as the steward sees it."""

    def __init__(self, entry: dict[str, Any], peer: str, settings: LabSettings) -> None:
        self.region: str = entry["region"]
        self.name: str = entry["name"]
        self.peer = peer
        health = Health(settings.database_refused_s, settings.database_silent_s)
        self.node = Node(self.name, self.region, (entry["host"], entry["port"]), health, warm=0)
        self.view = failover.NodeView(up=False)
        self._streaming: bool | None = None
        self._since_s = 0.0

    async def look(self, timeout_s: float) -> None:
        """Refresh `view`."""
        began_s = time.monotonic()
        try:
            row = await self.node.query(_LOOK, {"peer": self.peer}, timeout_s)
        except (OSError, psycopg.Error):
            # Still up in our eyes, perhaps; but what it would say now is unknown.
            self.view = failover.NodeView(up=self.node.health.up, dead=self.node.health.dead)
            return
        assert row is not None  # noqa: S101
        now = time.monotonic()
        self.node.record(Probe.OK, began_s)
        if bool(row[2]) != self._streaming:
            self._streaming, self._since_s = bool(row[2]), began_s
        for_s = (now - self._since_s) * (1 if self._streaming else -1)
        self.view = failover.NodeView(
            up=self.node.health.up,
            in_recovery=row[0],
            streams_for_s=for_s,
            lag_bytes=row[3],
            awaits=row[1],
        )

    async def run(self, sql: str) -> None:
        """Execute one statement. Raises psycopg.Error or OSError."""
        await self.node.query(sql, {}, _ACT_S)


class _Watched:
    """Something that answers GET /healthz: its health and what it last said. Without the shard it
    is `needed` for it refuses.
    """

    def __init__(self, address: tuple[str, int], health: Health, needed: str | None = None) -> None:
        self.needed = needed
        self.peer = HttpPeer(*address)
        self.health = health
        self.said: dict[str, Any] = {}

    async def look(self, timeout_s: float) -> None:
        began_s = time.monotonic()
        result, body = await self.peer.probe("/healthz", timeout_s=timeout_s)
        if result is Probe.OK:
            self.said = json.loads(body)
            if self.needed in self.said.get("missing", ()):
                result = Probe.REFUSED
        if self.health.record(result, began_s, time.monotonic()) and not self.health.up:
            self.peer.close()


class _WatchedCache:
    """A Valkey, asked at its own port. It says nothing of others."""

    def __init__(self, address: tuple[str, int], health: Health) -> None:
        self._address = address
        self.health = health
        self.said: dict[str, Any] = {}

    async def look(self, timeout_s: float) -> None:
        began_s = time.monotonic()
        client = Valkey(*self._address, timeout_s)
        try:
            await client.call("PING")
            result = Probe.OK
        except OSError as error:
            result = failure_kind(error)
        finally:
            client.close()
        self.health.record(result, began_s, time.monotonic())


_WATCHES = {"http": _Watched, "redis": _WatchedCache}


class Steward:
    """State of the steward process; `config` is its wiring (see `wiring.py`)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.settings = settings = LabSettings.from_json(config["settings"])
        self.control = Path(config["control"])
        self.state_path = Path(config["state"])
        self.states = steward_state.load(self.state_path)
        self.orders: dict[str, list[str]] = config["orders"]
        self.databases: dict[str, dict[str, _Database]] = {}
        for name, entries in config["databases"].items():
            first, second = entries
            pair = [
                _Database(first, second["region"], settings),
                _Database(second, first["region"], settings),
            ]
            self.databases[name] = {node.region: node for node in pair}
        self.ways = {
            (way["population"], way["edge"]): _Watched(
                (way["host"], way["port"]),
                Health(settings.edge_refused_s, settings.edge_silent_s, settings.edge_back_s),
                needed=config["homes"].get(way["population"]),
            )
            for way in config["ways"]
        }
        self.watched: dict[str, _Watched | _WatchedCache] = {
            entry["name"]: _WATCHES[entry["protocol"]](
                (entry["host"], entry["port"]), Health(0.0, 1.5)
            )
            for entry in config["watched"]
        }
        self.table = {population: list(order) for population, order in self.orders.items()}
        self.version = 1
        # Edges that somebody took out of service: kept, for who did so is told of no restart.
        self.out_path = self.state_path.with_name("out.json")
        self.out = steward_state.load_out(self.out_path) & {edge for _, edge in self.ways}
        self.was_whole = False

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        match request.path:
            case "/steering":
                return reply(200, {"version": self.version, "populations": self.table})
            case "/targets":
                return self.targets(request)
            case "/cluster":
                return reply(200, {name: self.cluster(name) for name in self.states})
            case "/status":
                return reply(200, self.status())
            case "/healthz":
                return reply(
                    200, {"epochs": {name: state.epoch for name, state in self.states.items()}}
                )
        return problem(404, "there is no such thing")

    def targets(self, request: HttpRequest) -> HttpResponse:
        """Which edges are out of service: `{"out": [...]}`, to be read and, by PUT, to be set."""
        if request.method == "PUT":
            try:
                out = frozenset(map(str, json.loads(request.body)["out"]))
            except (ValueError, KeyError, TypeError):
                return problem(400, 'it takes {"out": [edge, ...]}')
            if unknown := out - {edge for _, edge in self.ways}:
                return problem(404, f"there is no edge {min(unknown)}")
            steward_state.save_out(self.out_path, out)
            self.out = out
        return reply(200, {"out": sorted(self.out)})

    def cluster(self, shard: str) -> dict[str, Any]:
        """What services need to know of a shard."""
        state, nodes = self.states[shard], self.databases[shard]
        regions = failover.readable(state, nodes[state.primary].view, nodes[state.standby].view)
        return {"primary": state.primary, "readable": regions, "epoch": state.epoch}

    async def tend(self, shard: str) -> None:
        """Look at a shard's nodes and do the one thing that is due."""
        nodes = self.databases[shard]
        await asyncio.gather(*(node.look(self.settings.probe_timeout_s) for node in nodes.values()))
        state = self.states[shard]
        after, action = failover.decide(
            state,
            nodes[state.primary].view,
            nodes[state.standby].view,
            gone_s=self.settings.standby_gone_s,
            want_synchronous=self.settings.synchronous,
        )
        if after != state:
            self.states[shard] = after
            steward_state.save(self.state_path, self.states)
        if action is not None:
            with contextlib.suppress(OSError, psycopg.Error, LabError):
                await self.act(shard, action)

    async def act(self, shard: str, action: failover.Action) -> None:
        """Carry an action out. What fails is decided anew at the next look."""
        node = self.databases[shard][action.region]
        said = f"{shard}: {action}"
        match action:
            case failover.Promote():
                await node.run("SELECT pg_promote(false)")
            case failover.Await(wait=wait):
                names = f'"{node.peer}"' if wait else ""
                await node.run(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
                await node.run("SELECT pg_reload_conf()")
            case failover.Rejoin():
                await control.ask_async(
                    self.control, {"op": "start", "component": node.name, "again": True}, 30.0
                )
        print(f"{time.monotonic():.3f} {said}", flush=True)

    async def steer(self) -> None:
        """Publish a new table when what users can reach has changed."""
        reachable = {
            (population, edge): way.health.up and edge not in self.out
            for (population, edge), way in self.ways.items()
        }
        table = failover.steer(self.orders, reachable)
        if table != self.table:
            self.table = table
            self.version += 1
            print(f"{time.monotonic():.3f} steering {self.version}: {table}", flush=True)

    def status(self) -> dict[str, Any]:
        """The lab as a whole, and each component's state and role."""
        components: dict[str, dict[str, Any]] = {"steward": {"state": "up", "role": None}}
        for name, watched in self.watched.items():
            components[name] = {"state": _word(watched.health.up), "role": None}
        for shard, nodes in self.databases.items():
            for region, node in nodes.items():
                role = "primary" if region == self.states[shard].primary else "standby"
                components[node.name] = {"state": _word(node.view.up), "role": role}
        why = self._why_not_whole(components)
        self.was_whole = self.was_whole or not why
        return {"whole": not why, "why": why, "components": components}

    def _why_not_whole(self, components: dict[str, dict[str, Any]]) -> str:
        for name, component in components.items():
            if component["state"] != "up":
                return f"{name} is down"
        for shard, state in self.states.items():
            primary, standby = (
                self.databases[shard][region].view for region in (state.primary, state.standby)
            )
            if (
                primary.in_recovery is not False
                or not standby.in_recovery
                or primary.streams_for_s <= 0
            ):
                return f"shard {shard}: {state.standby} does not follow {state.primary}"
            if self.settings.synchronous and not (state.synchronous and primary.awaits):
                return f"shard {shard}: commits do not wait for {state.standby}"
        for name, watched in self.watched.items():
            said = watched.said
            lost = [
                what
                for group in ("services", "databases")
                for what, up in said.get(group, {}).items()
                if not up
            ]
            lost += [] if said.get("cache", True) else ["its cache"]
            if lost:
                return f"{name} does not reach {lost[0]}"
            if any(
                self.states[shard].primary != primary
                for shard, primary in said.get("primaries", {}).items()
            ):
                return f"{name} does not know the present primaries yet"
        for population, order in self.orders.items():
            if self.table[population] != list(order):
                return (
                    f"users in {population} are steered around "
                    f"{next(e for e in order if e not in self.table[population])}"
                )
        return ""


def _word(up: bool) -> str:
    return "up" if up else "down"


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of the steward process."""
    steward = Steward(config)
    settings = steward.settings
    timeout_s = settings.probe_timeout_s

    began_s = time.monotonic()

    def settled() -> bool:
        return steward.was_whole or time.monotonic() - began_s > _SETTLED_S

    loops = [
        every(settings.database_probe_s, partial(steward.tend, shard))
        for shard in steward.databases
    ]
    loops += [
        every(config["edge_probe_s"], partial(way.look, timeout_s), settled)
        for way in steward.ways.values()
    ]
    loops += [
        every(_STATUS_PROBE_S, partial(watched.look, timeout_s), settled)
        for watched in steward.watched.values()
    ]
    loops.append(every(0.1, steward.steer))
    return steward.handle, loops
