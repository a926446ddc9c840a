"""Instances: stop, crash (stopped by force) and terminate.

An instance of an auto scaling group would be replaced while it is stopped, so its group must have
its health checks suspended (component `asg`, mode `suspend`); `terminate` is for such an instance
alone, since nothing but a group brings another back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import Family, Wanted, words
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import Ec2Tags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotWhole

_GROUP = "aws:autoscaling:groupName"
_DOWN = {"stopping", "stopped"}
_ENDED = {"shutting-down", "terminated"}
_REPLACERS = {"HealthCheck", "ReplaceUnhealthy", "Terminate"}


class StopInstance(Parameters):
    """`grace_s` is what `rolling_restart` says to whatever it stops; how long an instance may take
    to end, AWS decides.
    """

    grace_s: float = Field(default=5.0, ge=0, le=600)


class Ec2(Family):
    """See the module."""

    service = "ec2"
    clients = ("sts", "ec2", "autoscaling")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "stop": StopInstance,
        "crash": Parameters,
        "terminate": Parameters,
    }
    permissions = (
        "ec2:DescribeInstances",
        "ec2:StopInstances",
        "ec2:StartInstances",
        "ec2:TerminateInstances",
        "autoscaling:DescribeAutoScalingGroups",
    )
    cost = "a stopped instance still pays for its disks; terminate pays for a new one"
    silent = frozenset({"stop", "crash", "terminate"})
    tags = Ec2Tags()

    def plan(self, wanted: Wanted) -> Record:
        found = _described(wanted.place, wanted.ids, wanted.filters("availability-zone"))
        running = [one for one in found if _state(one) not in _ENDED]
        if not running or (wanted.ids and len(running) < len(set(wanted.ids))):
            raise wanted.nothing()
        other = [f"{one['InstanceId']} is {_state(one)}" for one in running]
        if any(_state(one) != "running" for one in running):
            raise NotWhole(f"{wanted.name}: before the fault {words(other)}")
        groups = sorted({name for one in running if (name := _group(one)) is not None})
        if wanted.mode == "terminate":
            self._replaced(wanted, running)
        else:
            _can_stop(wanted, running)
            _stay_stopped(wanted, groups)
        return {
            "mode": wanted.mode,
            "instances": sorted(str(one["InstanceId"]) for one in running),
            "groups": {name: _size(wanted.place, name) for name in groups},
        }

    def _replaced(self, wanted: Wanted, running: Sequence[Mapping[str, Any]]) -> None:
        alone = [str(one["InstanceId"]) for one in running if _group(one) is None]
        if alone:
            raise CannotBreak(
                f"{wanted.name}: {words(alone)} is in no auto scaling group, so nothing would "
                "bring it back after terminate: use stop or crash"
            )

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        instances = list(record["instances"])
        if record["mode"] == "terminate":
            place.call("ec2", "terminate_instances", within_s=20, InstanceIds=instances)
        else:
            force = {"Force": True} if record["mode"] == "crash" else {}
            place.call("ec2", "stop_instances", within_s=20, InstanceIds=instances, **force)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        if record["mode"] == "terminate":
            return  # the group brings others
        stopped = [
            str(one["InstanceId"])
            for one in _described(place, list(record["instances"]), [])
            if _state(one) in _DOWN
        ]
        if stopped:
            place.call("ec2", "start_instances", within_s=timeout_s, InstanceIds=stopped)

    def in_effect(self, place: Place, record: Record) -> Observation:
        states = _states(place, record)
        wanted = _ENDED if record["mode"] == "terminate" else _DOWN
        up = [f"{name} is {state}" for name, state in states.items() if state not in wanted]
        if up:
            return Observation(False, words(up))
        saw = ", ".join(sorted(set(states.values())) or ["gone"])
        return Observation(True, f"{len(record['instances'])} instances: {saw}")

    def is_whole(self, place: Place, record: Record) -> Observation:
        if record["mode"] == "terminate":
            return _groups_full(place, record)
        states = _states(place, record)
        missing = [name for name in record["instances"] if name not in states]
        down = [f"{name} is {states[name]}" for name in states if states[name] != "running"]
        if down or missing:
            return Observation(False, words([*down, *(f"{name} is gone" for name in missing)]))
        return Observation(True, f"{len(states)} instances run")

    def marked(self, record: Record) -> str | None:
        return None if record["mode"] == "terminate" else str(record["instances"][0])

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        if record["mode"] == "terminate":
            names = list(record["groups"])
            command = "describe-auto-scaling-groups"
            return [place.by_hand("autoscaling", command, "--auto-scaling-group-names", *names)]
        return [
            place.by_hand(
                "ec2", "start-instances", "--instance-ids", *map(str, record["instances"])
            )
        ]


def _described(
    place: Place, ids: Sequence[str], filters: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Those that are there; an id that is not is no error, for it is no instance either."""
    chosen = [*filters, {"Name": "instance-id", "Values": list(ids)}] if ids else list(filters)
    pages = place.pages("ec2", "describe_instances", "Reservations", Filters=chosen)
    return [one for reservation in pages for one in reservation["Instances"]]


def _state(one: Mapping[str, Any]) -> str:
    return str(one["State"]["Name"])


def _states(place: Place, record: Record) -> dict[str, str]:
    found = _described(place, list(record["instances"]), [])
    return {str(one["InstanceId"]): _state(one) for one in found}


def _group(one: Mapping[str, Any]) -> str | None:
    tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags") or ()}
    return tags.get(_GROUP)


def _can_stop(wanted: Wanted, running: Sequence[Mapping[str, Any]]) -> None:
    for one in running:
        name = one["InstanceId"]
        if one.get("RootDeviceType") == "instance-store":
            raise CannotBreak(f"{wanted.name}: {name} has no disk that survives a stop")
        if one.get("InstanceLifecycle") == "spot":
            raise CannotBreak(f"{wanted.name}: {name} is a spot instance: a stop may end it")


def _stay_stopped(wanted: Wanted, groups: Sequence[str]) -> None:
    for group in _groups(wanted.place, groups):
        suspended = {one["ProcessName"] for one in group.get("SuspendedProcesses") or ()}
        if acting := sorted(_REPLACERS - suspended):
            raise CannotBreak(
                f"{wanted.name}: auto scaling group {group['AutoScalingGroupName']!r} would "
                f"replace it while it is stopped: suspend its {', '.join(acting)} first"
            )


def _groups(place: Place, names: Sequence[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    operation = "describe_auto_scaling_groups"
    given = {"AutoScalingGroupNames": list(names)}
    return list(place.pages("autoscaling", operation, "AutoScalingGroups", **given))


def _size(place: Place, name: str) -> int:
    found = _groups(place, [name])
    if not found:
        raise AwsError("NotFound", f"there is no auto scaling group {name!r}")
    return int(found[0]["DesiredCapacity"])


def _groups_full(place: Place, record: Record) -> Observation:
    broken = set(record["instances"])
    saws, full = [], True
    found = {one["AutoScalingGroupName"]: one for one in _groups(place, list(record["groups"]))}
    for name, size in record["groups"].items():
        serving = [
            one["InstanceId"]
            for one in found.get(name, {}).get("Instances") or ()
            if one["LifecycleState"] == "InService" and one["InstanceId"] not in broken
        ]
        full = full and len(serving) >= int(size)
        saws.append(f"{name}: {len(serving)} of {size} in service")
    return Observation(full and bool(saws), words(saws) or "no auto scaling group is known")
