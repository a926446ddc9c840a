"""Cache nodes: the primary of a node group dies and a replica takes its place (TestFailover).

An event, as a database's failover is. AWS takes at most 15 node groups in 24 hours, one after the
other within a group, and may refuse.
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


class CacheFailover(Parameters):
    """Which node group (shard); the only one, unless said."""

    node_group: str | None = Field(default=None, pattern=r"^[0-9]{1,4}$")


class Elasticache(Family):
    """`ids` is one replication group."""

    service = "elasticache"
    clients = ("sts", "elasticache")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "failover": CacheFailover,
        "crash": Parameters,
    }
    permissions = (
        "elasticache:DescribeReplicationGroups",
        "elasticache:DescribeEvents",
        "elasticache:TestFailover",
    )
    is_over = True

    def plan(self, wanted: Wanted) -> Record:
        group = _group(wanted.place, wanted.ids[0])
        if group is None:
            raise wanted.nothing()
        if group.get("Status") != "available":
            raise NotWhole(f"{wanted.name}: {wanted.ids[0]} is {group.get('Status')}")
        if group.get("AutomaticFailover") != "enabled":
            raise CannotBreak(f"{wanted.name}: {wanted.ids[0]} does not fail over by itself")
        nodes = {str(one["NodeGroupId"]): one for one in group.get("NodeGroups") or ()}
        asked = wanted.params.get("node_group") or (next(iter(nodes)) if len(nodes) == 1 else None)
        if asked not in nodes:
            raise CannotBreak(
                f"{wanted.name}: which node group? It has {words(sorted(nodes)) or 'none'}: "
                "node_group"
            )
        members = nodes[asked].get("NodeGroupMembers") or ()
        if len(members) < 2:
            raise CannotBreak(f"{wanted.name}: node group {asked} has no replica to take over")
        primary = _primary(nodes[asked])
        zone = next((one.get("PreferredAvailabilityZone") for one in members
                     if one["CacheClusterId"] == primary), None)  # fmt: skip
        if wanted.zone is not None and wanted.zone != zone:
            raise CannotBreak(f"{wanted.name}: its primary is in {zone}, not in {wanted.zone}")
        return {
            "mode": wanted.mode,
            "group": wanted.ids[0],
            "node_group": asked,
            "primary_before": primary,
            "since": datetime.now(UTC).isoformat(),
        }

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        given = {"ReplicationGroupId": record["group"], "NodeGroupId": record["node_group"]}
        place.call("elasticache", "test_failover", within_s=20, **given)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        """A failover is over by itself; back again would be another one."""

    def in_effect(self, place: Place, record: Record) -> Observation:
        group = _group(place, str(record["group"]))
        primary = _primary(_node_group(group, record))
        if primary is not None and record["primary_before"] is not None:
            saw = f"{primary} is primary, {record['primary_before']} before"
            return Observation(primary != record["primary_before"], saw)
        # With cluster mode the roles are not told; the events are.
        since = datetime.fromisoformat(str(record["since"])) - timedelta(seconds=1)
        given = {"SourceIdentifier": record["group"], "SourceType": "replication-group"}
        rows = place.pages("elasticache", "describe_events", "Events", StartTime=since, **given)
        told = [str(one["Message"]) for one in rows]
        done = [one for one in told if "failover" in one.lower() and "completed" in one.lower()]
        return Observation(bool(done), words(done or told, 2) or "no event tells of a failover")

    def is_whole(self, place: Place, record: Record) -> Observation:
        group = _group(place, str(record["group"]))
        node = _node_group(group, record)
        states = {"group": (group or {}).get("Status"), "node group": node.get("Status")}
        down = [f"{what} is {state or 'gone'}" for what, state in states.items()
                if state != "available"]  # fmt: skip
        return Observation(not down, words(down) or f"{_primary(node) or 'a node'} is primary")

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        given = ("--replication-group-id", str(record["group"]))
        return [place.by_hand("elasticache", "describe-replication-groups", *given)]


def _group(place: Place, name: str) -> dict[str, Any] | None:
    try:
        answer = place.call("elasticache", "describe_replication_groups", ReplicationGroupId=name)
    except AwsError as error:
        if error.vanished:
            return None
        raise
    return next(iter(answer["ReplicationGroups"]), None)


def _node_group(group: Mapping[str, Any] | None, record: Record) -> Mapping[str, Any]:
    found = [one for one in (group or {}).get("NodeGroups") or ()
             if one["NodeGroupId"] == record["node_group"]]  # fmt: skip
    return found[0] if found else {}


def _primary(node_group: Mapping[str, Any]) -> str | None:
    found = [one for one in node_group.get("NodeGroupMembers") or ()
             if one.get("CurrentRole") == "primary"]  # fmt: skip
    return str(found[0]["CacheClusterId"]) if len(found) == 1 else None
