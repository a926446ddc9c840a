"""Services: CHE·NU's objects, one process in every region. Program: services/service.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stormgate.lab.design.autoscaling import scaling_of
from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import Child, Host, ProcessKind
from stormgate.lab.kinds.database import node_name
from stormgate.lab.kinds.model import routes
from stormgate.lab.kinds.ring import way
from stormgate.model import Store


class ServiceKind(ProcessKind):
    """Dials its own region's cache and every database."""

    name = "service"
    rank = 2
    program = "stormgate.lab.services.service:start"

    def links(self, layout: Layout) -> Iterable[Hop]:
        for here in layout.target.regions:
            service = f"{here.name}/service"
            yield Hop(service, f"{here.name}/cache", 0)
            for shard in layout.shards:
                for region in shard.regions:
                    distance_ms = layout.hop_ms(here, layout.region(region))
                    yield Hop(service, node_name(region, shard.name), distance_ms)

    def stores(self, wiring: Wiring, part: Process) -> Iterable[Store]:
        return [
            # What the region's users would be answered, from its cache or the nearest node.
            Store(
                name=part.name,
                reader=self.protocol,
                region=part.region,
                url=f"http://{wiring.address(part.name)}/{{key}}",
                values=("/versions", "/value"),
                holds=("users/", "shards/"),
            ),
            Store(
                name=f"{part.name}.log",
                reader="file",
                region=part.region,
                path=str(wiring.log_path(part.name)),
            ),
        ]

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        layout, region = wiring.layout, str(part.region)
        shards = [
            {
                "name": shard.name,
                "regions": list(shard.regions),
                "cacheable": layout.same_continent(region, shard),
                "nodes": [
                    {
                        "name": node_name(other, shard.name),
                        "region": other,
                        **wiring.via(part.name, node_name(other, shard.name)),
                    }
                    for other in layout.nearest(region, shard.regions)
                ],
            }
            for shard in layout.shards
        ]
        return {
            "region": region,
            "drain_s": wiring.settings.drain_s,
            "shards": shards,
            "models": routes(wiring, region),
            "ring": way(wiring, part.name),
            "cache": wiring.via(part.name, f"{region}/cache"),
            "steward": wiring.endpoint("steward"),
            **(
                {}
                if (scaling := scaling_of(layout.target)) is None
                else {"scaling": scaling.to_json()}
            ),
        }

    def spawn(self, host: Host, part: Process, log_path: Path) -> Child:
        scaled = scaling_of(host.wiring.layout.target) is not None
        role = "pool" if scaled else self.name
        return host.fork(role, host.wiring.config_path(part.name), log_path)


KIND = ServiceKind()
