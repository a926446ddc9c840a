"""Nodes: `cordon`, `drain`, `zone_loss` and `crash` of a node, a zone or a region. The kubelets
live on: this empties nodes, it does not cut their power.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.handle import told
from stormgate.faults.backends.kubernetes.killing import delete_pods, evict_pods, refuse_orphans
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    VanishedError,
    change,
    is_marked,
    mark_steps,
    same,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.pods import (
    is_going,
    names,
    nodes_of,
    noted,
    on_nodes,
    stays,
)
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
    where,
)
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole

TAINT = "stormgate.dev/lost"


class DrainWithin(Parameters):
    """`within_s`: how long a disruption budget that refuses is asked again, s."""

    within_s: float = Field(default=20.0, ge=0, le=600)


class OfNodes(ClusterMode):
    """A change to every node of the component; undone on each that carries our mark."""

    signed = False
    """Whether what stands on a node names its fault: it is known, then, without the mark."""

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            Permission("nodes", ("get", "list", "patch"), everywhere=True),
            Permission("pods", ("get", "list"), everywhere=True),
        )

    def break_steps(self, found: Json, record: Record) -> Steps:
        """The steps of the change to one node."""
        raise NotImplementedError

    def mend_steps(self, found: Json, record: Record) -> Steps:
        """The steps that take it back, where it still stands."""
        raise NotImplementedError

    def broken(self, found: Json, record: Record) -> bool:
        """Whether the change still stands on a node."""
        raise NotImplementedError

    def ready_to_break(self, site: Site, node: Json) -> None:
        """Raises NotWhole for a node that is broken already."""
        conditions = (node.get("status") or {}).get("conditions") or []
        name = node["metadata"]["name"]
        if not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
            raise NotWhole(f"{site.part.name}: node {name} was not Ready before the fault")
        if node["spec"].get("unschedulable"):
            raise NotWhole(f"{site.part.name}: node {name} was cordoned before, by somebody else")
        if any(taint["key"] == TAINT for taint in node["spec"].get("taints") or []):
            raise NotWhole(f"{site.part.name}: node {name} has a taint {TAINT} already")

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        nodes = nodes_of(site)
        for node in nodes:
            self.ready_to_break(site, node)
        found = [pod for pod in on_nodes(site.cluster, _names(nodes)) if not stays(pod)]
        refuse_orphans(site, found)
        self.refuse_empty(site, found)
        return begun(
            request,
            nodes=[where("nodes", node) for node in nodes],
            pods=[noted(pod) for pod in found if not is_going(pod)],
            within_s=request.params.get("within_s", 0.0),
        )

    def refuse_empty(self, site: Site, pods: Sequence[Json]) -> None:
        """Raises CannotBreak where there is nothing on the nodes that could be lost."""
        if not pods:
            raise CannotBreak(f"{site.part.name}: no pod runs on {told(site.handle)}")

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            return [*self.break_steps(found, record), *mark_steps(found, record)]

        for node in record["nodes"]:
            change(site.cluster, node, steps)

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            own = is_marked(found, record)
            ours = self.broken(found, record) and (own or self.signed)
            mend = self.mend_steps(found, record) if ours else []
            return [*mend, *(unmark_steps(found, record) if own else [])]

        for node in record["nodes"]:
            # One that an autoscaler took away, or made anew, has nothing of ours left.
            with contextlib.suppress(VanishedError):
                change(site.cluster, node, steps)

    def in_effect(self, site: Site, record: Record) -> Observation:
        healed = [
            str(node["name"])
            for node in record["nodes"]
            if not self.broken(same(site.cluster, node), record)
        ]
        if healed:
            return Observation(False, f"node {', '.join(healed[:3])}: somebody took it back")
        return self.emptied(site, record)

    def emptied(self, site: Site, record: Record) -> Observation:
        """Whether nothing is left on the nodes that should be gone."""
        nodes = [str(node["name"]) for node in record["nodes"]]
        left = [
            noted(pod)
            for pod in on_nodes(site.cluster, nodes)
            if not stays(pod) and not is_going(pod) and not _tolerates(pod, record)
        ]
        if left:
            return Observation(False, f"{len(left)} pods are still on {nodes[0]}…: {names(left)}")
        return Observation(
            True,
            f"{len(nodes)} nodes ({', '.join(nodes[:4])}) hold none of the {len(record['pods'])} "
            "pods any more",
        )

    def is_whole(self, site: Site, record: Record) -> Observation:
        seen = 0
        for node in record["nodes"]:
            try:
                found = same(site.cluster, node)
            except VanishedError:
                continue
            if is_marked(found, record) or self.broken(found, record):
                return Observation(False, f"node {node['name']} still carries the fault")
            conditions = (found.get("status") or {}).get("conditions") or []
            if not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
                return Observation(False, f"node {node['name']} is not Ready")
            seen += 1
        if not seen:
            # All were replaced: whole is what has taken their place, where that is how it is named.
            return standing_nodes(site)
        return Observation(True, f"{seen} nodes are schedulable, Ready and free of our mark")


class Cordon(OfNodes):
    """No new pod is scheduled there; what runs goes on."""

    def break_steps(self, found: Json, record: Record) -> Steps:
        if found["spec"].get("unschedulable"):
            raise NotApplied(f"node {found['metadata']['name']} was cordoned just now by somebody")
        return [{"op": "add", "path": "/spec/unschedulable", "value": True}]

    def mend_steps(self, found: Json, record: Record) -> Steps:
        return [{"op": "remove", "path": "/spec/unschedulable"}]

    def broken(self, found: Json, record: Record) -> bool:
        return bool(found["spec"].get("unschedulable"))

    def refuse_empty(self, site: Site, pods: Sequence[Json]) -> None:
        """An empty node can be cordoned, too."""

    def emptied(self, site: Site, record: Record) -> Observation:
        nodes = ", ".join(str(node["name"]) for node in record["nodes"][:4])
        return Observation(True, f"{len(record['nodes'])} nodes are unschedulable ({nodes})")

    def by_hand(self, site: Site, record: Record) -> str:
        return site.kubectl("uncordon " + " ".join(str(node["name"]) for node in record["nodes"]))


class Drain(Cordon):
    """Cordoned, then every pod is evicted as its disruption budget allows."""

    parameters = DrainWithin

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            *super().permissions(handle),
            Permission("pods/eviction", ("create",), everywhere=True),
        )

    def refuse_empty(self, site: Site, pods: Sequence[Json]) -> None:
        OfNodes.refuse_empty(self, site, pods)

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        super().apply(site, record, stop)
        evict_pods(site, record["pods"], float(record["within_s"]), stop)

    def emptied(self, site: Site, record: Record) -> Observation:
        return OfNodes.emptied(self, site, record)


class ZoneLoss(OfNodes):
    """A NoExecute taint: the cluster itself ends every pod that does not tolerate it, past any
    disruption budget, with the pod's own grace.
    """

    signed = True

    def break_steps(self, found: Json, record: Record) -> Steps:
        taint = {"key": TAINT, "value": record["token"], "effect": "NoExecute"}
        if not found["spec"].get("taints"):
            return [{"op": "add", "path": "/spec/taints", "value": [taint]}]
        return [{"op": "add", "path": "/spec/taints/-", "value": taint}]

    def mend_steps(self, found: Json, record: Record) -> Steps:
        kept = [taint for taint in found["spec"].get("taints") or [] if not _ours(taint, record)]
        if not kept:
            return [{"op": "remove", "path": "/spec/taints"}]
        return [{"op": "replace", "path": "/spec/taints", "value": kept}]

    def broken(self, found: Json, record: Record) -> bool:
        return any(_ours(taint, record) for taint in found["spec"].get("taints") or [])

    def by_hand(self, site: Site, record: Record) -> str:
        nodes = " ".join(str(node["name"]) for node in record["nodes"])
        return site.kubectl(f"taint nodes {nodes} {TAINT}:NoExecute-")


class NodesCrash(ZoneLoss):
    """The taint keeps everything away, and what runs there is deleted at once, with no grace."""

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (*super().permissions(handle), Permission("pods", ("delete",), everywhere=True))

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        super().apply(site, record, stop)
        problems, _ = delete_pods(site.cluster, record["pods"], 0)
        if problems:
            raise NotApplied(f"{site.part.name}: {'; '.join(problems[:3])}")


def standing_nodes(site: Site) -> Observation:
    """Whether the nodes of a component are as they ought to be, all of them. Raises CannotBreak
    where there are none, KubernetesError.
    """
    unwell = [why for node in nodes_of(site) if (why := _unwell(node))]
    return Observation(not unwell, "; ".join(unwell[:3]) or f"{told(site.handle)} are whole")


def _unwell(node: Json) -> str:
    name = node["metadata"]["name"]
    conditions = (node.get("status") or {}).get("conditions") or []
    if not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
        return f"node {name} is not Ready"
    if node["spec"].get("unschedulable"):
        return f"node {name} is cordoned"
    lost = any(taint["key"] == TAINT for taint in node["spec"].get("taints") or [])
    return f"node {name} has the taint {TAINT}" if lost else ""


def _ours(taint: Mapping[str, Any], record: Record) -> bool:
    return bool(taint.get("key") == TAINT and taint.get("value") == record["token"])


def _tolerates(pod: Json, record: Record) -> bool:
    """Whether a pod stays on a tainted node, by its own word. A drained one is not tainted."""
    if record["mode"] == "drain":
        return False
    for one in pod["spec"].get("tolerations") or []:
        if one.get("key") in (None, TAINT) and one.get("effect") in (None, "", "NoExecute"):
            return bool(one.get("operator") == "Exists" or one.get("value") == record["token"])
    return False


def _names(nodes: Sequence[Json]) -> list[str]:
    return [str(node["metadata"]["name"]) for node in nodes]
