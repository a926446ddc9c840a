"""Auto scaling groups: suspended (nothing is replaced), or without a zone: its subnets are taken
from the group, so that nothing comes back there, and its instances in the zone are terminated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import Family, Wanted, words
from stormgate.faults.backends.aws.session import Place
from stormgate.faults.backends.aws.tags import GroupTags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotWhole

_ALL = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)
_Process = Annotated[str, Field(pattern=f"^({'|'.join(_ALL)})$")]


class SuspendProcesses(Parameters):
    """Which of its processes; all, unless said."""

    processes: list[_Process] = Field(default=list(_ALL), min_length=1)


class Asg(Family):
    """`ids` are names of groups."""

    service = "asg"
    clients = ("sts", "autoscaling", "ec2")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "suspend": SuspendProcesses,
        "zone_loss": Parameters,
        "crash": Parameters,
    }
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SuspendProcesses",
        "autoscaling:ResumeProcesses",
        "autoscaling:UpdateAutoScalingGroup",
        "ec2:DescribeSubnets",
        "ec2:TerminateInstances",
    )
    cost = "the instances that are started elsewhere, and again after the undo"
    tags = GroupTags()

    def plan(self, wanted: Wanted) -> Record:
        if wanted.ids:
            found = _groups(wanted.place, wanted.ids)
        else:
            tags = [one for one in wanted.filters("") if one["Name"].startswith("tag:")]
            found = _listed(wanted.place, Filters=tags)
        if not found or (wanted.ids and len(found) < len(set(wanted.ids))):
            raise wanted.nothing()
        for group in found:
            serving = _serving(group)
            if len(serving) < int(group["DesiredCapacity"]):
                told = f"{len(serving)} of {group['DesiredCapacity']} in service"
                raise NotWhole(f"{wanted.name}: {group['AutoScalingGroupName']} has {told}")
        record = {"mode": wanted.mode}
        if wanted.mode == "suspend":
            asked = list(wanted.params["processes"])
            return {**record, "suspend": {_name(one): _running(one, asked) for one in found}}
        if wanted.zone is None:
            raise CannotBreak(f"{wanted.name}: which zone it loses, its handle has to say: zone")
        return {
            **record,
            "zone_lost": wanted.zone,
            "groups": {_name(one): _without(wanted, one) for one in found},
        }

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        for name, processes in (record.get("suspend") or {}).items():
            given = {"AutoScalingGroupName": name, "ScalingProcesses": list(processes)}
            place.call("autoscaling", "suspend_processes", within_s=20, **given)
        for name, group in (record.get("groups") or {}).items():
            if stop.is_set():
                return
            _set_subnets(place, name, group["left"], 20)
            if group["instances"]:
                given = {"InstanceIds": list(group["instances"])}
                place.call("ec2", "terminate_instances", within_s=20, **given)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        for name, processes in (record.get("suspend") or {}).items():
            given = {"AutoScalingGroupName": name, "ScalingProcesses": list(processes)}
            place.call("autoscaling", "resume_processes", within_s=timeout_s, **given)
        now = {_name(one): one for one in _groups(place, list(record.get("groups") or ()))}
        for name, group in (record.get("groups") or {}).items():
            if name in now and set(_subnets(now[name])) != set(group["subnets"]):
                _set_subnets(place, name, group["subnets"], timeout_s)

    def in_effect(self, place: Place, record: Record) -> Observation:
        if "suspend" in record:
            suspended = _suspended(place, record)
            acting = [
                f"{name} runs {words(sorted(set(wanted) - suspended.get(name, set())))}"
                for name, wanted in record["suspend"].items()
                if not set(wanted) <= suspended.get(name, set())
            ]
            return Observation(not acting, words(acting) or f"{len(suspended)} groups suspended")
        saws, seen = [], True
        now = {_name(one): one for one in _groups(place, list(record["groups"]))}
        for name, group in record["groups"].items():
            there = [one for one in _serving(now.get(name, {})) if one["InstanceId"] in
                     group["instances"]]  # fmt: skip
            lost = set(group["subnets"]) - set(group["left"])
            back = lost & set(_subnets(now.get(name, {})))
            seen = seen and name in now and not there and not back
            saws.append(
                f"{name}: {len(there)} serve in {record['zone_lost']}, {len(back)} subnets there"
            )
        return Observation(seen, words(saws))

    def is_whole(self, place: Place, record: Record) -> Observation:
        if "suspend" in record:
            suspended = _suspended(place, record)
            still = [
                f"{name}: {words(sorted(set(own) & suspended[name]))} suspended"
                for name, own in record["suspend"].items()
                if set(own) & suspended.get(name, set())
            ]
            return Observation(not still, words(still) or "its processes run")
        saws, whole = [], True
        now = {_name(one): one for one in _groups(place, list(record["groups"]))}
        for name, group in record["groups"].items():
            own = now.get(name, {"DesiredCapacity": 0})
            same = set(_subnets(own)) == set(group["subnets"])
            whole = whole and same and len(_serving(own)) >= int(group["desired"])
            subnets = "its subnets" if same else "other subnets"
            saws.append(f"{name}: {subnets}, {len(_serving(own))} of {group['desired']} in service")
        return Observation(whole, words(saws))

    def marked(self, record: Record) -> str | None:
        return str(min(record.get("suspend") or record["groups"]))

    def things(self, place: Place, handle: Mapping[str, Any]) -> Sequence[str]:
        if handle.get("ids"):
            return [str(one) for one in handle["ids"]]
        tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in handle["tags"].items()]
        return [_name(one) for one in _listed(place, Filters=tags)]

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        named = "--auto-scaling-group-name"
        lines = [
            place.by_hand(
                "autoscaling", "resume-processes", named, name, "--scaling-processes", *own
            )
            for name, own in (record.get("suspend") or {}).items()
        ]
        return lines + [
            place.by_hand(
                "autoscaling",
                "update-auto-scaling-group",
                *(named, name, "--vpc-zone-identifier", ",".join(group["subnets"])),
            )
            for name, group in (record.get("groups") or {}).items()
        ]


def _listed(place: Place, **given: Any) -> list[dict[str, Any]]:
    operation = "describe_auto_scaling_groups"
    return list(place.pages("autoscaling", operation, "AutoScalingGroups", **given))


def _groups(place: Place, names: Iterable[str]) -> list[dict[str, Any]]:
    own = list(names)
    return _listed(place, AutoScalingGroupNames=own) if own else []


def _name(group: Mapping[str, Any]) -> str:
    return str(group["AutoScalingGroupName"])


def _serving(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in group.get("Instances") or () if one["LifecycleState"] == "InService"]


def _subnets(group: Mapping[str, Any]) -> list[str]:
    return [name for name in str(group.get("VPCZoneIdentifier") or "").split(",") if name]


def _running(group: Mapping[str, Any], asked: Sequence[str]) -> list[str]:
    """Those of the processes that nobody has suspended: they alone are resumed."""
    suspended = {one["ProcessName"] for one in group.get("SuspendedProcesses") or ()}
    left = [name for name in asked if name not in suspended]
    if not left:
        raise NotWhole(f"{_name(group)}: {words(asked)} is suspended already")
    return left


def _suspended(place: Place, record: Record) -> dict[str, set[str]]:
    return {
        _name(one): {each["ProcessName"] for each in one.get("SuspendedProcesses") or ()}
        for one in _groups(place, list(record["suspend"]))
    }


def _without(wanted: Wanted, group: Mapping[str, Any]) -> dict[str, Any]:
    """The group with and without the zone. Raises CannotBreak."""
    own = _subnets(group)
    if not own:
        raise CannotBreak(f"{wanted.name}: {_name(group)} names no subnets")
    found = wanted.place.pages("ec2", "describe_subnets", "Subnets", SubnetIds=own)
    lost = {one["SubnetId"] for one in found if one["AvailabilityZone"] == wanted.zone}
    left = [name for name in own if name not in lost]
    if not lost or not left:
        what = "no subnet in" if not lost else "no subnet outside"
        raise CannotBreak(f"{wanted.name}: {_name(group)} has {what} {wanted.zone}")
    there = [one["InstanceId"] for one in _serving(group)
             if one["AvailabilityZone"] == wanted.zone]  # fmt: skip
    desired = int(group["DesiredCapacity"])
    return {"subnets": own, "left": left, "instances": there, "desired": desired}


def _set_subnets(place: Place, name: str, subnets: Sequence[str], within_s: float) -> None:
    given = {"AutoScalingGroupName": name, "VPCZoneIdentifier": ",".join(subnets)}
    place.call("autoscaling", "update_auto_scaling_group", within_s=within_s, **given)
