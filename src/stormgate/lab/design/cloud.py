"""The lab as somebody would have it on AWS: which of its processes is an instance or a database in
which zone, which links a subnet has, and the Target that says so. Pure.

A region of the lab is an availability zone; those of one continent are one region of AWS. So the
two nodes of a shard are one database cluster in two zones of a region.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stormgate.lab.design.layout import Layout, Process
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.errors import LabError
from stormgate.model import Component, Target

NAME = "aws-api"
ACCOUNT = "123456789012"
EDGES = "edges"
_REGIONS = {"NA": "us-east-1", "EU": "eu-west-1", "AS": "ap-northeast-1", "SA": "sa-east-1"}
_ELSEWHERE = "us-west-2"
_ZONES = "abc"


@dataclass(frozen=True, slots=True)
class CloudZone:
    """A region of the lab: its zone, what stands in it by kind of thing, and the links (by their
    proxies) that cross its border. `functions` and `scaled`: (name of the function or of the auto
    scaling group, component) of each model server.
    """

    name: str
    region: str
    zone: str
    instances: tuple[str, ...]
    links: tuple[str, ...]
    cache: str
    functions: tuple[tuple[str, str], ...] = ()
    scaled: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CloudCluster:
    """A shard: its cluster, and which component is which of its instances, the writer first."""

    name: str
    region: str
    members: tuple[tuple[str, str, str], ...]
    """(instance, component, zone) of each."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything the API has to know of the lab."""

    zones: tuple[CloudZone, ...]
    clusters: tuple[CloudCluster, ...]
    pid_files: dict[str, str]
    reserved_files: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As the API's process is told."""
        return asdict(self)


def wanted(target: Target) -> bool:
    """Whether the lab shall be reached by the API of AWS."""
    options = (target.provision or {}).get("lab")
    return options is not None and options.get("awsApi") is True


def inventory(wiring: Wiring) -> Inventory:
    """The lab on AWS. Raises LabError when a continent has more regions than there are zones."""
    layout = wiring.layout
    places = _places(layout)
    zones = []
    for name, (region, zone) in places.items():
        own = [part for part in layout.parts if part.region == name]
        machines = tuple(part.name for part in own if part.kind not in ("database", "model"))
        models = [part for part in own if part.kind == "model"]
        functions = tuple((_function(one.name), one.name) for one in models if _is_function(one))
        scaled = tuple((_group(one), one.name) for one in models if not _is_function(one))
        links = tuple(link.proxy for link in layout.links if _crosses(link.source, name)
                      != _crosses(link.destination, name))  # fmt: skip
        cache = next(part.name for part in own if part.kind == "cache")
        zones.append(CloudZone(name, region, zone, machines, links, cache, functions, scaled))
    clusters = []
    for shard in layout.shards:
        members = tuple(
            (f"{shard.name}-{region}", f"{region}/db-{shard.name}", places[region][1])
            for region in shard.regions
        )
        homes = {places[region][0] for region in shard.regions}
        if len(homes) != 1:
            raise LabError(
                f"shard {shard.name!r} is on two continents, and no cluster of AWS spans regions: "
                "the lab's AWS API wants both on one"
            )
        clusters.append(CloudCluster(f"shard-{shard.name}", homes.pop(), members))
    files = {part.name: str(wiring.pid_path(part.name)) for part in layout.parts}
    reserved = {name: str(reserved_path(wiring, name))
                for zone in zones for _, name in zone.functions}  # fmt: skip
    return Inventory(tuple(zones), tuple(clusters), files, reserved)


def dressed(target: Target, wiring: Wiring) -> Target:
    """The resolved Target with AWS in front of it: processes are instances and databases, links
    those of a zone's subnet. What AWS has no call for (the steward) stays as it is.
    """
    found = inventory(wiring)
    url = f"http://{wiring.address(NAME)}"
    homes = {member[1]: cluster for cluster in found.clusters for member in cluster.members}
    machines = {name: zone for zone in found.zones for name in zone.instances}
    models = {name: _model(service, zone, thing, url)
              for zone in found.zones
              for service, own in (("lambda", zone.functions), ("asg", zone.scaled))
              for thing, name in own}  # fmt: skip
    components: list[Component] = []
    for one in target.components:
        if one.name in machines:
            zone = machines[one.name]
            handle = _handle("ec2", zone, url, tags={"Name": one.name})
            components.append(replace(one, backend="aws", handle=handle))
        elif one.name in models:
            # A function that is throttled is there: what asks how its server is learns nothing.
            there = None if models[one.name]["service"] == "lambda" else one.observe
            components.append(replace(one, backend="aws", handle=models[one.name], observe=there))
        elif one.name in homes:
            components.append(_database(one, homes[one.name], url))
        elif one.kind == "region":
            own = tuple(part for part in one.parts if not part.startswith("link:"))
            writers = {cluster.members[0][1] for cluster in found.clusters}
            kept = tuple(part for part in own if part not in homes or part in writers)
            components.append(replace(one, parts=kept))
        elif one.kind != "link" and one.name != NAME:
            components.append(one)
    components += [_subnet(target, zone, url) for zone in found.zones]
    components += [_targets(zone, url) for zone in found.zones]
    components += [_power(zone, url) for zone in found.zones]
    components += [_cache(target, zone, url) for zone in found.zones]
    components += [_check(zone, url) for zone in found.zones]
    listed = {
        "awsAccounts": ACCOUNT,
        "awsRegions": ", ".join(sorted({zone.region for zone in found.zones})),
        "awsEndpointUrl": url,
    }
    return replace(target, components=tuple(components), attributes={**target.attributes, **listed})


