"""What a cluster holds, as the target document that can break it, and what in it no mode breaks.
It only lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, Json
from stormgate.faults.backends.kubernetes.pods import REGION, ZONE, controller_of
from stormgate.geography.places import UnknownPlaceError, cloud_region

_SYSTEM = ("kube-", "gke-", "aks-", "openshift-")
_Component = dict[str, Any]
_PER_NAMESPACE = ("deployments", "statefulsets", "daemonsets")


@dataclass(slots=True)
class Discovered:
    """`components` as a target document has them, by region first; `regions` with what is known of
    their place; `fronts`: addresses from outside (name, host:port); `beyond`: what no mode breaks,
    and why.
    """

    regions: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    components: list[dict[str, Any]] = field(default_factory=list)
    fronts: list[tuple[str, str]] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)


def discover(
    cluster: Cluster, basis: Mapping[str, str], namespaces: Sequence[str] = ()
) -> Discovered:
    """What is in these namespaces (none: all but the system's own). `basis`: what every handle
    begins with (context, kubeconfig). Raises KubernetesError.
    """
    found = Discovered()
    _nodes(cluster, basis, found)
    names = namespaces or [
        str(one["metadata"]["name"])
        for one in cluster.list("namespaces", None)
        if not str(one["metadata"]["name"]).startswith(_SYSTEM)
    ]
    for name in names:
        for resource in _PER_NAMESPACE:
            for one in cluster.list(resource, name):
                _workload(one, resource.removesuffix("s"), basis, found)
        for one in cluster.list("services", name):
            _service(one, basis, found)
        for pod in cluster.list("pods", name):
            if controller_of(pod) is None:
                about = pod["metadata"]
                found.beyond.append(f"pod {name}/{about['name']}: no controller makes it anew")
    return found


def document(found: Discovered, name: str, host: str, context: str) -> str:
    """The target document, as YAML with comments where somebody has to know better."""
    allow = dict.fromkeys([host, *(front.rpartition(":")[0] for _, front in found.fronts)])
    front = found.fronts[0][1] if found.fronts else ""
    lines = [
        f"# What `stormgate discover kubernetes --context {context}` found. Read it before you use",
        "# it: whatever stands under `components` can be broken.",
        "apiVersion: stormgate.dev/v1",
        "kind: Target",
        f"metadata: {{name: {_text(name)}}}",
        "spec:",
        "  environment: production # until you say otherwise: test or staging",
        f"  allow: {_text(list(allow))} # the API server, and where users come in",
        "  regions:",
        *_regions(found.regions),
        "  populations: # who your users are, nobody here can know",
        "    - name: everyone",
        "      share: 100%",
        "      latitude: 0.0",
        "      longitude: 0.0",
        "      edges: [front]",
        f"      links: {{front: {_text(f'http://{front}' if front else '${FRONT_URL}')}}}"
        + ("" if front else " # no address from outside was found: set FRONT_URL"),
        *(f"    # another address from outside: {one} at {at}" for one, at in found.fronts[1:]),
        "  # observe: {region: x-region} # the response header that says who answered",
        "  components:",
        *(f"    - {_flow(one)}" for one in found.components),
    ]
    if not found.components:
        lines[-1] = "  components: []"
    lines += ["", "# What no mode of this backend breaks:"]
    lines += [f"# - {one}" for one in found.beyond]
    lines += [
        "# - the network between pods (loss, delay), clocks, power: an agent on the nodes",
        "# - what is not in this cluster: managed databases, queues, DNS (backend aws, or command)",
    ]
    return "\n".join(lines) + "\n"


def _nodes(cluster: Cluster, basis: Mapping[str, str], found: Discovered) -> None:
    zones: dict[str, set[str]] = {}
    for node in cluster.list("nodes", None):
        labels = node["metadata"].get("labels") or {}
        region, zone = labels.get(REGION), labels.get(ZONE)
        if not region:
            name = node["metadata"]["name"]
            found.beyond.append(f"node {name}: it has no label {REGION}; name it by `node`")
            continue
        zones.setdefault(str(region), set()).update({str(zone)} if zone else set())
    for region, inside in sorted(zones.items()):
        found.regions[region] = _place(region)
        found.components += list(_region(region, sorted(inside), basis))
    if not zones:
        found.regions["everywhere"] = None


def _region(region: str, zones: Iterable[str], basis: Mapping[str, str]) -> Iterator[_Component]:
    common = {"kind": "nodes", "region": region, "backend": "kubernetes"}
    yield {"name": f"{region}/nodes", **common, "handle": {**basis, "region": region}}
    yield {
        "name": region,
        "kind": "region",
        "region": region,
        "backend": "group",
        "parts": [f"{region}/nodes"],
    }
    for zone in zones:
        yield {"name": f"{region}/{zone}", **common, "handle": {**basis, "zone": zone}}


def _workload(one: Json, kind: str, basis: Mapping[str, str], found: Discovered) -> None:
    about = one["metadata"]
    namespace, name = str(about["namespace"]), str(about["name"])
    if kind != "daemonset" and not one["spec"].get("replicas", 1):
        found.beyond.append(f"{kind} {namespace}/{name}: it has no replicas")
        return
    found.components.append(
        {
            "name": f"{namespace}/{name}",
            "kind": kind,
            "backend": "kubernetes",
            "handle": {**basis, "namespace": namespace, kind: name},
        }
    )


def _service(one: Json, basis: Mapping[str, str], found: Discovered) -> None:
    about, spec = one["metadata"], one["spec"]
    namespace, name = str(about["namespace"]), str(about["name"])
    if not spec.get("selector"):
        if (namespace, name) != ("default", "kubernetes"):
            why = "it selects no pods (something outside, or ends that somebody else sets)"
            found.beyond.append(f"service {namespace}/{name}: {why}")
        return
    component: dict[str, Any] = {
        "name": f"{namespace}/{name}-service",
        "kind": "service",
        "backend": "kubernetes",
        "handle": {**basis, "namespace": namespace, "service": name},
    }
    balancer = ((one.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    ports = spec.get("ports") or []
    for entry in balancer[:1]:
        host = entry.get("ip") or entry.get("hostname")
        if host and ports:
            address = (
                f"[{host}]:{ports[0]['port']}" if ":" in host else f"{host}:{ports[0]['port']}"
            )
            component["observe"] = {"protocol": "tcp", "address": address}
            found.fronts.append((f"{namespace}/{name}", address))
    found.components.append(component)


def _place(region: str) -> tuple[float, float] | None:
    try:
        known = cloud_region(region)
    except UnknownPlaceError:
        return None
    return known.latitude, known.longitude


def _regions(regions: Mapping[str, tuple[float, float] | None]) -> Iterator[str]:
    for name, place in regions.items():
        at = place or (0.0, 0.0)
        unknown = "" if place else " # where is it?"
        yield f"    - {{name: {_text(name)}, latitude: {at[0]}, longitude: {at[1]}}}{unknown}"


def _flow(component: Mapping[str, Any]) -> str:
    """One component in one line."""
    inside = ", ".join(
        f"{key}: {_flow(value) if isinstance(value, Mapping) else _text(value)}"
        for key, value in component.items()
    )
    return f"{{{inside}}}"


def _text(value: Any) -> str:
    """A value as YAML reads it back: JSON is YAML."""
    return json.dumps(value, ensure_ascii=True)
