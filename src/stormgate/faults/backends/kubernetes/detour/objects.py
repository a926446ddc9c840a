"""What a detour is made of, as the API server takes it: the ports of a Service, a Deployment of one
Toxiproxy pod, and a shadow Service that selects what the Service itself selected. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.marks import MANAGED, RUN_LABEL, made
from stormgate.faults.errors import CannotBreak

DETOUR = "stormgate.dev/detour"
_API_PORT, _OTHER_PORT = 8474, 18474
# How long the proxy goes on after the Service has its pods back, for connections that are open.
DRAIN_S = 10
_COUNTER = re.compile(r'^toxiproxy_proxy_received_bytes_total\{[^}]*?proxy="([^"]+)"[^}]*\} (\S+)')


def name_of(token: str) -> str:
    """The Deployment's name, and the shadow Service's."""
    return f"stormgate-{token}"


def ports_of(who: str, service: Json, pods: Sequence[Json]) -> list[dict[str, Any]]:
    """The ports to lead round: `key` names the proxy, `port` is the Service's, `listen` what its
    pods listen on, `target` as the Service says it. Raises CannotBreak for a Service whose traffic
    cannot be led through one pod.
    """
    spec = service["spec"]
    why = _cannot(spec)
    if why:
        raise CannotBreak(f"{who}: {why}")
    found = []
    for one in spec.get("ports") or []:
        if one.get("protocol", "TCP") != "TCP":
            raise CannotBreak(f"{who}: port {one['port']} is {one['protocol']}, not TCP")
        target = one.get("targetPort", one["port"])
        listen = target if isinstance(target, int) else _number(str(target), pods)
        if listen is None:
            raise CannotBreak(f"{who}: no ready pod of it has a port named {target!r}")
        found.append(
            {"key": f"port-{one['port']}", "port": one["port"], "listen": listen, "target": target}
        )
    if not found:
        raise CannotBreak(f"{who}: it has no ports")
    return found


def deployment(record: Json) -> dict[str, Any]:
    """One Toxiproxy pod, as a namespace that enforces the restricted profile admits it."""
    labels = {DETOUR: str(record["token"]), RUN_LABEL: str(record["run"]), MANAGED: "stormgate"}
    named = [one for one in record["ports"] if isinstance(one["target"], str)]
    ports = [{"containerPort": one["listen"], "name": one["target"]} for one in named]
    container = {
        "name": "toxiproxy",
        "image": record["image"],
        "args": ["-host=$(POD_IP)", f"-port={record['api_port']}", "-proxy-metrics"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"containerPort": record["api_port"], "name": "stormgate-api"}, *ports],
        "readinessProbe": {
            "httpGet": {"path": "/version", "port": record["api_port"]},
            "periodSeconds": 1,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_S}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": DRAIN_S + 5,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
            # So that it may listen on what its pods listen on, whoever it runs as.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": made(name_of(str(record["token"])), record),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {DETOUR: str(record["token"])}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def shadow(record: Json) -> dict[str, Any]:
    """The Service that leads from the proxy to where the Service led before."""
    ports = [
        {"name": one["key"], "port": one["port"], "targetPort": one["target"]}
        for one in record["ports"]
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": made(name_of(str(record["token"])), record),
        "spec": {"selector": dict(record["before"]), "ports": ports},
    }


def api_port(ports: Sequence[Mapping[str, Any]]) -> int:
    """Where the proxy itself is told what to do: on a port that nobody else needs."""
    return _OTHER_PORT if any(one["listen"] == _API_PORT for one in ports) else _API_PORT


def joined(host: str, port: int) -> str:
    """host:port, of IPv6 too."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def received_bytes(metrics: str) -> dict[str, int]:
    """What came in through each proxy, both ways, by its own counters (bytes)."""
    found: dict[str, int] = {}
    for line in metrics.splitlines():
        match = _COUNTER.match(line)
        if match:
            found[match[1]] = found.get(match[1], 0) + int(float(match[2]))
    return found


def _cannot(spec: Json) -> str:
    if spec.get("type") == "ExternalName":
        return "an ExternalName is a name alone: nothing of it can be led round"
    if spec.get("clusterIP") == "None":
        return "a headless Service leads each client to a pod by name: nothing of it passes a proxy"
    for policy in ("externalTrafficPolicy", "internalTrafficPolicy"):
        if spec.get(policy) == "Local":
            return f"with {policy}: Local a proxy on one node would lose the traffic of the others"
    return ""


def _number(name: str, pods: Sequence[Json]) -> int | None:
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or []:
                if port.get("name") == name:
                    return int(port["containerPort"])
    return None
