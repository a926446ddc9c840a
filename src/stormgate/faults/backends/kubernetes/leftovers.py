"""What stands in the cluster itself as broken by a run of Stormgate, whoever's: found by our label
and read from our annotations, when no ledger is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, KubernetesError, cluster_of
from stormgate.faults.backends.kubernetes.lock import OF_NODES, living_holder
from stormgate.faults.backends.kubernetes.marks import RUN_LABEL, records
from stormgate.faults.backends.kubernetes.roles import Rules
from stormgate.faults.backends.kubernetes.ways import Record
from stormgate.faults.errors import CannotBreak
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
    all places that the target's Kubernetes components name. What cannot be looked at, or read,
    hides nothing else: it is raised at the end, as CannotBreak.
    """
    seen: set[str] = set()
    problems: list[str] = []
    for handle, namespace in _places(target):
        try:
            cluster = cluster_of(handle)
            holder = living_holder(cluster, namespace or OF_NODES)
        except (KubernetesError, CannotBreak) as error:
            problems.append(str(error))
            continue
        for record, named in _marked(cluster, namespace, problems):
            token = str(record.get("token"))
            if token in seen:
                continue
            seen.add(token)
            basis = {key: handle[key] for key in ("context", "kubeconfig") if handle.get(key)}
            yield _part(target, record, {**basis, **named}), record, holder
    if problems:
        raise CannotBreak("; ".join(problems))


def needed_to_look(target: Target) -> Rules:
    """What looking for marks needs to be allowed, beside what undoing them does."""
    found: Rules = {}
    for handle, namespace in _places(target):
        context = str(handle["context"])
        verbs = found.setdefault((context, namespace), {})
        verbs.update({resource: {"list"} for resource in _looked_at(namespace)})
        held = found.setdefault((context, namespace or OF_NODES), {}).setdefault("leases", set())
        held.add("get")
    return found


def _looked_at(namespace: str | None) -> tuple[str, ...]:
    return _INSIDE if namespace else ("nodes",)


def _places(target: Target) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    found: dict[tuple[str, str | None], Mapping[str, Any]] = {}
    for part in target.components:
        if "context" in part.handle:
            found.setdefault((part.handle["context"], part.handle.get("namespace")), part.handle)
    for (_, namespace), handle in sorted(found.items(), key=lambda pair: str(pair[0])):
        yield handle, namespace


def _marked(
    cluster: Cluster, namespace: str | None, problems: list[str]
) -> Iterator[tuple[Record, dict[str, Any]]]:
    for resource in _looked_at(namespace):
        try:
            marked = cluster.list(resource, namespace, RUN_LABEL)
        except KubernetesError as error:
            problems.append(str(error))
            continue
        for found in marked:
            name = str(found["metadata"]["name"])
            try:
                read = [(one, _named(resource, name, namespace, one)) for one in records(found)]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                problems.append(f"{resource}/{name}: its mark cannot be read: {error}")
                continue
            yield from read


def _named(resource: str, name: str, namespace: str | None, record: Record) -> dict[str, Any]:
    """The handle that what a record tells is undone by."""
    if resource == "nodes":
        return {"node": name}
    if resource == "networkpolicies":
        # Which pods it was for does not matter for its deletion.
        labels = (record.get("pods") or {}).get("matchLabels") or {}
        return {"namespace": namespace, "labels": dict(labels) or {"a": "a"}}
    # What a fault made beside its object is found, and undone, by that object.
    of = record.get("object") or {"resource": resource, "name": name}
    return {"namespace": namespace, str(of["resource"]).removesuffix("s"): str(of["name"])}


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
