"""Whether a component is whole by the API server's word alone."""

from __future__ import annotations

from stormgate.faults.backends import Observation
from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.handle import WORKLOADS, shape, told
from stormgate.faults.backends.kubernetes.nodes import TAINT
from stormgate.faults.backends.kubernetes.pods import (
    is_going,
    is_ready,
    nodes_of,
    pods_of,
    workload_whole,
)
from stormgate.faults.backends.kubernetes.ways import Site, named_object


def standing(site: Site) -> Observation:
    """One look. Raises CannotBreak for what is not there, KubernetesError."""
    kind = shape(site.handle)
    if kind == "nodes":
        unwell = [why for node in nodes_of(site) if (why := _unwell(node))]
        return Observation(not unwell, "; ".join(unwell[:3]) or f"{told(site.handle)} are whole")
    if kind == "lease":
        _, found = named_object(site)
        holder = found["spec"].get("holderIdentity")
        return Observation(bool(holder), f"{told(site.handle)} is held by {holder or 'nobody'}")
    if kind in WORKLOADS:
        _, found = named_object(site)
        return Observation(*workload_whole(found, kind))
    pods = [pod for pod in pods_of(site) if not is_going(pod)]
    ready = sum(map(is_ready, pods))
    return Observation(
        bool(pods) and ready == len(pods), f"{told(site.handle)}: {ready} of {len(pods)} ready"
    )


def _unwell(node: Json) -> str:
    name = node["metadata"]["name"]
    conditions = (node.get("status") or {}).get("conditions") or []
    if not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
        return f"node {name} is not Ready"
    if node["spec"].get("unschedulable"):
        return f"node {name} is cordoned"
    lost = any(taint["key"] == TAINT for taint in node["spec"].get("taints") or [])
    return f"node {name} has the taint {TAINT}" if lost else ""
