"""What a region of an account holds, as the target document that can break it, and what in it no
mode breaks. It only lists; what may not be listed is said, not left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.faults.backends.aws import lock
from stormgate.faults.backends.aws.handle import hosts
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.geography.places import UnknownPlaceError, cloud_region

_GROUP = "aws:autoscaling:groupName"
# What is broken by a family of ours, by the service in its ARN and the kind there.
_KNOWN = {
    ("ec2", "instance"), ("ec2", "subnet"), ("ec2", "network-interface"), ("rds", "cluster"),
    ("rds", "db"), ("elasticache", "replicationgroup"), ("elasticloadbalancing", "targetgroup"),
    ("lambda", "function"), ("autoscaling", "autoScalingGroup"),
}  # fmt: skip
_OPEN = {"aurora-postgresql": "postgres", "postgres": "postgres"}


@dataclass(slots=True)
class Holdings:
    """`components` as a target document has them; `zones` that have any; `fronts`: host:port where
    users come in; `beyond`: what no mode breaks, or could not be looked at, and why.
    """

    zones: set[str] = field(default_factory=set)
    components: list[dict[str, Any]] = field(default_factory=list)
    fronts: list[str] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)


class Discovery:
    """One region's holdings; with `tags` only what carries all of them."""

    def __init__(self, place: Place, tags: Mapping[str, str]) -> None:
        self.place = place
        self.tags = dict(tags)
        self.found = Holdings()
        self._tagged: set[str] | None = None

    def run(self) -> Holdings:
        """Everything that may be listed. Raises AwsError when nobody can be asked at all."""
        self.place.call("sts", "get_caller_identity")
        looks: tuple[tuple[str, Callable[[], None]], ...] = (
            ("instances", self._instances),
            ("auto scaling groups", self._groups),
            ("subnets", self._subnets),
            ("databases", self._databases),
            ("caches", self._caches),
            ("target groups", self._targets),
            ("load balancers", self._fronts),
            ("functions", self._functions),
            ("everything else", self._others),
        )
        for what, look in looks:
            try:
                look()
            except AwsError as error:
                self.found.beyond.append(f"{what}: could not be listed ({error})")
        self._zones()
        return self.found

    def _add(
        self, name: str, kind: str, at: str | None, service: str, **handle: Any
    ) -> dict[str, Any]:
        place = self.place
        whole = {"service": service, "account": place.account, "region": place.region, **handle}
        if place.profile:
            whole["profile"] = place.profile
        if place.endpoint_url:
            whole["endpointUrl"] = place.endpoint_url
        component: dict[str, Any] = {"name": name, "kind": kind, "backend": "aws", "handle": whole}
        if at is not None:
            component["region"] = at
            self.found.zones.add(at)
        taken = {one["name"] for one in self.found.components}
        while component["name"] in taken:
            component["name"] += "'"
        self.found.components.append(component)
        return component

    def _wanted(self, tags: Any) -> bool:
        """Whether a list of Key and Value has what was asked for."""
        own = {one["Key"]: one["Value"] for one in tags or ()}
        return all(own.get(key) == value for key, value in self.tags.items())

    def _carries(self, arn: str) -> bool:
        """The same of what does not tell its tags when it is listed."""
        if self.tags and self._tagged is None:
            self._tagged = {str(one["ResourceARN"]) for one in self._resources()}
        return self._tagged is None or arn in self._tagged

    def _resources(self) -> Iterator[Any]:
        filters = [{"Key": key, "Values": [value]} for key, value in self.tags.items()]
        service, key = "resourcegroupstaggingapi", "ResourceTagMappingList"
        return self.place.pages(service, "get_resources", key, TagFilters=filters)

    def _instances(self) -> None:
        chosen = [{"Name": f"tag:{key}", "Values": [value]} for key, value in self.tags.items()]
        chosen.append({"Name": "instance-state-name", "Values": ["running"]})
        alike: dict[tuple[str, str], list[str]] = {}
        for each in self.place.pages("ec2", "describe_instances", "Reservations", Filters=chosen):
            for one in each["Instances"]:
                tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags") or ()}
                if _GROUP not in tags:
                    zone = str(one["Placement"]["AvailabilityZone"])
                    name = tags.get("Name", str(one["InstanceId"]))
                    alike.setdefault((zone, name), []).append(str(one["InstanceId"]))
        for (zone, name), ids in sorted(alike.items()):
            self._add(f"{zone}/{name}", "service", zone, "ec2", ids=sorted(ids))

    def _groups(self) -> None:
        operation = "describe_auto_scaling_groups"
        for one in self.place.pages("autoscaling", operation, "AutoScalingGroups"):
            if not self._wanted(one.get("Tags")):
                continue
            name = str(one["AutoScalingGroupName"])
            if len(one["AvailabilityZones"]) < 2:
                self.found.beyond.append(f"auto scaling group {name}: a zone it could lose is all")
            for zone in one["AvailabilityZones"] if len(one["AvailabilityZones"]) > 1 else ():
                self._add(f"{zone}/{name}", "service", zone, "asg", ids=[name], zone=zone)

    def _subnets(self) -> None:
        zones: dict[str, list[str]] = {}
        for one in self.place.pages("ec2", "describe_subnets", "Subnets"):
            if self._wanted(one.get("Tags")):
                zones.setdefault(str(one["AvailabilityZone"]), []).append(str(one["SubnetId"]))
        for zone, ids in sorted(zones.items()):
            component = self._add(f"subnets:{zone}", "link", zone, "nacl", ids=sorted(ids))
            component["attributes"] = {"source": "internet", "destination": zone}

    def _databases(self) -> None:
        zones = {}
        for one in self.place.pages("rds", "describe_db_instances", "DBInstances"):
            name, zone = str(one["DBInstanceIdentifier"]), one.get("AvailabilityZone")
            zones[name] = zone
            if one.get("DBClusterIdentifier") or not self._wanted(one.get("TagList")):
                continue
            if not one.get("MultiAZ"):
                self.found.beyond.append(f"database {name}: nothing takes over (not Multi-AZ)")
                continue
            self._observed(self._add(f"{zone}/{name}", "database", zone, "rds", ids=[name]), one)
        for one in self.place.pages("rds", "describe_db_clusters", "DBClusters"):
            if not self._wanted(one.get("TagList")):
                continue
            name, members = str(one["DBClusterIdentifier"]), one.get("DBClusterMembers") or ()
            writer = next(
                (m["DBInstanceIdentifier"] for m in members if m["IsClusterWriter"]), None
            )
            if not writer or len(members) < 2:
                self.found.beyond.append(f"cluster {name}: it has no reader to fail over to")
                continue
            zone = zones.get(writer)
            at = {} if zone is None else {"zone": zone}
            self._add(f"{zone or 'rds'}/{name}", "database", zone, "rds", ids=[name], **at)

    def _observed(self, component: dict[str, Any], one: Mapping[str, Any]) -> None:
        end, protocol = one.get("Endpoint") or {}, _OPEN.get(str(one.get("Engine")), "tcp")
        if end.get("Address") and end.get("Port"):
            self.found.hosts.setdefault(str(end["Address"]))
            address = f"{end['Address']}:{end['Port']}"
            component["observe"] = {"protocol": protocol, "address": address}

    def _caches(self) -> None:
        pages = self.place.pages("elasticache", "describe_replication_groups", "ReplicationGroups")
        for one in pages:
            name = str(one["ReplicationGroupId"])
            if not self._carries(str(one.get("ARN"))):
                continue
            if one.get("AutomaticFailover") != "enabled":
                self.found.beyond.append(f"cache {name}: it does not fail over by itself")
                continue
            self._add(name, "cache", None, "elasticache", ids=[name])

    def _targets(self) -> None:
        for one in self.place.pages("elbv2", "describe_target_groups", "TargetGroups"):
            name = str(one["TargetGroupName"])
            if self._carries(str(one["TargetGroupArn"])):
                self._add(f"targets/{name}", "edge", None, "elb", ids=[str(one["TargetGroupArn"])])

    def _fronts(self) -> None:
        for one in self.place.pages("elbv2", "describe_load_balancers", "LoadBalancers"):
            if one.get("Scheme") == "internet-facing" and one.get("DNSName"):
                self.found.fronts.append(str(one["DNSName"]))

    def _functions(self) -> None:
        for one in self.place.pages("lambda", "list_functions", "Functions"):
            name = str(one["FunctionName"])
            if self._carries(str(one["FunctionArn"])):
                self._add(f"function/{name}", "function", None, "lambda", ids=[name])

    def _others(self) -> None:
        for one in self._resources():
            arn = str(one["ResourceARN"])
            parts = arn.split(":", 5)
            kind = parts[5].replace(":", "/").partition("/")[0] if len(parts) == 6 else ""
            if len(parts) == 6 and (parts[2], kind) not in _KNOWN:
                self.found.beyond.append(f"{arn}: no mode for it; a FIS template may have one")

    def _zones(self) -> None:
        for zone in sorted(self.found.zones):
            parts = [one["name"] for one in self.found.components
                     if one.get("region") == zone and one["kind"] != "link"]  # fmt: skip
            if parts:
                region = {"name": zone, "kind": "region", "backend": "group", "region": zone}
                self.found.components.append({**region, "parts": parts})


