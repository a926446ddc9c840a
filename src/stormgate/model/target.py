"""The system on trial: where it runs, who uses it, what in it can break."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """How to look at a component from outside, not through the thing that breaks it.

    `protocol` is http, redis, postgres or tcp; `address` is host:port; `path` is for http only.
    """

    protocol: str
    address: str
    path: str = "/healthz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A thing in the target that can break, and what the backend needs to break it.

    `kind`: region, edge, service, cache, database, link, steward, ... `backend` names a file in
    faults/backends/, which declares what `handle` holds (under the names of its fields) and whether
    its components break through `parts`, the names of other components.
    `attributes`: e.g. {"source": "eu-west/edge", "destination": "eu-west/service"} of a link,
    {"shard": "eu"} of a database. `traffic`: `seen` (users' traffic runs through it, and has to be
    seen to before it is broken), `none` (a standby: it carries none until something else breaks)
    or `assured` (it carries some by its owner's word, where nothing here can show it).
    """

    name: str
    kind: str
    backend: str
    region: str | None = None
    handle: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    observe: Observe | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    traffic: str = "seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Users in one place: a share of the traffic, a position, an order of edges, and how each edge
    is reached.

    `links` maps an edge's name to the base URL this population dials for it (in the lab its own
    link with its own RTT). `labels` are facts known of each request before any answer (home shard,
    country), used where a response gives none. `proxy_source`: the client address to announce on
    each connection by a PROXY protocol line. `last_mile_ms` is the round trip between the users and
    where their provider's network begins, which comes on top of the distance.
    """

    name: str
    share: float
    latitude: float
    longitude: float
    edges: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    proxy_source: str | None = None
    last_mile_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenTrip:
    """The round trip between two places of a target by name, ms, as somebody measured it."""

    a: str
    b: str
    rtt_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place where the target runs."""

    name: str
    latitude: float
    longitude: float
    continent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """How users are moved between edges. `mode`: static, dns or table.

    A table is JSON {"version": int, "populations": {name: [edge, ...]}} at `url`, read every
    `interval_ms`.
    """

    mode: str = "static"
    url: str | None = None
    interval_ms: int = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A place where data rests (a database, a cache, a log, a queue) or a region's own door to it,
    and how it is asked past the users' way.

    `reader` is postgres, redis, http, file or command. `region`: where it stands. `address`:
    host:port of postgres and redis. `holds`: what the keys begin with that it should hold; empty:
    every key. What makes it one that is read back: postgres has a `query` with the parameter
    `keys`, redis a `key` with `{key}` in it, http a `url` likewise and `values` (JSON pointers, the
    first found counts), command the argv `read`. Without it is only looked through for canaries:
    postgres, redis and the file at `path` are, and a command with the argv `scan`. `control`: a
    text that is surely in it. Credentials are references (`${NAME}`) only.
    """

    name: str
    reader: str
    region: str | None = None
    address: str = ""
    database: str = "postgres"
    user: str = ""
    password: str = ""
    query: str = ""
    key: str = ""
    url: str = ""
    values: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    read: tuple[str, ...] = ()
    scan: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    control: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRead:
    """How data is read back when the load has ended: `after_s` later (caches have run out, replicas
    have caught up), all of it within `within_s`, at most `most_keys` keys through each http door
    (a sample drawn from the run's seed; stores themselves are asked for all). Meanwhile stores are
    looked through every `scan_every_s`, each within `scan_within_s`.
    """

    after_s: float = 1.0
    within_s: float = 20.0
    most_keys: int = 2000
    scan_every_s: float = 10.0
    scan_within_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The system on trial.

    `provision` asks Stormgate to start the target itself ({"lab": {...}}); the lab returns this
    Target with addresses filled in. `allow` lists the only networks (CIDR) or host names that may
    be contacted. `observe` maps a sample label to the response header it is read from. `status_url`
    answers JSON {"whole": bool, "why": str, "components": {name: {"state": "up"|"down", "role":
    str|null}}}. `canaries` are the words, by class of data, that users put into what must stay in
    its place. `round_trips` win over what is known of the distance between two of its places.
    """

    name: str
    environment: str = "laboratory"
    allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    provision: Mapping[str, Any] | None = None
    regions: tuple[Region, ...] = ()
    populations: tuple[Population, ...] = ()
    components: tuple[Component, ...] = ()
    steering: Steering = field(default_factory=Steering)
    observe: Mapping[str, str] = field(default_factory=dict)
    status_url: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    stores: tuple[Store, ...] = ()
    canaries: Mapping[str, str] = field(default_factory=dict)
    final_read: FinalRead = field(default_factory=FinalRead)
    round_trips: tuple[GivenTrip, ...] = ()

    def component(self, name: str) -> Component:
        """The component of that name; KeyError when there is none."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(f"target {self.name!r} has no component {name!r}")
