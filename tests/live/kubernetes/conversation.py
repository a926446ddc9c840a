"""What is asked of the real API server and of the stand-in alike, and their answers, made
comparable: status, reason, and the words without what differs from run to run.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded.json"
JSON_PATCH = "application/json-patch+json"
LIMITED = "limited-token"
Call = Callable[..., tuple[int, dict[str, Any]]]

_LABELS = {"app": "talk"}
DEPLOYMENT = {
    "metadata": {"name": "talk"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "talk:1",
                        "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}},
                    }
                ]
            },
        },
    },
}
_DEPLOYMENTS = "apis/apps/v1/namespaces/shop/deployments"
_PODS = "api/v1/namespaces/shop/pods"
_BUDGETS = "apis/policy/v1/namespaces/shop/poddisruptionbudgets"
_SCALERS = "apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POD = re.compile(r"talk-[0-9a-z-]+")


def converse(call: Call, knock: Call) -> dict[str, Any]:
    """Ask everything; the answers by name. There are a namespace `shop` and a user `limited`.
    `knock` asks for a websocket.
    """
    said: dict[str, Any] = {}

    def ask(name: str, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        status, answer = call(method, path, body, **more)
        said[name] = {"status": status, **_comparable(answer)}
        return answer

    ask("get nothing", "GET", f"{_DEPLOYMENTS}/nobody")
    ask("create", "POST", _DEPLOYMENTS, DEPLOYMENT)
    ask("create again", "POST", _DEPLOYMENTS, DEPLOYMENT)
    pods = _ready(call, 2)
    uid, first = pods[0]["metadata"]["uid"], pods[0]["metadata"]["name"]
    wrong = "00000000-0000-0000-0000-000000000000"

    def patch(name: str, *steps: Any) -> None:
        ask(name, "PATCH", f"{_DEPLOYMENTS}/talk", list(steps), kind=JSON_PATCH)

    replicas = "/spec/replicas"
    patch(
        "patch with a test that fails",
        {"op": "test", "path": replicas, "value": 9},
        {"op": "replace", "path": replicas, "value": 1},
    )
    patch("patch of a field that is not there", {"op": "remove", "path": "/metadata/annotations/x"})
    patch(
        "patch with a test that holds",
        {"op": "test", "path": replicas, "value": 2},
        {"op": "add", "path": "/metadata/annotations/stormgate.dev~1undo-1", "value": "{}"},
    )
    options = {"preconditions": {"uid": wrong}}
    ask("delete another", "DELETE", f"{_PODS}/{first}", options)
    ask("delete nobody", "DELETE", f"{_PODS}/nobody", options)
    ask(
        "forbidden",
        "PATCH",
        f"{_DEPLOYMENTS}/talk",
        [{"op": "replace", "path": replicas, "value": 1}],
        kind=JSON_PATCH,
        token=LIMITED,
    )
    ask("forbidden list", "GET", "api/v1/nodes", token=LIMITED)
    ask("no such user", "GET", f"{_DEPLOYMENTS}/talk", token="nonsense")
    review = {
        "metadata": {},
        "spec": {
            "resourceAttributes": {
                "verb": "create",
                "group": "",
                "resource": "pods",
                "subresource": "eviction",
                "namespace": "shop",
            }
        },
    }
    path = "apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for name, token in (("may", ""), ("may not", LIMITED)):
        body = {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            **review,
        }
        status, answer = call("POST", path, body, token=token)
        said[f"review: {name}"] = {"status": status, "allowed": answer["status"]["allowed"]}
    budget = {
        "metadata": {"name": "keep"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": _LABELS}},
    }
    ask("budget", "POST", _BUDGETS, budget)
    _budget_known(call)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first}}
    ask("evict against the budget", "POST", f"{_PODS}/{first}/eviction", eviction)
    ask(
        "evict nobody",
        "POST",
        f"{_PODS}/nobody/eviction",
        {**eviction, "metadata": {"name": "nobody"}},
    )
    ask(
        "delete at once",
        "DELETE",
        f"{_PODS}/{first}",
        {"preconditions": {"uid": uid}, "gracePeriodSeconds": 0},
    )
    status, _ = call("GET", f"{_PODS}/{first}")
    said["then it is"] = {"status": status}
    call("DELETE", f"{_BUDGETS}/keep", {})
    pod = _ready(call, 2)[0]["metadata"]["name"]
    _resize(call, ask, said, pod)
    _exec(knock, ask, said, pod)
    _autoscale(call, ask, said)
    call("DELETE", f"{_DEPLOYMENTS}/talk", {"propagationPolicy": "Background"})
    return said


def _resize(call: Call, ask: Call, said: dict[str, Any], pod: str) -> None:
    """Less CPU in place, and what is refused of it."""
    cpu = "/spec/containers/0/resources"

    def resize(name: str, *steps: Any, of: str = pod, token: str = "") -> None:
        ask(name, "PATCH", f"{_PODS}/{of}/resize", list(steps), kind=JSON_PATCH, token=token)

    def put(kind: str, value: str) -> dict[str, str]:
        return {"op": "replace", "path": f"{cpu}/{kind}/cpu", "value": value}

    less = [put("limits", "100m"), put("requests", "100m")]
    resize("resize nobody", *less, of="nobody")
    resize("resize forbidden", *less, token=LIMITED)
    resize("resize with a test that fails", {"op": "test", "path": f"{cpu}/limits/cpu", "value": 1})
    resize("resize a request above its limit", put("limits", "100m"))
    resize("resize a limit away", {"op": "remove", "path": f"{cpu}/limits"})
    image = {"op": "replace", "path": "/spec/containers/0/image", "value": "other:1"}
    resize("resize something else", image)
    resize("resize", *less)
    _, found = call("GET", f"{_PODS}/{pod}")
    said["then it has"] = found["spec"]["containers"][0]["resources"]


def _exec(knock: Call, ask: Call, said: dict[str, Any], pod: str) -> None:
    """What is said before any command runs."""
    query = "exec?command=true&stdout=true&container="
    ask("exec without a websocket", "GET", f"{_PODS}/{pod}/{query}main")
    for name, path, token in (
        ("exec in nobody", f"{_PODS}/nobody/{query}main", ""),
        ("exec in another container", f"{_PODS}/{pod}/{query}other", ""),
        ("exec forbidden", f"{_PODS}/{pod}/{query}main", LIMITED),
    ):
        status, answer = knock(path, token)
        said[name] = {"status": status, **_comparable(answer)}


def _autoscale(call: Call, ask: Call, said: dict[str, Any]) -> None:
    """An autoscaler keeps its least, and rests at none. It is asked without any metrics."""
    of = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "talk"}
    spec = {"scaleTargetRef": of, "maxReplicas": 4}
    ask("autoscaler", "POST", _SCALERS, {"metadata": {"name": "talk"}, "spec": spec})
    _, found = call("GET", f"{_SCALERS}/talk")
    said["an autoscaler's least where it says none"] = found["spec"].get("minReplicas")
    least = [{"op": "replace", "path": "/spec/minReplicas", "value": 3}]
    ask("autoscaler with a least", "PATCH", f"{_SCALERS}/talk", least, kind=JSON_PATCH)
    raised = _until(call, f"{_DEPLOYMENTS}/talk", lambda one: one["spec"]["replicas"] == 3)
    said["replicas below its least are raised by"] = [
        entry["manager"]
        for entry in raised["metadata"]["managedFields"]
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ][-1:]
    none = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    call("PATCH", f"{_DEPLOYMENTS}/talk", none, kind=JSON_PATCH)
    rests = _until(call, f"{_SCALERS}/talk", lambda one: _active(one).get("status") == "False")
    said["at none it is"] = _active(rests).get("reason")
    _, found = call("GET", f"{_DEPLOYMENTS}/talk")
    said["and replicas stay"] = found["spec"]["replicas"]
    call("DELETE", f"{_SCALERS}/talk", {})


def _active(scaler: dict[str, Any]) -> dict[str, Any]:
    conditions = (scaler.get("status") or {}).get("conditions") or []
    disabled = [
        one for one in conditions
        if one["type"] == "ScalingActive" and one.get("reason") == "ScalingDisabled"
    ]  # fmt: skip
    return disabled[0] if disabled else {}


def _until(call: Call, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 40
    while True:
        _, found = call("GET", path)
        if holds(found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


def knocking(connection: http.client.HTTPConnection, path: str, token: str) -> Any:
    """(status, answer) to a request for a websocket that is refused."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes ok").decode(),
        "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
    }
    connection.request("GET", "/" + path, headers=headers)
    answer = connection.getresponse()
    said = answer.read() if answer.status != 101 else b"{}"
    connection.close()
    return answer.status, json.loads(said)


def recorded() -> dict[str, Any]:
    """The answers of the real one."""
    return dict(json.loads(RECORDED.read_text()))


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("kind") != "Status" or answer.get("status") == "Success":
        return {"kind": "an object"}
    message = _POD.sub("POD", _UID.sub("UID", str(answer.get("message"))))
    causes = (answer.get("details") or {}).get("causes")
    found = {"reason": answer.get("reason"), "message": message}
    return {**found, "causes": causes} if causes else found


def _ready(call: Call, wanted: int) -> list[dict[str, Any]]:
    end = time.monotonic() + 20
    while True:
        _, found = call("GET", f"{_PODS}?labelSelector=app%3Dtalk")
        ready = [
            pod
            for pod in found["items"]
            if any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in pod["status"].get("conditions", [])
            )
        ]
        if len(ready) == wanted:
            return ready
        assert time.monotonic() < end, f"{len(ready)} of {wanted} pods"
        time.sleep(0.05)


def _budget_known(call: Call) -> None:
    """The real one counts for a moment; until then an eviction is refused for that reason."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        _, found = call("GET", f"{_BUDGETS}/keep")
        if (found.get("status") or {"expectedPods": 2}).get("expectedPods") == 2:
            return
        time.sleep(0.05)
