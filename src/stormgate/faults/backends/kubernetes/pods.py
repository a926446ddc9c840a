"""Which pods a component is, and what is known of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, Json
from stormgate.faults.backends.kubernetes.handle import WORKLOADS, selector_text, shape, told
from stormgate.faults.backends.kubernetes.ways import Permission, Site, named_object
from stormgate.faults.errors import CannotBreak, EmptySelection, NotWhole
from stormgate.faults.selection import share_count

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
_DONE = frozenset({"Succeeded", "Failed"})


def pods_of(site: Site) -> list[dict[str, Any]]:
    """The pods of a component that have not ended, by name. Raises CannotBreak when its workload or
    service is not there, KubernetesError.
    """
    handle, cluster = site.handle, site.cluster
    kind = shape(handle)
    if kind == "nodes":
        return on_nodes(cluster, [node["metadata"]["name"] for node in nodes_of(site)])
    if kind == "pod":
        found = cluster.find("pods", site.namespace, str(handle["pod"]))
        return [found] if found is not None and _goes_on(found) else []
    pods = cluster.list("pods", site.namespace, _selector(site, kind))
    if handle.get("region") or handle.get("zone"):
        names = {node["metadata"]["name"] for node in nodes_of(site)}
        pods = [pod for pod in pods if pod["spec"].get("nodeName") in names]
    return sorted(filter(_goes_on, pods), key=lambda pod: str(pod["metadata"]["name"]))


def ready_pods(site: Site) -> list[dict[str, Any]]:
    """The pods of a component, every one of them ready. Raises CannotBreak where there is none,
    NotWhole where one is not, KubernetesError.
    """
    every = [pod for pod in pods_of(site) if not is_going(pod)]
    if not every:
        raise CannotBreak(f"{site.part.name}: {told(site.handle)}: no pod is selected")
    unready = [noted(pod) for pod in every if not is_ready(pod)]
    if unready:
        raise NotWhole(
            f"{site.part.name}: {len(unready)} of {len(every)} pods were not ready before the "
            f"fault ({names(unready)})"
        )
    return every


def _selector(site: Site, kind: str) -> str:
    if kind == "pods":
        return selector_text(site.handle["labels"])
    _, found = named_object(site)
    if kind in WORKLOADS:
        return label_selector(found["spec"]["selector"])
    selector = found["spec"].get("selector")
    if not selector:
        raise CannotBreak(f"{site.part.name}: {told(site.handle)} selects no pods by labels")
    return selector_text(selector)


def nodes_of(site: Site) -> list[dict[str, Any]]:
    """The nodes of a component, or those a component's pods are kept on. Raises CannotBreak when
    there are none, KubernetesError.
    """
    handle = site.handle
    if handle.get("node"):
        found = [site.cluster.find("nodes", None, str(handle["node"]))]
    else:
        wanted = {
            label: str(handle[key])
            for key, label in (("region", REGION), ("zone", ZONE))
            if handle.get(key)
        }
        found = [*site.cluster.list("nodes", None, selector_text(wanted))]
    nodes = [node for node in found if node is not None]
    if not nodes:
        raise CannotBreak(f"{site.part.name}: there are no {told(handle)} in this cluster")
    return sorted(nodes, key=lambda node: str(node["metadata"]["name"]))


def on_nodes(cluster: Cluster, names: Iterable[str]) -> list[dict[str, Any]]:
    """The pods of these nodes, in all namespaces, that have not ended."""
    found = []
    for name in names:
        found += cluster.list("pods", None, fields=f"spec.nodeName={name}")
    return sorted(
        filter(_goes_on, found),
        key=lambda pod: (str(pod["metadata"]["namespace"]), str(pod["metadata"]["name"])),
    )


def drawn(pods: Sequence[dict[str, Any]], share: str | int) -> list[dict[str, Any]]:
    """That share of the pods; the same of the same pods. Raises CannotBreak."""
    try:
        count = share_count(share, len(pods))
    except EmptySelection as error:
        raise CannotBreak(str(error)) from None
    key = "\n".join(str(pod["metadata"]["uid"]) for pod in pods)
    generator = random.Random(hashlib.sha256(key.encode()).digest())  # noqa: S311 - a repeatable draw, not a secret
    chosen = {str(pod["metadata"]["uid"]) for pod in generator.sample(list(pods), count)}
    return [pod for pod in pods if pod["metadata"]["uid"] in chosen]


def label_selector(selector: Json) -> str:
    """A LabelSelector as a query has it. Raises CannotBreak for an empty one."""
    words = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or []:
        key, values = one["key"], ",".join(one.get("values") or [])
        words.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[one["operator"]]
        )
    if not words:
        raise CannotBreak("an empty selector would take every pod of the namespace")
    return ",".join(words)


def is_ready(pod: Json) -> bool:
    """Whether a pod is ready and not about to go."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return ready and not is_going(pod)


def is_going(pod: Json) -> bool:
    """Whether a pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def controller_of(pod: Json) -> Json | None:
    """What makes a pod anew when it is gone; None when nothing does."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def stays(pod: Json) -> bool:
    """Whether a pod stays on its node when that is emptied: of a DaemonSet, or the node's own."""
    owner = controller_of(pod)
    of_node = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    return of_node or (owner is not None and owner.get("kind") == "DaemonSet")


def noted(pod: Json) -> dict[str, Any]:
    """What a record holds of a pod."""
    about = pod["metadata"]
    return {
        "ns": about.get("namespace"),
        "name": about["name"],
        "uid": about["uid"],
        "ip": (pod.get("status") or {}).get("podIP"),
        "on": pod["spec"].get("nodeName"),
    }


def names(pods: Sequence[Mapping[str, Any]], most: int = 3) -> str:
    """The names of noted pods, in words."""
    listed = ", ".join(str(pod["name"]) for pod in pods[:most])
    return listed + (f" and {len(pods) - most} more" if len(pods) > most else "")


def workload_whole(found: Json, kind: str) -> tuple[bool, str]:
    """Whether a workload has all the ready pods it wants, and in words."""
    status = found.get("status") or {}
    if kind == "daemonset":
        wanted, ready = status.get("desiredNumberScheduled"), status.get("numberReady", 0)
    else:
        wanted, ready = found["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
    words = f"{kind}/{found['metadata']['name']}: {ready} of {wanted} ready"
    return bool(seen and wanted is not None and ready >= wanted), words


def reading(handle: Mapping[str, Any]) -> tuple[Permission, ...]:
    """What finding a component's pods needs."""
    kind = shape(handle)
    found = [Permission("pods", ("get", "list"), everywhere=kind == "nodes")]
    if kind in (*WORKLOADS, "service"):
        found.append(Permission(f"{kind}s", ("get",)))
    if kind == "nodes" or handle.get("region") or handle.get("zone"):
        found.append(Permission("nodes", ("get", "list"), everywhere=True))
    return tuple(found)


def _goes_on(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") not in _DONE