CLIENTS = (
    "sts",
    "ec2",
    "autoscaling",
    "rds",
    "elasticache",
    "elbv2",
    "lambda",
    "resourcegroupstaggingapi",
)
"""What discovery itself calls."""


def document(found: Holdings, place: Place, name: str) -> str:
    """The target document, as YAML with comments where somebody has to know better."""
    handle = {"region": place.region, "endpoint_url": place.endpoint_url}
    allow = dict.fromkeys(
        [*hosts(handle, (*CLIENTS[:-1], *lock.CLIENTS)), *found.fronts, *found.hosts]
    )
    front = found.fronts[0] if found.fronts else ""
    link = f"http://{front}" if front else "${FRONT_URL}"
    missing = "" if front else " # no internet-facing load balancer was found: set FRONT_URL"
    lines = [
        f"# What `stormgate discover aws --region {place.region}` found in {place.account}.",
        "# Read it before you use it: whatever stands under `components` can be broken.",
        "apiVersion: stormgate.dev/v1",
        "kind: Target",
        f"metadata: {{name: {_text(name)}}}",
        "spec:",
        "  environment: production # until you say otherwise: test or staging",
        f"  allow: {_text(list(allow))} # AWS's API, and where users come in",
        f"  attributes: {{awsAccounts: {_text(place.account)}, awsRegions: {_text(place.region)}}}",
        "  regions: # its zones",
        *(f"    - {line}" for line in _regions(found, place.region)),
        "  populations: # who your users are, nobody here can know",
        "    - name: everyone",
        "      share: 100%",
        "      latitude: 0.0",
        "      longitude: 0.0",
        "      edges: [front]",
        f"      links: {{front: {_text(link)}}}{missing}",
        *(f"    # another address from outside: {one}" for one in found.fronts[1:]),
        "  components:" if found.components else "  components: []",
        *(f"    - {_text(one)}" for one in found.components),
        "",
        "# What no mode of this backend breaks, and what could not be looked at:",
        *(f"# - {_one_line(one)}" for one in found.beyond),
        "# - what carries no tag, and is none of the kinds above, is not listed at all",
        "# - packet loss and delay between hosts, clocks: an agent, or a FIS template",
    ]
    return "\n".join(lines) + "\n"


def _regions(found: Holdings, region: str) -> Iterator[str]:
    try:
        known = cloud_region(f"aws:{region}")
        at, unknown = (known.latitude, known.longitude), ""
    except UnknownPlaceError:
        at, unknown = (0.0, 0.0), " # where is it?"
    for zone in sorted(found.zones) or [region]:
        yield f"{{name: {_text(zone)}, latitude: {at[0]}, longitude: {at[1]}}}{unknown}"


def _text(value: Any) -> str:
    """A value as YAML reads it back: JSON is YAML."""
    return json.dumps(value, ensure_ascii=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())
