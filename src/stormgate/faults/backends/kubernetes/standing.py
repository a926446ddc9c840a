"""Whether a component is whole by the API server's word alone."""

from __future__ import annotations

from stormgate.faults.backends import Observation
from stormgate.faults.backends.kubernetes.handle import WORKLOADS, shape, told
from stormgate.faults.backends.kubernetes.nodes import standing_nodes
from stormgate.faults.backends.kubernetes.pods import (
    is_going,
    is_ready,
    pods_of,
    workload_whole,
)
from stormgate.faults.backends.kubernetes.ways import Site, named_object


def standing(site: Site) -> Observation:
    """One look. Raises CannotBreak for what is not there, KubernetesError."""
    kind = shape(site.handle)
    if kind == "nodes":
        return standing_nodes(site)
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
