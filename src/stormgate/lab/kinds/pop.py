"""Points of presence, where `provision.lab.pops` asks for them: edges that stand near to users and
far from any region. Program: the edge's, whatever that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.warming import warming_of
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import Child, Host, ProcessKind

# So many regions each dials, the nearest ones: where one is lost the next takes over.
_REGIONS = 2


class PopKind(ProcessKind):
    """Of no region: the loss of one leaves it standing."""

    name = "pop"
    rank = 4
    program = "stormgate.lab.services.edge:start"

    def parts(self, layout: Layout) -> Iterable[Process]:
        return [Process(pop.component, self.name) for pop in layout.pops]

    def links(self, layout: Layout) -> Iterable[Hop]:
        people = {p.name: p for p in layout.target.populations}
        for pop in layout.pops:
            for name, order in layout.orders.items():
                if pop.component in order:
                    away_ms = layout.hop_ms(people[name], pop)
                    yield Hop(f"population/{name}", pop.component, away_ms)
            for region in layout.nearest_to(pop)[:_REGIONS]:
                away_ms = layout.hop_ms(pop, layout.region(region))
                yield Hop(pop.component, f"{region}/service", away_ms)

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        layout = wiring.layout
        pop = next(pop for pop in layout.pops if pop.component == part.name)
        return {
            "region": pop.name,
            "secret": wiring.secret,
            "private_key": wiring.private_key,
            "shards": [shard.name for shard in layout.shards],
            # Nobody's own rows are kept there, for it is of no continent.
            "local_shards": [],
            "users_per_shard": layout.users_per_shard,
            "warmer": warming_of(layout.target),
            "services": [
                {"region": region, **wiring.via(part.name, f"{region}/service")}
                for region in layout.nearest_to(pop)[:_REGIONS]
            ],
        }

    def spawn(self, host: Host, part: Process, log_path: Path) -> Child:
        return host.fork("edge", host.wiring.config_path(part.name), log_path)


KIND = PopKind()
