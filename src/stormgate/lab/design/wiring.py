"""Who listens where, each process's configuration, and the resolved Target. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stormgate.lab.design.layout import Layout, Link, database
from stormgate.lab.design.settings import Settings
from stormgate.model import Component, Observe, Population, Target

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Wiring:
    """The lab with its ports: of processes by component name, of links by link name."""

    layout: Layout
    ports: Mapping[str, int]
    settings: Settings
    work: Path
    state: Path
    secret: str

    @property
    def control(self) -> Path:
        return self.work / "control.sock"

    @property
    def cluster(self) -> Path:
        return self.work / "cluster.json"

    def data_dir(self, component: str) -> Path:
        """A database's folder."""
        return self.work / component.replace("/", ".")

    def config_path(self, component: str) -> Path:
        return self.work / "config" / f"{component.replace('/', '.')}.json"

    def pid_path(self, component: str) -> Path:
        return self.state / "pids" / f"{component.replace('/', '.')}.json"

    def log_path(self, component: str) -> Path:
        return self.state / "logs" / f"{component.replace('/', '.')}.log"

    def address(self, name: str) -> str:
        return f"{HOST}:{self.ports[name]}"

    def via(self, source: str, destination: str) -> dict[str, Any]:
        """Where `source` dials to reach `destination`."""
        return {"host": HOST, "port": self.ports[Link(source, destination, 0).name]}

    def config(self, component: str) -> dict[str, Any]:
        """The configuration of an edge, a service or the steward."""
        region, _, kind = component.partition("/")
        common = {
            "name": component,
            "port": self.ports[component],
            "settings": self.settings.to_json(),
        }
        if component == "steward":
            return {**common, **self._steward()}
        return {
            **common,
            "region": region,
            **(self._edge(region) if kind == "edge" else self._service(region)),
        }

    def _edge(self, region: str) -> dict[str, Any]:
        layout = self.layout
        return {
            "secret": self.secret,
            "shards": [shard.name for shard in layout.shards],
            "local_shards": [
                shard.name for shard in layout.shards if layout.same_continent(region, shard)
            ],
            "users_per_shard": layout.users_per_shard,
            "services": [
                {"region": other, **self.via(f"{region}/edge", f"{other}/service")}
                for other in layout.nearest(region, layout.regions)
            ],
        }

    def _service(self, region: str) -> dict[str, Any]:
        layout, me = self.layout, f"{region}/service"
        shards = []
        for shard in layout.shards:
            nodes = [
                {
                    "name": database(other, shard.name),
                    "region": other,
                    **self.via(me, database(other, shard.name)),
                }
                for other in layout.nearest(region, shard.regions)
            ]
            cacheable = layout.same_continent(region, shard)
            shards.append(
                {
                    "name": shard.name,
                    "regions": list(shard.regions),
                    "cacheable": cacheable,
                    "nodes": nodes,
                }
            )
        steward = {"host": HOST, "port": self.ports["steward"]}
        return {"shards": shards, "cache": self.via(me, f"{region}/cache"), "steward": steward}

    def _steward(self) -> dict[str, Any]:
        layout = self.layout
        kinds = ("edge", "service")
        return {
            "control": str(self.control),
            "state": str(self.cluster),
            "homes": {
                p.name: p.labels["shard"] for p in layout.target.populations if "shard" in p.labels
            },
            "orders": {name: list(order) for name, order in layout.orders.items()},
            "databases": {
                shard.name: [
                    {
                        "name": database(region, shard.name),
                        "region": region,
                        **self.via("steward", database(region, shard.name)),
                    }
                    for region in shard.regions
                ]
                for shard in layout.shards
            },
            "ways": [
                {
                    "population": population,
                    "edge": edge,
                    **self.via(f"population/{population}", edge),
                }
                for population, order in layout.orders.items()
                for edge in order
            ],
            "processes": {
                f"{r}/{kind}": [HOST, self.ports[f"{r}/{kind}"]]
                for r in layout.regions
                for kind in kinds
            },
            "caches": {f"{r}/cache": [HOST, self.ports[f"{r}/cache"]] for r in layout.regions},
        }

    def start_argv(self, component: str) -> list[str]:
        """The command that brings a component back."""
        return [
            sys.executable,
            "-m",
            "stormgate.lab.runtime.start",
            "--state",
            str(self.state),
            component,
        ]

    def target(self, toxiproxy_url: str, defect: str | None) -> Target:
        """The Target with every address, component and link filled in."""
        asked = self.layout.target
        steward = f"http://{self.address('steward')}"
        attributes = {**asked.attributes, **({"lab_defect": defect} if defect else {})}
        return replace(
            asked,
            populations=tuple(self._population(population) for population in asked.populations),
            components=(*self._regions(), *self._processes(), *self._links(toxiproxy_url)),
            steering=replace(asked.steering, mode="table", url=f"{steward}/steering"),
            status_url=f"{steward}/status",
            attributes=attributes,
        )

    def _population(self, population: Population) -> Population:
        edges = self.layout.orders[population.name]
        links = {
            edge: f"http://{self.address(Link(f'population/{population.name}', edge, 0).name)}"
            for edge in edges
        }
        return replace(population, edges=edges, links=links)

    def _regions(self) -> list[Component]:
        regions = []
        for region in self.layout.regions:
            own = [name for name in self.layout.components() if name.startswith(f"{region}/")]
            touching = [link.name for link in self.layout.links if link.touches(region)]
            regions.append(
                Component(
                    name=region,
                    kind="region",
                    backend="group",
                    region=region,
                    parts=(*own, *touching),
                )
            )
        return regions

    def _processes(self) -> list[Component]:
        components = []
        for name in self.layout.components():
            region, _, rest = name.partition("/")
            kind, _, shard = rest.partition("-")
            kind = {"": "steward", "db": "database"}.get(kind, kind)
            protocol = {"database": "postgres", "cache": "redis"}.get(kind, "http")
            components.append(
                Component(
                    name=name,
                    kind=kind,
                    backend="process",
                    region=region if rest else None,
                    handle={"pid_file": str(self.pid_path(name)), "start": self.start_argv(name)},
                    observe=Observe(protocol=protocol, address=self.address(name)),
                    attributes={"shard": shard} if shard else {},
                )
            )
        return components

    def _links(self, toxiproxy_url: str) -> list[Component]:
        return [
            Component(
                name=link.name,
                kind="link",
                backend="toxiproxy",
                handle={"url": toxiproxy_url, "proxy": link.proxy},
                observe=Observe(protocol="tcp", address=self.address(link.name)),
                attributes={
                    "source": link.source,
                    "destination": link.destination,
                    "rtt_ms": str(link.rtt_ms),
                },
            )
            for link in self.layout.links
        ]
