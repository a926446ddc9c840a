"""Edges: where users come in, one in every region. Program: services/edge.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.warming import warming_of
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import ProcessKind


class EdgeKind(ProcessKind):
    """Dialled by every population, dials every service."""

    name = "edge"
    rank = 3
    program = "stormgate.lab.services.edge:start"

    def links(self, layout: Layout) -> Iterable[Hop]:
        target = layout.target
        for here in target.regions:
            edge = f"{here.name}/edge"
            for population in target.populations:
                if edge in layout.orders[population.name]:
                    yield Hop(
                        f"population/{population.name}", edge, layout.hop_ms(population, here)
                    )
            for there in target.regions:
                yield Hop(edge, f"{there.name}/service", layout.hop_ms(here, there))

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        layout, region = wiring.layout, str(part.region)
        return {
            "region": region,
            "secret": wiring.secret,
            "private_key": wiring.private_key,
            "shards": [shard.name for shard in layout.shards],
            "local_shards": [
                shard.name for shard in layout.shards if layout.same_continent(region, shard)
            ],
            "users_per_shard": layout.users_per_shard,
            "warmer": warming_of(layout.target),
            "services": [
                {"region": other, **wiring.via(part.name, f"{other}/service")}
                for other in layout.nearest(region, layout.regions)
            ],
        }


KIND = EdgeKind()
