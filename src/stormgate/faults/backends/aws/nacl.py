"""Subnets cut off: a network access list of our own, which denies all, takes the place of theirs.

Access lists are stateless, so live flows are cut as well, without a word to anybody: the honest
partition. What is kept is subnet -> list, for the ids of associations change with every replacing.
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

_MINE = f"tag:{TAG}"


class Nacl(Family):
    """See the module."""

    service = "nacl"
    clients = ("sts", "ec2")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {"blackhole": Parameters}
    permissions = (
        "ec2:DescribeSubnets",
        "ec2:DescribeNetworkAcls",
        "ec2:CreateNetworkAcl",
        "ec2:ReplaceNetworkAclAssociation",
        "ec2:DeleteNetworkAcl",
    )
    silent = frozenset({"blackhole"})
    tags = Ec2Tags()

    def plan(self, wanted: Wanted) -> Record:
        chosen = wanted.filters("availability-zone")
        if wanted.ids:
            chosen.append({"Name": "subnet-id", "Values": wanted.ids})
        found = list(wanted.place.pages("ec2", "describe_subnets", "Subnets", Filters=chosen))
        if not found or (wanted.ids and len(found) < len(set(wanted.ids))):
            raise wanted.nothing()
        vpcs = {str(one["SubnetId"]): str(one["VpcId"]) for one in found}
        lists = _lists(wanted.place, list(vpcs))
        for subnet in vpcs:
            if subnet not in lists:
                raise CannotBreak(f"{wanted.name}: {subnet} has no network access list of its own")
            if TAG in lists[subnet].tags:
                raise NotWhole(
                    f"{wanted.name}: {subnet} is cut off by fault {lists[subnet].tags[TAG]} already"
                )
        return {
            "mode": wanted.mode,
            "token": wanted.token,
            "vpcs": vpcs,
            "lists": {subnet: lists[subnet].acl for subnet in vpcs},
        }

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        made: dict[str, str] = {}
        for vpc in sorted(set(record["vpcs"].values())):
            if stop.is_set():
                return
            tags = [{"Key": TAG, "Value": record["token"]}]
            answer = place.call(
                "ec2",
                "create_network_acl",
                within_s=20,
                VpcId=vpc,
                TagSpecifications=[{"ResourceType": "network-acl", "Tags": tags}],
            )
            made[vpc] = str(answer["NetworkAcl"]["NetworkAclId"])
        now = _lists(place, list(record["vpcs"]))
        for subnet, vpc in record["vpcs"].items():
            if stop.is_set() or subnet not in now:
                continue
            _replace(place, now[subnet].association, made[vpc], 20)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        now = _lists(place, list(record["vpcs"]))
        for subnet, original in record["lists"].items():
            seen = now.get(subnet)
            if seen is not None and seen.tags.get(TAG) == record["token"]:
                _replace(place, seen.association, original, timeout_s)
        for acl in _ours(place, record):
            try:
                place.call("ec2", "delete_network_acl", within_s=timeout_s, NetworkAclId=acl)
            except AwsError as error:
                if not error.vanished:
                    raise

    def in_effect(self, place: Place, record: Record) -> Observation:
        now = _lists(place, list(record["vpcs"]))
        out = [
            f"{subnet} has {now[subnet].acl if subnet in now else 'no list'}"
            for subnet in record["vpcs"]
            if subnet not in now or now[subnet].tags.get(TAG) != record["token"]
        ]
        open_to = [
            f"{one.acl} allows {one.allowed}"
            for one in now.values()
            if TAG in one.tags and one.allowed
        ]
        if out or open_to:
            return Observation(False, words([*out, *open_to]))
        return Observation(True, f"{len(now)} subnets are behind a list that denies all")

    def is_whole(self, place: Place, record: Record) -> Observation:
        now = _lists(place, list(record["vpcs"]))
        other = [
            f"{subnet} has {now[subnet].acl if subnet in now else 'no list'}, not {original}"
            for subnet, original in record["lists"].items()
            if subnet not in now or now[subnet].acl != original
        ]
        left = [f"{acl} is left" for acl in _ours(place, record)]
        if other or left:
            return Observation(False, words([*other, *left]))
        return Observation(True, f"{len(now)} subnets have the lists they had")

    def marked(self, record: Record) -> str | None:
        return str(min(record["vpcs"]))

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        lines = []
        for subnet, original in record["lists"].items():
            query = f"NetworkAcls[].Associations[?SubnetId=='{subnet}'][].NetworkAclAssociationId"
            asked = place.by_hand(
                "ec2",
                "describe-network-acls",
                *("--filters", f"Name=association.subnet-id,Values={subnet}"),
                *("--query", query, "--output", "text"),
            )
            told = place.by_hand("ec2", "replace-network-acl-association")
            lines.append(f'{told} --network-acl-id {original} --association-id "$({asked})"')
        return lines


class Listed:
    """A subnet's access list as it stands: by which association, with which tags, and what its
    numbered entries allow.
    """

    def __init__(self, acl: Mapping[str, Any], association: Mapping[str, Any]) -> None:
        self.acl = str(acl["NetworkAclId"])
        self.association = str(association["NetworkAclAssociationId"])
        self.tags = {tag["Key"]: tag["Value"] for tag in acl.get("Tags") or ()}
        entries = acl.get("Entries") or ()
        self.allowed = words(
            [str(one.get("CidrBlock")) for one in entries if one.get("RuleAction") == "allow"]
        )


def _lists(place: Place, subnets: Sequence[str]) -> dict[str, Listed]:
    chosen = [{"Name": "association.subnet-id", "Values": list(subnets)}]
    return {
        str(one["SubnetId"]): Listed(acl, one)
        for acl in place.pages("ec2", "describe_network_acls", "NetworkAcls", Filters=chosen)
        for one in acl["Associations"]
        if one["SubnetId"] in subnets
    }


def _ours(place: Place, record: Record) -> list[str]:
    chosen = [{"Name": _MINE, "Values": [record["token"]]}]
    found = place.pages("ec2", "describe_network_acls", "NetworkAcls", Filters=chosen)
    return [str(acl["NetworkAclId"]) for acl in found]


def _replace(place: Place, association: str, acl: str, within_s: float) -> None:
    given = {"AssociationId": association, "NetworkAclId": acl}
    place.call("ec2", "replace_network_acl_association", within_s=within_s, **given)
