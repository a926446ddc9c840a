"""The steward: one process that stands for what is spread over many places in a real system.
Program: services/steward.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import ProcessKind, kinds
from stormgate.lab.kinds.database import node_name

_LOOKS_PER_S = 100


class StewardKind(ProcessKind):
    """Dials every database over a link of its own, and asks everything else how it is."""

    name = "steward"
    rank = 9
    program = "stormgate.lab.services.steward:start"
    last = True
    watched = False  # it would ask itself

    def parts(self, layout: Layout) -> Iterable[Process]:
        return [Process("steward", self.name)]

    def links(self, layout: Layout) -> Iterable[Hop]:
        # It stands for a quorum that is everywhere: near to all, yet cut off from a region that is
        # cut off.
        return [
            Hop("steward", node_name(region, shard.name), 0)
            for shard in layout.shards
            for region in shard.regions
        ]

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        layout = wiring.layout
        return {
            "control": str(wiring.control),
            "state": str(wiring.cluster),
            "homes": {
                population.name: population.labels["shard"]
                for population in layout.target.populations
                if "shard" in population.labels
            },
            # It looks at each way by itself: where there are many, not at all of them all the time.
            "edge_probe_s": max(
                wiring.settings.edge_probe_s,
                sum(map(len, layout.orders.values())) / _LOOKS_PER_S,
            ),
            "orders": {name: list(order) for name, order in layout.orders.items()},
            "databases": {
                shard.name: [
                    {
                        "name": node_name(region, shard.name),
                        "region": region,
                        **wiring.via(part.name, node_name(region, shard.name)),
                    }
                    for region in shard.regions
                ]
                for shard in layout.shards
            },
            "ways": [
                {
                    "population": population,
                    "edge": edge,
                    **wiring.via(f"population/{population}", edge),
                }
                for population, order in layout.orders.items()
                for edge in order
            ],
            "watched": [
                {
                    "name": other.name,
                    "protocol": kinds()[other.kind].protocol,
                    **wiring.endpoint(other.name),
                }
                for other in layout.parts
                if kinds()[other.kind].watched
            ],
        }


KIND = StewardKind()
