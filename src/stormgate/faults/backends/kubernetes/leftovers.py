"""What stands in the cluster itself as broken by a run of Stormgate, whoever's: found by our label
and read from our annotations, when no ledger is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, cluster_of
from stormgate.faults.backends.kubernetes.lock import OF_NODES, living_holder
from stormgate.faults.backends.kubernetes.marks import RUN_LABEL, records
from stormgate.faults.backends.kubernetes.ways import Record
from stormgate.model import Component, Target

_INSIDE = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "services",
    "leases",
    "networkpolicies",
    "pods",
)


def left_in(target: Target) -> Iterator[tuple[Component, Record, str | None]]:
    """(component, undo record, the live holder of its namespace) of everything that is marked, in
    all places that the target's Kubernetes components name. Raises KubernetesError, CannotBreak,
    ValueError for a mark that cannot be read.
    """
    seen: set[str] = set()
    for handle, namespace in _places(target):
        cluster = cluster_of(handle)
        holder = living_holder(cluster, namespace or OF_NODES)
        for record, named in _marked(cluster, namespace):
            token = str(record["token"])
            if token in seen:
                continue
            seen.add(token)
            basis = {key: handle[key] for key in ("context", "kubeconfig") if handle.get(key)}
            yield _part(target, record, {**basis, **named}), record, holder


def _places(target: Target) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    found: dict[tuple[str, str | None], Mapping[str, Any]] = {}
    for part in target.components:
        if "context" in part.handle:
            found.setdefault((part.handle["context"], part.handle.get("namespace")), part.handle)
    for (_, namespace), handle in sorted(found.items(), key=lambda pair: str(pair[0])):
        yield handle, namespace


def _marked(cluster: Cluster, namespace: str | None) -> Iterator[tuple[Record, dict[str, Any]]]:
    for resource in _INSIDE if namespace else ("nodes",):
        for found in cluster.list(resource, namespace, RUN_LABEL):
            name = str(found["metadata"]["name"])
            for record in records(found):
                if resource == "nodes":
                    yield record, {"node": name}
                elif resource == "networkpolicies":
                    # Which pods it was for does not matter for its deletion.
                    labels = (record.get("pods") or {}).get("matchLabels") or {}
                    yield record, {"namespace": namespace, "labels": dict(labels) or {"a": "a"}}
                else:
                    # What a fault made beside its object is found, and undone, by that object.
                    of = record.get("object") or {"resource": resource, "name": name}
                    kind = str(of["resource"]).removesuffix("s")
                    yield record, {"namespace": namespace, kind: str(of["name"])}


def _part(target: Target, record: Record, handle: dict[str, Any]) -> Component:
    """The target's own component of this handle, so that it is looked at as the target says; else
    one made for this undo.
    """
    for part in target.components:
        if "context" in part.handle and all(part.handle.get(k) == v for k, v in handle.items()):
            return part
    name = handle.get("namespace") or "nodes"
    kind = next((key for key in handle if key not in ("context", "kubeconfig", "namespace")), "")
    return Component(name=f"{name}/{kind}", kind="found", backend="kubernetes", handle=handle)
