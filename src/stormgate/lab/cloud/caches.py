"""Replication groups of ElastiCache that really fail over: a region's cache is one.

moto keeps the groups and knows no TestFailover; here it has one. The primary is killed. What takes
its place is a node that had copied nothing yet, which replication without waiting allows: what the
cache held is gone. It is available when the new primary answers.
"""

from __future__ import annotations

import threading
from typing import Any

from stormgate.lab.cloud.acts import Acts
from stormgate.lab.design.cloud import cache_group


class Caches:
    """Which group is which of the lab's caches."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._caches: dict[str, str] = {}

    def seed(self, elasticache: Any, zone: dict[str, Any]) -> None:
        """The group of a zone: two nodes in it."""
        name = cache_group(zone["name"])
        elasticache.create_replication_group(
            ReplicationGroupId=name,
            ReplicationGroupDescription=f"the cache of {zone['name']}",
            AutomaticFailoverEnabled=True,
            NumNodeGroups=1,
            ReplicasPerNodeGroup=1,
            PreferredCacheClusterAZs=[zone["zone"]] * 2,
            Engine="valkey",
        )
        self._caches[name] = zone["cache"]

    def wrap(self) -> None:
        """Give moto the call that it has not."""
        from moto.core.responses import ActionResult
        from moto.elasticache.responses import ElastiCacheResponse

        caches = self

        def test_failover(self: Any) -> Any:
            name = self._get_param("ReplicationGroupId")
            [group] = self.elasticache_backend.describe_replication_groups(name)
            caches.fail_over(group, self._get_param("NodeGroupId"))
            return ActionResult({"ReplicationGroup": group})

        ElastiCacheResponse.test_failover = test_failover

    def fail_over(self, group: Any, node_group_id: str) -> None:
        """Begin. Raises moto's error for a node group that is not there, or is at it already."""
        from moto.elasticache.exceptions import ElastiCacheException

        node = next((n for n in group.node_groups if n["node_group_id"] == node_group_id), None)
        if node is None:
            raise ElastiCacheException("NodeGroupNotFoundFault", f"no node group {node_group_id}")
        if node["status"] != "available":
            raise ElastiCacheException("InvalidReplicationGroupState", f"it is {node['status']}")
        group.status, node["status"] = "modifying", "failing-over"
        component = self._caches.get(group.replication_group_id)
        if component is not None:
            self._acts.end(component, hard=True)
        threading.Thread(target=self._finish, args=(group, node, component), daemon=True).start()

    def _finish(self, group: Any, node: dict[str, Any], component: str | None) -> None:
        if component is not None:
            try:
                self._acts.start(component)
            except Exception as error:  # a thread of its own: it goes on failing over, and is told
                print(f"{component}: {error}", flush=True)
                return
        members = node["node_group_members"]
        before = next(one for one in members if one["current_role"] == "primary")
        after = next(one for one in members if one is not before)
        before["current_role"], after["current_role"] = "replica", "primary"
        group.status = node["status"] = "available"
