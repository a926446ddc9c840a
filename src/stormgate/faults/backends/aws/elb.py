"""Targets taken out of a target group: all of them, or those of one zone."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import Family, Wanted, words
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import TargetGroupTags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import NotWhole

_OUT = {"draining", "unused"}


class Elb(Family):
    """`ids` is the name or the ARN of one target group."""

    service = "elb"
    clients = ("sts", "elbv2", "ec2")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {"detach": Parameters}
    permissions = (
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:RegisterTargets",
        "ec2:DescribeInstances",
    )
    tags = TargetGroupTags()

    def plan(self, wanted: Wanted) -> Record:
        group = _group(wanted)
        found = _health(wanted.place, group)
        zones = _zones(wanted, [str(target["Id"]) for target, _ in found])
        chosen = [
            (target, state)
            for target, state in found
            if wanted.zone is None
            or target.get("AvailabilityZone", zones.get(str(target["Id"]))) == wanted.zone
        ]
        if not chosen:
            raise wanted.nothing()
        if unwell := [f"{one['Id']} is {state}" for one, state in chosen if state != "healthy"]:
            raise NotWhole(f"{wanted.name}: before the fault {words(unwell)}")
        # As they were registered: without its port a target would come back on the group's own.
        kept = [
            {key: one[key] for key in ("Id", "Port", "AvailabilityZone") if key in one}
            for one, _ in chosen
        ]
        return {"mode": wanted.mode, "group": group, "targets": kept}

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        _change(place, record, "deregister_targets", record["targets"], 20)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        now = _states(place, record)
        missing = [one for one in record["targets"] if now.get(_key(one), "unused") in _OUT]
        if missing:
            _change(place, record, "register_targets", missing, timeout_s)

    def in_effect(self, place: Place, record: Record) -> Observation:
        now = _states(place, record)
        still = [
            f"{one['Id']} is {now[_key(one)]}"
            for one in record["targets"]
            if now.get(_key(one), "unused") not in _OUT
        ]
        return Observation(not still, words(still) or f"{len(record['targets'])} targets are out")

    def is_whole(self, place: Place, record: Record) -> Observation:
        now = _states(place, record)
        out = [
            f"{one['Id']} is {now.get(_key(one), 'not registered')}"
            for one in record["targets"]
            if now.get(_key(one)) != "healthy"
        ]
        return Observation(not out, words(out) or f"{len(record['targets'])} targets are healthy")

    def marked(self, record: Record) -> str | None:
        return str(record["group"])

    def things(self, place: Place, handle: Mapping[str, Any]) -> Sequence[str]:
        found = _arn(place, str(handle["ids"][0]))
        return [] if found is None else [found]

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        targets = [",".join(f"{key}={value}" for key, value in one.items()) for one in
                   record["targets"]]  # fmt: skip
        given = ("--target-group-arn", str(record["group"]), "--targets", *targets)
        return [place.by_hand("elbv2", "register-targets", *given)]


def _group(wanted: Wanted) -> str:
    found = _arn(wanted.place, wanted.ids[0])
    if found is None:
        raise wanted.nothing()
    return found


def _arn(place: Place, name: str) -> str | None:
    """The group's ARN; None where there is none of that name."""
    given: dict[str, Any] = (
        {"TargetGroupArns": [name]} if name.startswith("arn:") else {"Names": [name]}
    )
    try:
        found = place.call("elbv2", "describe_target_groups", **given)["TargetGroups"]
    except AwsError as error:
        if error.vanished:
            return None
        raise
    return str(found[0]["TargetGroupArn"]) if found else None


def _health(place: Place, group: str) -> list[tuple[Mapping[str, Any], str]]:
    answer = place.call("elbv2", "describe_target_health", TargetGroupArn=group)
    rows = answer["TargetHealthDescriptions"]
    return [(one["Target"], str(one["TargetHealth"]["State"])) for one in rows]


def _states(place: Place, record: Record) -> dict[tuple[str, int], str]:
    return {_key(one): state for one, state in _health(place, str(record["group"]))}


def _key(target: Mapping[str, Any]) -> tuple[str, int]:
    return str(target["Id"]), int(target.get("Port") or 0)


def _zones(wanted: Wanted, ids: Sequence[str]) -> dict[str, str]:
    """The zones of instances, which a target's description does not say."""
    own = [name for name in ids if name.startswith("i-")]
    if wanted.zone is None or not own:
        return {}
    chosen = [{"Name": "instance-id", "Values": own}]
    pages = wanted.place.pages("ec2", "describe_instances", "Reservations", Filters=chosen)
    return {
        str(one["InstanceId"]): str(one["Placement"]["AvailabilityZone"])
        for each in pages
        for one in each["Instances"]
    }


def _change(
    place: Place, record: Record, operation: str, targets: Sequence[Any], within_s: float
) -> None:
    given = {"TargetGroupArn": record["group"], "Targets": [dict(one) for one in targets]}
    place.call("elbv2", operation, within_s=within_s, **given)
