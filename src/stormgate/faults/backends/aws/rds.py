"""Databases: failover (of a cluster to a reader, of a Multi-AZ instance to its standby) and reboot.

A failover is an event, not a state: nothing is taken back, and failing back is a failover of its
own, to be judged. Proven by who writes afterwards; undone when the database is available again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import Family, Wanted, words
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotWhole

_FAILOVERS = frozenset({"failover", "crash"})


class RdsFailover(Parameters):
    """`to`: the reader that shall write; else an available one, of another zone if there is."""

    to: str | None = Field(default=None, min_length=1)


class Rds(Family):
    """`ids` is one cluster, or one instance that is in none."""

    service = "rds"
    clients = ("sts", "rds")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "failover": RdsFailover,
        "crash": Parameters,
        "reboot": Parameters,
    }
    permissions = (
        "rds:DescribeDBClusters",
        "rds:DescribeDBInstances",
        "rds:DescribeEvents",
        "rds:FailoverDBCluster",
        "rds:RebootDBInstance",
    )
    is_over = True

    def plan(self, wanted: Wanted) -> Record:
        name = wanted.ids[0]
        cluster = _cluster(wanted.place, name)
        record = {"mode": wanted.mode, "id": name, "since": datetime.now(UTC).isoformat()}
        if cluster is not None and wanted.mode in _FAILOVERS:
            return {**record, "cluster": True, **_failover_of(wanted, cluster)}
        if cluster is not None:
            raise CannotBreak(f"{wanted.name}: a cluster has no {wanted.mode}: name an instance")
        instance = _instance(wanted.place, name)
        if instance is None:
            raise wanted.nothing()
        if instance["DBInstanceStatus"] != "available":
            raise NotWhole(f"{wanted.name}: {name} is {instance['DBInstanceStatus']}")
        zone = instance.get("AvailabilityZone")
        if wanted.zone not in (None, zone):
            raise CannotBreak(f"{wanted.name}: {name} writes in {zone}, not in {wanted.zone}")
        if wanted.params.get("to"):
            raise CannotBreak(f"{wanted.name}: {name} is in no cluster: its standby has no name")
        if wanted.mode in _FAILOVERS and not instance.get("MultiAZ"):
            raise CannotBreak(f"{wanted.name}: {name} is not Multi-AZ: it has nobody to fail over")
        return {**record, "cluster": False, "zone_before": zone}

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        if record["cluster"]:
            given = {
                "DBClusterIdentifier": record["id"],
                "TargetDBInstanceIdentifier": record["chosen"],
            }
            place.call("rds", "failover_db_cluster", within_s=20, **given)
            return
        given = {"DBInstanceIdentifier": record["id"]}
        force = {"ForceFailover": True} if record["mode"] in _FAILOVERS else {}
        place.call("rds", "reboot_db_instance", within_s=20, **given, **force)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        """A failover is over by itself; back again would be another one."""

    def in_effect(self, place: Place, record: Record) -> Observation:
        if record["cluster"]:
            cluster = _cluster(place, str(record["id"]))
            if cluster is None:
                return Observation(False, f"cluster {record['id']} is gone")
            writer = _writer(cluster)
            saw = f"{writer or 'nobody'} writes, {record['writer_before']} before"
            return Observation(writer is not None and writer != record["writer_before"], saw)
        instance = _instance(place, str(record["id"]))
        if instance is None:
            return Observation(False, f"instance {record['id']} is gone")
        zone, status = instance.get("AvailabilityZone"), instance["DBInstanceStatus"]
        if record["mode"] in _FAILOVERS:
            saw = f"{record['id']} is {status} in {zone}, {record['zone_before']} before"
            return Observation(zone != record["zone_before"], saw)
        told = [] if status != "available" else _events(place, record)
        return Observation(status != "available" or bool(told), words(told) or f"it is {status}")

    def is_whole(self, place: Place, record: Record) -> Observation:
        if not record["cluster"]:
            instance = _instance(place, str(record["id"]))
            status = "gone" if instance is None else instance["DBInstanceStatus"]
            return Observation(status == "available", f"{record['id']} is {status}")
        cluster = _cluster(place, str(record["id"]))
        if cluster is None:
            return Observation(False, f"cluster {record['id']} is gone")
        states = {name: _status(place, name) for name in _members(cluster)}
        down = [f"{name} is {state}" for name, state in states.items() if state != "available"]
        if cluster["Status"] != "available" or down or _writer(cluster) is None:
            told = [f"{record['id']} is {cluster['Status']}", *down]
            return Observation(False, words(told))
        return Observation(True, f"{_writer(cluster)} writes, {len(states)} members are available")

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        command, key = ("describe-db-clusters", "--db-cluster-identifier")
        if not record["cluster"]:
            command, key = ("describe-db-instances", "--db-instance-identifier")
        return [place.by_hand("rds", command, key, str(record["id"]))]


def _failover_of(wanted: Wanted, cluster: Mapping[str, Any]) -> dict[str, Any]:
    """From whom to whom. Raises CannotBreak, NotWhole."""
    name, writer = wanted.ids[0], _writer(cluster)
    if cluster["Status"] != "available" or writer is None:
        raise NotWhole(f"{wanted.name}: cluster {name} is {cluster['Status']}, {writer} writes")
    zones = {one: _zone(wanted.place, one) for one in _members(cluster)}
    if wanted.zone not in (None, zones[writer]):
        raise CannotBreak(
            f"{wanted.name}: {writer}, which writes, is in {zones[writer]}, not in {wanted.zone}"
        )
    readers = [one for one in zones if one != writer and _status(wanted.place, one) == "available"]
    asked = wanted.params.get("to")
    if asked is not None and asked not in readers:
        raise CannotBreak(
            f"{wanted.name}: {asked!r} is no available reader of {name} "
            f"(there are {words(readers) or 'none'})"
        )
    if not readers:
        raise CannotBreak(f"{wanted.name}: cluster {name} has no available reader to fail over to")
    # As AWS itself chooses: by tier; before that, whoever does not share the writer's zone.
    tiers = {
        one["DBInstanceIdentifier"]: int(one.get("PromotionTier") or 0)
        for one in cluster["DBClusterMembers"]
    }
    best = min(readers, key=lambda one: (zones[one] == zones[writer], tiers[one], one))
    return {"writer_before": writer, "chosen": asked or best, "zones": zones}


def _members(cluster: Mapping[str, Any]) -> list[str]:
    return [str(one["DBInstanceIdentifier"]) for one in cluster["DBClusterMembers"]]


def _writer(cluster: Mapping[str, Any]) -> str | None:
    found = [one for one in cluster["DBClusterMembers"] if one.get("IsClusterWriter")]
    return str(found[0]["DBInstanceIdentifier"]) if len(found) == 1 else None


def _cluster(place: Place, name: str) -> dict[str, Any] | None:
    try:
        answer = place.call("rds", "describe_db_clusters", DBClusterIdentifier=name)
    except AwsError as error:
        if error.vanished:
            return None
        raise
    return next(iter(answer["DBClusters"]), None)


def _instance(place: Place, name: str) -> dict[str, Any] | None:
    try:
        answer = place.call("rds", "describe_db_instances", DBInstanceIdentifier=name)
    except AwsError as error:
        if error.vanished:
            return None
        raise
    return next(iter(answer["DBInstances"]), None)


def _zone(place: Place, name: str) -> str | None:
    return (_instance(place, name) or {}).get("AvailabilityZone")


def _status(place: Place, name: str) -> str:
    return str((_instance(place, name) or {}).get("DBInstanceStatus", "gone"))


def _events(place: Place, record: Record) -> list[str]:
    """What the instance's events say of a restart since it was planned."""
    since = datetime.fromisoformat(str(record["since"])) - timedelta(seconds=1)
    given = {"SourceIdentifier": record["id"], "SourceType": "db-instance", "StartTime": since}
    found = place.pages("rds", "describe_events", "Events", **given)
    return [str(one["Message"]) for one in found if "restart" in str(one["Message"]).lower()]
