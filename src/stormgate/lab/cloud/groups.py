"""Auto scaling groups that really act: the larger models stand in some, one instance each.

What is terminated ends with all below it. A group brings it back, as another instance and the same
process of the lab, while it may launch (nobody has suspended that) and has a subnet in its zone.
Nothing is launched elsewhere: a process of the lab has one place, so a group that lost a zone stays
below what it desires.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from stormgate.lab.cloud.acts import Acts

_TAG = "aws:autoscaling:groupName"
_MOST = 8


@dataclass(slots=True)
class _Slot:
    """One place of a group: whose, in which subnet, and whether it is on its way there."""

    component: str
    subnet: str
    instance: str
    coming: bool = False


@dataclass(slots=True)
class ScalingGroups:
    """The groups of all regions. `instances` (id -> component) is the lab's own table."""

    acts: Acts
    instances: dict[str, str]
    ami: str
    _slots: dict[tuple[str, str], list[_Slot]] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def seed(self, scaling: Any, ec2: Any, zones: list[dict[str, Any]]) -> None:
        """The groups of one region of AWS, which reach over all of its zones."""
        subnets = {}
        for zone in zones:
            chosen = [{"Name": "tag:Name", "Values": [zone["name"]]}]
            [subnet] = ec2.describe_subnets(Filters=chosen)["Subnets"]
            subnets[zone["name"]] = subnet["SubnetId"]
        for group in sorted({name for zone in zones for name, _ in zone["scaled"]}):
            scaling.create_launch_configuration(
                LaunchConfigurationName=group, ImageId=self.ami, InstanceType="t3.micro"
            )
            scaling.create_auto_scaling_group(
                AutoScalingGroupName=group,
                LaunchConfigurationName=group,
                MinSize=0,
                MaxSize=_MOST,
                DesiredCapacity=0,
                VPCZoneIdentifier=",".join(subnets.values()),
            )
            slots = self._slots[zones[0]["region"], group] = []
            for zone in zones:
                for component in (one for name, one in zone["scaled"] if name == group):
                    made = ec2.run_instances(**self._wanted(component, subnets[zone["name"]]))
                    instance = made["Instances"][0]["InstanceId"]
                    scaling.attach_instances(AutoScalingGroupName=group, InstanceIds=[instance])
                    slots.append(_Slot(component, subnets[zone["name"]], instance))
                    self.instances[instance] = component

    def wrap(self) -> None:
        """Let moto's groups act; those that somebody else has made are moto's alone."""
        from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup

        replace = FakeAutoScalingGroup.replace_autoscaling_group_instances
        update = AutoScalingBackend.update_auto_scaling_group
        resume = AutoScalingBackend.resume_processes

        def replaced(group: Any, count_needed: int, propagated_tags: dict[str, str]) -> None:
            if not self._is_ours(group):
                replace(group, count_needed, propagated_tags)
                return
            self.settle(group)

        def updated(backend: Any, name: str, *given: Any, **more: Any) -> Any:
            group = update(backend, name, *given, **more)
            self.settle(group)
            return group

        def resumed(backend: Any, group_name: str, scaling_processes: list[str]) -> None:
            resume(backend, group_name, scaling_processes)
            self.settle(backend.autoscaling_groups[group_name])

        FakeAutoScalingGroup.replace_autoscaling_group_instances = replaced
        AutoScalingBackend.update_auto_scaling_group = updated
        AutoScalingBackend.resume_processes = resumed

    def settle(self, group: Any) -> None:
        """Bring back what is missing and may be launched. Does not wait for it."""
        if not self._is_ours(group):
            return
        with self._lock:
            suspended = {one["ProcessName"] for one in group.suspended_processes}
            subnets = set(str(group.vpc_zone_identifier or "").split(","))
            for slot in self._slots[self._key(group)]:
                there = slot.instance in {one.instance.id for one in group.instance_states}
                if there or slot.coming or "Launch" in suspended or slot.subnet not in subnets:
                    continue
                slot.coming = True
                threading.Thread(target=self._launch, args=(group, slot), daemon=True).start()

    def _launch(self, group: Any, slot: _Slot) -> None:
        """In service means that it serves: the process first, then the instance in the group."""
        try:
            self.acts.start(slot.component)
            with self._lock:
                slot.instance = self._instance(group, slot)
                self.instances[slot.instance] = slot.component
        except Exception as error:  # a thread of its own: whoever looks sees that it is missing
            print(f"{slot.component}: {error}", flush=True)
        finally:
            slot.coming = False

    def _instance(self, group: Any, slot: _Slot) -> str:
        from moto.autoscaling.models import InstanceState
        from moto.backends import get_backend

        backend = group.autoscaling_backend
        ec2 = get_backend("ec2")[backend.account_id][backend.region_name]
        tags = {"Name": slot.component, _TAG: group.name}
        made = ec2.run_instances(
            self.ami,
            1,
            None,
            [],
            instance_type="t3.micro",
            is_instance_type_default=False,
            tags={"instance": tags},
            subnet_id=slot.subnet,
        ).instances[0]
        group.instance_states.append(InstanceState(made, autoscaling_group=group))
        return str(made.id)

    def _wanted(self, component: str, subnet: str) -> dict[str, Any]:
        tags = [{"Key": "Name", "Value": component}]
        return {
            "ImageId": self.ami,
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": subnet,
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        }

    def _is_ours(self, group: Any) -> bool:
        return self._key(group) in self._slots

    def _key(self, group: Any) -> tuple[str, str]:
        return group.autoscaling_backend.region_name, group.name