def is_edge(name: str) -> bool:
    """Whether a process is what users are sent to."""
    return name.endswith("/edge")


def power(region: str) -> str:
    """The id of the template of the Fault Injection Service that takes a region's power."""
    return f"EXTpower-{region}"


def _places(layout: Layout) -> dict[str, tuple[str, str]]:
    """Region of the lab -> (region of AWS, zone)."""
    found: dict[str, tuple[str, str]] = {}
    taken: dict[str, int] = {}
    for one in layout.target.regions:
        region = _REGIONS.get(str(one.continent), _ELSEWHERE)
        index = taken.get(region, 0)
        if index >= len(_ZONES):
            raise LabError(
                f"the lab's AWS API has {len(_ZONES)} zones a continent, and {one.name!r} is one "
                "region more"
            )
        taken[region] = index + 1
        found[one.name] = (region, region + _ZONES[index])
    return found


def cache_group(region: str) -> str:
    """The id of the replication group that a region's cache is."""
    return f"cache-{region}"


def health_check(region: str) -> str:
    """The id of the health check that a region's record follows."""
    return f"check-{region}"


def reserved_path(wiring: Wiring, component: str) -> Path:
    """Where it stands how many calls a function may work on at once."""
    return wiring.config_path(component).with_suffix(".reserved")


def _is_function(part: Process) -> bool:
    """Small models answer for a call alone, so they are functions; larger ones stand in groups."""
    return part.attributes.get("tier") == "edge"


def _function(component: str) -> str:
    return component.replace("/", "-")


def _group(part: Process) -> str:
    return f"models-{part.attributes['tier']}-{part.attributes['fleet']}"


def _crosses(end: str, region: str) -> bool:
    return end.startswith(f"{region}/")


def _handle(
    service: str,
    zone: CloudZone | None,
    url: str,
    *,
    region: str = "",
    ids: tuple[str, ...] = (),
    tags: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "service": service,
        "account": ACCOUNT,
        "region": zone.region if zone is not None else region,
        "zone": zone.zone if zone is not None else None,
        "ids": list(ids),
        "tags": dict(tags or {}),
        "profile": None,
        "endpoint_url": url,
    }


def _database(one: Component, cluster: CloudCluster, url: str) -> Component:
    """A node of a shard is broken by failing its cluster over, as long as it writes. The API starts
    it again by itself, so it is not looked at as if it had to stay down.
    """
    zone = next(member[2] for member in cluster.members if member[1] == one.name)
    handle = _handle("rds", None, url, region=cluster.region, ids=(cluster.name,))
    return replace(one, backend="aws", handle={**handle, "zone": zone}, observe=None)


def _subnet(target: Target, zone: CloudZone, url: str) -> Component:
    """A region's subnet: a link across its border, looked at from a user's side of it."""
    handle = _handle("nacl", zone, url, tags={"Name": zone.name})
    edge = f"{zone.name}/edge"
    seen = next((link.observe for link in target.components
                 if link.kind == "link" and link.attributes.get("destination") == edge
                 and link.observe is not None), None)  # fmt: skip
    return Component(
        name=f"subnet:{zone.name}",
        kind="link",
        backend="aws",
        handle=handle,
        observe=None if seen is None else replace(seen, protocol="http", path="/healthz"),
        attributes={"source": "internet", "destination": edge},
    )


def _targets(zone: CloudZone, url: str) -> Component:
    """What a load balancer sends to a region: the edges of its zone, in a target group."""
    handle = _handle("elb", zone, url, ids=(EDGES,))
    return Component(name=f"targets:{zone.name}", kind="targets", backend="aws", handle=handle)


def _power(zone: CloudZone, url: str) -> Component:
    """A template of the Fault Injection Service for a region."""
    handle = _handle("fis", None, url, region=zone.region, ids=(power(zone.name),))
    return Component(name=f"fis:{zone.name}", kind="experiment", backend="aws", handle=handle)


def _model(service: str, zone: CloudZone, thing: str, url: str) -> dict[str, Any]:
    """A model server as a function, or as what a group has in a zone."""
    handle = _handle(service, zone, url, ids=(thing,))
    return handle if service == "asg" else {**handle, "zone": None}


def _cache(target: Target, zone: CloudZone, url: str) -> Component:
    """A region's cache as a replication group, which can be told to fail over."""
    handle = _handle("elasticache", None, url, region=zone.region, ids=(cache_group(zone.name),))
    seen = next(one.observe for one in target.components if one.name == zone.cache)
    return Component(
        name=f"cache:{zone.name}", kind="replicas", backend="aws", handle=handle, observe=seen
    )


def _check(zone: CloudZone, url: str) -> Component:
    """The health check that users are sent to a region by."""
    handle = _handle("route53", None, url, region=zone.region, ids=(health_check(zone.name),))
    return Component(name=f"check:{zone.name}", kind="check", backend="aws", handle=handle)
