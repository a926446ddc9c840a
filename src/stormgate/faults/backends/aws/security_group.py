"""Network interfaces shut in: a security group of our own, without any rule, takes the place of
theirs. Connections that are tracked already may live on: what is proven is the group, and with an
`observe` that a new connection fails.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import TAG, Family, Wanted, words
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import Ec2Tags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotWhole

_NAME = "stormgate-"


class SecurityGroup(Family):
    """`ids` are network interfaces (eni-…) or instances (i-…); tags choose interfaces."""

    service = "security_group"
    clients = ("sts", "ec2")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {"blackhole": Parameters}
    permissions = (
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:CreateSecurityGroup",
        "ec2:RevokeSecurityGroupEgress",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:DeleteSecurityGroup",
    )
    silent = frozenset({"blackhole"})
    tags = Ec2Tags()

    def plan(self, wanted: Wanted) -> Record:
        found: dict[str, dict[str, Any]] = {}
        instances = [name for name in wanted.ids if name.startswith("i-")]
        own = [name for name in wanted.ids if not name.startswith("i-")]
        filters = wanted.filters("availability-zone")
        for key, values in (("attachment.instance-id", instances), ("network-interface-id", own)):
            if values:
                chosen = [*filters, {"Name": key, "Values": values}]
                found |= {
                    one["NetworkInterfaceId"]: one for one in _interfaces(wanted.place, chosen)
                }
        if not wanted.ids:
            found = {one["NetworkInterfaceId"]: one for one in _interfaces(wanted.place, filters)}
        named = {one.get("Attachment", {}).get("InstanceId") for one in found.values()} | set(found)
        if not found or not set(wanted.ids) <= named:
            raise wanted.nothing()
        for name, one in found.items():
            if any(group["GroupName"].startswith(_NAME) for group in one["Groups"]):
                raise NotWhole(f"{wanted.name}: {name} is shut in by a fault already")
            if not one["Groups"]:
                raise CannotBreak(f"{wanted.name}: {name} has no security groups to be changed")
        return {
            "mode": wanted.mode,
            "token": wanted.token,
            "vpcs": {name: str(one["VpcId"]) for name, one in found.items()},
            "groups": {
                name: sorted(str(group["GroupId"]) for group in one["Groups"])
                for name, one in found.items()
            },
        }

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        made: dict[str, str] = {}
        for vpc in sorted(set(record["vpcs"].values())):
            if stop.is_set():
                return
            tags = [{"Key": TAG, "Value": record["token"]}]
            answer = place.call(
                "ec2",
                "create_security_group",
                within_s=20,
                GroupName=_NAME + record["token"],
                Description="made by a fault; deleted when it is undone",
                VpcId=vpc,
                TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
            )
            made[vpc] = str(answer["GroupId"])
            _without_rules(place, made[vpc])
        for name, vpc in record["vpcs"].items():
            if not stop.is_set():
                _put(place, name, [made[vpc]], 20)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        ours = set(_ours(place, record))
        now = _groups_of(place, record)
        for name, prior in record["groups"].items():
            if ours & set(now.get(name, ())):
                _put(place, name, list(prior), timeout_s)
        for group in ours:
            try:
                place.call("ec2", "delete_security_group", within_s=timeout_s, GroupId=group)
            except AwsError as error:
                if not error.vanished:
                    raise

    def in_effect(self, place: Place, record: Record) -> Observation:
        ours, now = set(_ours(place, record)), _groups_of(place, record)
        out = [
            f"{name} has {words(now.get(name, ['no groups']))}"
            for name in record["groups"]
            if not ours or not set(now.get(name, ["none"])) <= ours
        ]
        if out:
            return Observation(False, words(out))
        return Observation(True, f"{len(now)} interfaces have a group without rules")

    def is_whole(self, place: Place, record: Record) -> Observation:
        now = _groups_of(place, record)
        other = [
            f"{name} has {words(now.get(name, ['gone']))}, not {words(prior)}"
            for name, prior in record["groups"].items()
            if now.get(name) != list(prior)
        ]
        left = [f"{group} is left" for group in _ours(place, record)]
        if other or left:
            return Observation(False, words([*other, *left]))
        return Observation(True, f"{len(now)} interfaces have the groups they had")

    def marked(self, record: Record) -> str | None:
        return str(min(record["groups"]))

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        return [
            place.by_hand(
                "ec2",
                "modify-network-interface-attribute",
                *("--network-interface-id", name, "--groups", *prior),
            )
            for name, prior in record["groups"].items()
        ]


def _interfaces(place: Place, chosen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    operation = "describe_network_interfaces"
    return list(place.pages("ec2", operation, "NetworkInterfaces", Filters=list(chosen)))


def _groups_of(place: Place, record: Record) -> dict[str, list[str]]:
    chosen = [{"Name": "network-interface-id", "Values": list(record["groups"])}]
    return {
        str(one["NetworkInterfaceId"]): sorted(str(group["GroupId"]) for group in one["Groups"])
        for one in _interfaces(place, chosen)
    }


def _ours(place: Place, record: Record) -> list[str]:
    chosen = [{"Name": "group-name", "Values": [_NAME + record["token"]]}]
    found = place.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=chosen)
    return [str(one["GroupId"]) for one in found]


def _without_rules(place: Place, group: str) -> None:
    """A new group lets everything out."""
    found = place.call("ec2", "describe_security_groups", GroupIds=[group])["SecurityGroups"][0]
    if rules := found.get("IpPermissionsEgress"):
        operation = "revoke_security_group_egress"
        place.call("ec2", operation, within_s=20, GroupId=group, IpPermissions=rules)


def _put(place: Place, interface: str, groups: list[str], within_s: float) -> None:
    given = {"NetworkInterfaceId": interface, "Groups": groups}
    place.call("ec2", "modify_network_interface_attribute", within_s=within_s, **given)
