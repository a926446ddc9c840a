"""What is asked of the real API server and of the stand-in alike, and their answers, made
comparable: status, reason, and the words without what differs from run to run.
"""

from __future__ import annotations

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
            "spec": {"containers": [{"name": "main", "image": "talk:1"}]},
        },
    },
}
_DEPLOYMENTS = "apis/apps/v1/namespaces/shop/deployments"
_PODS = "api/v1/namespaces/shop/pods"
_BUDGETS = "apis/policy/v1/namespaces/shop/poddisruptionbudgets"
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POD = re.compile(r"talk-[0-9a-z-]+")


def converse(call: Call) -> dict[str, Any]:
    """Ask everything; the answers by name. There are a namespace `shop` and a user `limited`."""
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
    call("DELETE", f"{_DEPLOYMENTS}/talk", {"propagationPolicy": "Background"})
    return said


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
