"""What the lab's processes are told, and the Target with every address, component and link filled
in. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stormgate.lab.design import cloud
from stormgate.lab.design.layout import Hop
from stormgate.lab.design.observability import observability
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import kind_of, kinds
from stormgate.model import Component, Observe, Population, Store, Target


def config(wiring: Wiring, component: str) -> dict[str, Any]:
    """The configuration of a program of our own."""
    own = kind_of(wiring.layout, component).config(wiring, wiring.layout.part(component))
    return {
        "name": component,
        "port": wiring.ports[component],
        "settings": wiring.settings.to_json(),
        "metrics": observability(wiring.layout.target) is not None,
        "otlp": (observability(wiring.layout.target) or {}).get("otlp"),
        **own,
    }


def resolved(wiring: Wiring, toxiproxy_url: str, defect: str | None) -> Target:
    """The Target with every address, component and link filled in."""
    asked = wiring.layout.target
    steward = f"http://{wiring.address('steward')}"
    attributes = {**asked.attributes, **({"lab_defect": defect} if defect else {})}
    target = replace(
        asked,
        populations=tuple(_population(wiring, population) for population in asked.populations),
        components=(*_regions(wiring), *_processes(wiring), *_links(wiring, toxiproxy_url)),
        steering=replace(asked.steering, mode="table", url=f"{steward}/steering"),
        status_url=f"{steward}/status",
        attributes=attributes,
        stores=(*asked.stores, *_stores(wiring)),
    )
    return cloud.dressed(target, wiring) if cloud.wanted(asked) else target


def _population(wiring: Wiring, population: Population) -> Population:
    edges = wiring.layout.orders[population.name]
    links = {
        edge: f"http://{wiring.address(Hop(f'population/{population.name}', edge, 0).name)}"
        for edge in edges
    }
    return replace(population, edges=edges, links=links)


def _regions(wiring: Wiring) -> list[Component]:
    regions = []
    for region in wiring.layout.regions:
        own = [part.name for part in wiring.layout.parts if part.region == region]
        touching = [link.name for link in wiring.layout.links if link.touches(region)]
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


def _processes(wiring: Wiring) -> list[Component]:
    return [
        Component(
            name=part.name,
            kind=part.kind,
            backend="process",
            region=part.region,
            handle={
                "pid_file": str(wiring.pid_path(part.name)),
                "start": wiring.start_argv(part.name),
            },
            observe=Observe(
                protocol=kinds()[part.kind].protocol, address=wiring.address(part.name)
            ),
            attributes=dict(part.attributes),
        )
        for part in wiring.layout.parts
    ]


def _stores(wiring: Wiring) -> list[Store]:
    parts = wiring.layout.parts
    return [store for part in parts for store in kinds()[part.kind].stores(wiring, part)]


def _links(wiring: Wiring, toxiproxy_url: str) -> list[Component]:
    return [
        Component(
            name=link.name,
            kind="link",
            backend="toxiproxy",
            handle={"url": toxiproxy_url, "proxy": link.proxy},
            observe=Observe(protocol="tcp", address=wiring.address(link.name)),
            attributes={
                "source": link.source,
                "destination": link.destination,
                "rtt_ms": str(link.rtt_ms),
            },
            # Of the two links between the nodes of a shard only the standby's carries replication,
            # and which node that is changes with every failover.
            traffic="none" if _between_databases(link) else "seen",
        )
        for link in wiring.layout.links
    ]


def _between_databases(link: Hop) -> bool:
    return all("/db-" in end for end in (link.source, link.destination))
