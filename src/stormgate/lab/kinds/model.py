"""Model servers, where `provision.lab.inference` asks for them: one process a region, tier and
fleet. Program: services/inference/model.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stormgate.lab.design import cloud
from stormgate.lab.design.inference import ModelServer, servers
from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import ProcessKind


class ModelKind(ProcessKind):
    """Dialled by the router of every region's service."""

    name = "model"
    rank = 1
    program = "stormgate.lab.services.inference.model:start"

    def parts(self, layout: Layout) -> Iterable[Process]:
        return [
            Process(
                server.name,
                self.name,
                server.region,
                attributes={"tier": server.tier, "fleet": server.fleet},
            )
            for server in servers(layout.target)
        ]

    def links(self, layout: Layout) -> Iterable[Hop]:
        for server in servers(layout.target):
            there = layout.region(server.region)
            for here in layout.target.regions:
                yield Hop(f"{here.name}/service", server.name, layout.hop_ms(here, there))

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        path = (
            cloud.reserved_path(wiring, part.name) if cloud.wanted(wiring.layout.target) else None
        )
        return {"region": part.region, "reserved": path and str(path), **part.attributes}


def routes(wiring: Wiring, region: str) -> list[dict[str, Any]]:
    """The model servers as a region's service reaches them, the nearest first."""
    found: list[ModelServer] = list(servers(wiring.layout.target))
    order = wiring.layout.nearest(region, wiring.layout.regions)
    return [
        {
            "tier": server.tier,
            "fleet": server.fleet,
            "region": server.region,
            **wiring.via(f"{region}/service", server.name),
        }
        for server in sorted(found, key=lambda one: order.index(one.region))
    ]


KIND = ModelKind()
