"""A small API server of ours, over real HTTP, for the calls the backend makes: what it answers is
held to what a real control plane answered (recorded.json). Behind it, in one thread, what the
controllers, the scheduler and the kubelets would do, in milliseconds.
"""

from __future__ import annotations

import copy
import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.live.kubernetes import websocket
from tests.live.kubernetes.containers import Container
from tests.live.kubernetes.network import PORT, Network, address

from stormgate.faults.backends.kubernetes.squeeze import millicores

HOST = "127.0.0.1"
TICK_S = 0.01
TOKEN = "all-may"
KINDS = {
    "pods": ("", "Pod"),
    "services": ("", "Service"),
    "nodes": ("", "Node"),
    "namespaces": ("", "Namespace"),
    "deployments": ("apps", "Deployment"),
    "statefulsets": ("apps", "StatefulSet"),
    "daemonsets": ("apps", "DaemonSet"),
    "horizontalpodautoscalers": ("autoscaling", "HorizontalPodAutoscaler"),
    "endpointslices": ("discovery.k8s.io", "EndpointSlice"),
    "networkpolicies": ("networking.k8s.io", "NetworkPolicy"),
    "poddisruptionbudgets": ("policy", "PodDisruptionBudget"),
    "leases": ("coordination.k8s.io", "Lease"),
    "selfsubjectaccessreviews": ("authorization.k8s.io", "SelfSubjectAccessReview"),
}
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
}
Json = dict[str, Any]


class RefusedError(Exception):
    """An answer that is no success, as the API server words it."""

    def __init__(self, code: int, message: str, reason: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason or REASONS[code],
            "code": code,
            **more,
        }


class World:
    """All objects, and what happens to them by itself. `rules`: what each token may do, by
    (verb, resource); None is everything.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[tuple[str, str | None, str], Json] = {}
        self.rules: dict[str, set[tuple[str, str]] | None] = {TOKEN: None}
        self.users: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.version = 100
        self.stop_s = 0.1
        self.frozen = False
        self.throttle = 0
        # How far its clock is ahead of ours, s; whether it says nothing any more.
        self.ahead_s = 0.0
        self.silent = False
        self.meddle = 0
        # What runs in pods, by uid; whatever it is, a pod without one has no processes.
        self.containers: dict[str, Container] = {}
        # Begins what runs in a pod when it becomes ready.
        self.contain: Callable[[], Container] | None = None
        self.network: Network | None = None
        # The resources of the containers of workloads made from now on, and whether nodes follow.
        self.cpu: Json = {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}}
        self.resizes = True
        # How an exec ends instead, by what stands in its command: an exit code; None hangs up.
        self.exec_ends: dict[str, int | None] = {}

    def put(self, plural: str, body: Json) -> Json:
        """Make an object as it stands."""
        with self.lock:
            about = body["metadata"]
            key = (plural, about.get("namespace"), about["name"])
            group = KINDS[plural][0]
            body.setdefault("kind", KINDS[plural][1])
            body.setdefault("apiVersion", f"{group}/v1" if group else "v1")
            if key in self.objects:
                raise RefusedError(
                    409, f'{_named(plural)} "{about["name"]}" already exists', "AlreadyExists"
                )
            about.setdefault("uid", str(uuid.uuid4()))
            about["generation"] = 1
            if plural == "horizontalpodautoscalers":
                body["spec"].setdefault("minReplicas", 1)
            if plural == "services":
                body["spec"].setdefault("clusterIP", address())
            if plural == "deployments":
                about.setdefault("annotations", {"deployment.kubernetes.io/revision": "1"})
            self.objects[key] = body
            return self.touch(body)

    def touch(self, body: Json) -> Json:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        return body

    def all(self, plural: str, namespace: str | None = None) -> list[Json]:
        with self.lock:
            return [
                body
                for (kind, inside, _), body in sorted(self.objects.items(), key=str)
                if kind == plural and namespace in (None, inside)
            ]

    def one(self, plural: str, namespace: str | None, name: str) -> Json:
        try:
            return self.objects[(plural, namespace, name)]
        except KeyError:
            raise RefusedError(404, f'{_named(plural)} "{name}" not found') from None

    def node(self, name: str, zone: str, region: str = "eu-west") -> None:
        labels = {"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": region}
        ready = [{"type": "Ready", "status": "True"}]
        self.put(
            "nodes",
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {},
                "status": {"conditions": ready},
            },
        )

    def workload(self, plural: str, name: str, replicas: int, namespace: str = "shop") -> None:
        labels = {"app": name}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": f"{name}:1"}]},
        }
        if self.cpu:
            template["spec"]["containers"][0]["resources"] = copy.deepcopy(self.cpu)
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.put(
            plural, {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": {}}
        )

    def service(self, name: str, app: str, namespace: str = "shop") -> None:
        self.put(
            "services",
            {
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "selector": {"app": app},
                    "ports": [{"port": PORT, "targetPort": PORT, "protocol": "TCP"}],
                },
            },
        )

    def wait(self, what: str, ready: int, namespace: str = "shop", within_s: float = 5.0) -> None:
        end = time.monotonic() + within_s
        while len([p for p in self.pods_of(what, namespace) if is_ready(p)]) != ready:
            assert time.monotonic() < end, f"{what} has not {ready} ready pods"
            time.sleep(TICK_S)

    def pods_of(self, app: str, namespace: str = "shop") -> list[Json]:
        return [
            p
            for p in self.all("pods", namespace)
            if (p["metadata"].get("labels") or {}).get("app") == app
        ]

    # What happens by itself.

    def tick(self) -> None:
        with self.lock:
            now = time.monotonic()
            for pod in self.all("pods"):
                self._kubelet(pod, now)
            for plural in ("deployments", "statefulsets"):
                for one in self.all(plural):
                    self._controller(plural, one)
            self._collect()
            for scaler in self.all("horizontalpodautoscalers"):
                self._scale(scaler)
            if self.network is not None:
                self.network.tick()

    def _kubelet(self, pod: Json, now: float) -> None:
        going = pod.get("_gone_at")
        node = self.objects.get(("nodes", None, pod["spec"].get("nodeName", "")))
        self._container(pod)
        if going is not None and now >= going:
            del self.objects[("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])]
        elif node is not None and going is None and not _stays(pod, node):
            self.let_go(pod, 30)
        elif node is None and "nodeName" not in pod["spec"]:
            self._schedule(pod)
        elif (
            going is None
            and not is_ready(pod)
            and "no-such-image" not in pod["spec"]["containers"][0]["image"]
            and self._runs(pod)
        ):
            pod["status"] = {
                "phase": "Running",
                "podIP": pod.get("_ip", "10.0.0.1"),
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            self.touch(pod)

    def _scale(self, scaler: Json) -> None:
        """An autoscaler keeps its least number, and rests at none."""
        of, about = scaler["spec"]["scaleTargetRef"], scaler["metadata"]
        found = self.one(f"{of['kind'].lower()}s", about["namespace"], of["name"])
        rests = found["spec"]["replicas"] == 0 and scaler["spec"]["minReplicas"] > 0
        reason = {"status": "False", "reason": "ScalingDisabled"} if rests else {"status": "True"}
        status = {"conditions": [{"type": "ScalingActive", **reason}]}
        if scaler.get("status") != status:
            scaler["status"] = status
            self.touch(scaler)
        if 0 < found["spec"]["replicas"] < scaler["spec"]["minReplicas"]:
            found["spec"]["replicas"] = scaler["spec"]["minReplicas"]
            found["metadata"]["managedFields"] = [
                {"manager": "kube-controller-manager", "time": "2026-01-01",
                 "fieldsV1": {"f:spec": {"f:replicas": {}}}}
            ]  # fmt: skip
            self.touch(found)

    def _collect(self) -> None:
        """Pods whose owner is gone go too."""
        there = {one["metadata"]["uid"] for one in self.objects.values()}
        for pod in self.all("pods"):
            owners = pod["metadata"].get("ownerReferences", [])
            if any(one["uid"] not in there for one in owners):
                self.let_go(pod, 1)

    def _runs(self, pod: Json) -> bool:
        image = pod["spec"]["containers"][0]["image"]
        if self.network is None or "toxiproxy" not in image:
            return True
        return self.network.begin(pod)

    def _container(self, pod: Json) -> None:
        """Its one container is started anew when it ended, and ends with its pod."""
        uid = pod["metadata"]["uid"]
        if self.contain is not None and is_ready(pod) and uid not in self.containers:
            self.containers[uid] = self.contain()
        for gone in set(self.containers) - {one["metadata"]["uid"] for one in self.all("pods")}:
            self.containers.pop(gone).stop()
        container = self.containers.get(uid)
        if container is not None:
            container.look()
            found = container.status()
        elif is_ready(pod):
            found = {"name": "main", "containerID": f"containerd://{uid}", "restartCount": 0}
            found["ready"] = True
        else:
            return
        found |= {"image": pod["spec"]["containers"][0].get("image", ""), "imageID": "sha256:0"}
        before = pod["status"].get("containerStatuses") or [{}]
        resources = pod["spec"]["containers"][0].get("resources") or {}
        if not self.resizes and before[0].get("resources"):
            resources = before[0]["resources"]
        if before != [{**found, "resources": resources}]:
            pod["status"]["containerStatuses"] = [{**found, "resources": copy.deepcopy(resources)}]
            self.touch(pod)

    def _schedule(self, pod: Json) -> None:
        free = [
            n
            for n in self.all("nodes")
            if not n["spec"].get("unschedulable") and not n["spec"].get("taints")
        ]
        load = {n["metadata"]["name"]: 0 for n in free}
        for other in self.all("pods"):
            if (at := other["spec"].get("nodeName")) in load:
                load[at] += 1
        if load:
            pod["spec"]["nodeName"] = min(load, key=lambda name: (load[name], name))
            self.touch(pod)

    def _controller(self, plural: str, one: Json) -> None:
        about, spec = one["metadata"], one["spec"]
        image = spec["template"]["spec"]["containers"][0]["image"]
        own = [
            p
            for p in self.all("pods", about["namespace"])
            if "_gone_at" not in p
            and any(o["uid"] == about["uid"] for o in p["metadata"].get("ownerReferences", []))
        ]
        new = [p for p in own if p["spec"]["containers"][0]["image"] == image]
        old = [p for p in own if p not in new]
        wanted = spec.get("replicas", 1)
        if not self.frozen:
            surge = bool(old) and plural != "statefulsets"
            if len(new) < wanted and len(own) < wanted + surge:
                self._make(plural, one)
            surplus = new[wanted:] + [
                p for p in old if not is_ready(p) or len([q for q in own if is_ready(q)]) > wanted
            ]
            if plural == "statefulsets":  # one after the other, and none while one is not ready
                surplus = (new[wanted:] + old) if all(map(is_ready, own)) else []
            for pod in surplus[:1]:
                self.let_go(pod, 1)
        ready = len([p for p in own if is_ready(p)])
        status = {"observedGeneration": about["generation"], "replicas": len(own)}
        status |= {"readyReplicas": ready} if ready else {}
        if one.get("status") != status:
            one["status"] = status
            self.touch(one)

    def _make(self, plural: str, one: Json) -> None:
        about = one["metadata"]
        end = uuid.uuid4().hex[:5]
        if plural == "statefulsets":
            taken = {p["metadata"]["name"] for p in self.pods_of(about["name"], about["namespace"])}
            end = next(str(i) for i in range(99) if f"{about['name']}-{i}" not in taken)
        owner = {
            "apiVersion": one["apiVersion"],
            "kind": one["kind"],
            "name": about["name"],
            "uid": about["uid"],
            "controller": True,
        }
        template = copy.deepcopy(one["spec"]["template"])
        self.put(
            "pods",
            {
                "metadata": {
                    "name": f"{about['name']}-{end}",
                    "namespace": about["namespace"],
                    "labels": template["metadata"]["labels"],
                    "ownerReferences": [owner],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )

    def let_go(self, pod: Json, grace_s: int | None) -> None:
        if "_gone_at" in pod and grace_s != 0:
            return
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        pod["_gone_at"] = time.monotonic() + (0 if grace_s == 0 else self.stop_s)
        if grace_s == 0:
            del self.objects[("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])]
        else:
            self.touch(pod)

    def slices(self, namespace: str | None) -> list[Json]:
        found = []
        for service in self.all("services", namespace):
            about, selector = service["metadata"], service["spec"].get("selector") or {}
            pods = [
                p
                for p in self.all("pods", about["namespace"])
                if selector and selector.items() <= (p["metadata"].get("labels") or {}).items()
            ]
            ends = [
                {
                    "addresses": [p.get("_ip", p["metadata"]["uid"])],
                    "conditions": {"ready": is_ready(p)},
                }
                for p in pods
                if "nodeName" in p["spec"]
            ]
            found.append(
                {
                    "metadata": {
                        "name": about["name"],
                        "namespace": about["namespace"],
                        "labels": {"kubernetes.io/service-name": about["name"]},
                    },
                    "endpoints": ends,
                }
            )
        return found


def is_ready(pod: Json) -> bool:
    return "_gone_at" not in pod and any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])
    )


def _stays(pod: Json, node: Json) -> bool:
    taints = [t for t in node["spec"].get("taints") or [] if t["effect"] == "NoExecute"]
    return not taints or any(
        t.get("operator") == "Exists" and "key" not in t for t in pod["spec"].get("tolerations", [])
    )


def _named(plural: str) -> str:
    group = KINDS[plural][0]
    return f"{plural}.{group}" if group else plural


def _matches(labels: Mapping[str, str], selector: str) -> bool:
    return all(
        labels.get(part.partition("=")[0]) == part.partition("=")[2]
        if "=" in part
        else part in labels
        for part in selector.split(",")
        if part
    )


def merged(body: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    new = dict(body) if isinstance(body, dict) else {}
    for key, value in change.items():
        new[key] = merged(new.get(key), value)
        if value is None:
            del new[key]
    return new


def patched(body: Json, steps: Any) -> Json:
    """RFC 6902, as far as it is used here; a merge patch when it is no list of steps."""
    if isinstance(steps, dict):
        return dict(merged(copy.deepcopy(body), steps))
    new = copy.deepcopy(body)
    for step in steps:
        *path, last = [
            one.replace("~1", "/").replace("~0", "~") for one in step["path"].split("/")[1:]
        ]
        try:
            place: Any = new
            for one in path:
                place = place[int(one) if isinstance(place, list) else one]
            if step["op"] == "test":
                assert place.get(last) == step["value"]
            elif step["op"] == "remove":
                del place[last]
            elif isinstance(place, list):
                place.append(step["value"])
            else:
                assert step["op"] != "replace" or last in place
                place[last] = step["value"]
        except (KeyError, AssertionError, TypeError, AttributeError):
            raise RefusedError(
                422, "the server rejected our request due to an error in our request"
            ) from None
    return new


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    world: World

    def _do(self) -> None:
        while self.world.silent:
            time.sleep(TICK_S)
        if self.headers.get("Upgrade") == "websocket":
            self._exec(urlsplit(self.path))
            return
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        if "/proxy/" in self.path:
            self._pass_on(urlsplit(self.path), body)
            return
        try:
            with self.world.lock:
                code, answer = self._route(urlsplit(self.path), body)
        except RefusedError as error:
            code, answer = error.code, error.body
        self._say(code, answer)

    def _say(self, code: int, answer: Json) -> None:
        data = json.dumps(answer, default=str).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code == 429 and "causes" not in answer.get("details", {}):
            self.send_header("Retry-After", "0.05")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.world.ahead_s)

    def _route(self, url: Any, body: Any) -> tuple[int, Json]:
        world, parts = self.world, url.path.strip("/").split("/")
        world.calls.append((self.command, url.path))
        query = {key: value[0] for key, value in parse_qs(url.query).items()}
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = None
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "")[:3]
        if plural not in KINDS:
            raise RefusedError(404, "the server could not find the requested resource")
        verb = {
            "GET": "get" if name else "list",
            "POST": "create",
            "PATCH": "patch",
            "DELETE": "delete",
        }[self.command]
        self._may(verb, f"{plural}/{sub}" if sub else plural, namespace, name)
        if world.throttle > 0:
            world.throttle -= 1
            raise RefusedError(429, "too many requests, please try again later")
        if plural == "selfsubjectaccessreviews":
            return 201, self._review(body)
        if sub == "exec":
            raise RefusedError(400, "Upgrade request required")
        if sub == "eviction":
            return self._evict(namespace, name, body)
        if verb == "list":
            return 200, self._list(plural, namespace, query)
        if verb == "create":
            body["metadata"].setdefault("namespace", namespace)
            return 201, _shown(world.put(plural, body))
        found = world.one(plural, namespace, name)
        if sub == "resize":
            return 200, self._resize(name, found, body)
        if verb == "patch":
            return 200, self._patch(plural, namespace, name, found, body)
        if verb == "delete":
            return 200, self._delete(plural, namespace, name, found, body or {})
        shown = copy.deepcopy(_shown(found))
        if world.meddle > 0:  # somebody else changes it just after it was read
            world.meddle -= 1
            world.touch(found)
        return 200, shown

    def _pass_on(self, url: Any, body: Any) -> None:
        """A request to a pod itself (pods/NAME:PORT/proxy/...)."""
        world, (namespace, _, named, _, *path) = self.world, url.path.split("/")[4:]
        name, _, port = named.partition(":")
        verb = {"POST": "create"}.get(self.command, self.command.lower())
        try:
            with world.lock:
                self._may(verb, "pods/proxy", namespace, name)
                host = str(world.one("pods", namespace, name).get("_ip"))
        except RefusedError as error:
            self._say(error.code, error.body)
            return
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        data = None if body is None else json.dumps(body)
        connection.request(self.command, "/" + "/".join(path), data, {"User-Agent": "apiserver"})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        if answer.status != 204:
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _exec(self, url: Any) -> None:
        """A command in a container, over a websocket."""
        world, (namespace, _, name, _) = self.world, url.path.split("/")[4:]
        query = parse_qs(url.query)
        try:
            with world.lock:
                world.calls.append(("EXEC", url.path))
                for verb in ("get", "create"):
                    self._may(verb, "pods/exec", namespace, name)
                pod = world.one("pods", namespace, name)
                container = world.containers.get(pod["metadata"]["uid"])
                if query["container"] != ["main"]:
                    raise RefusedError(
                        400, f"container {query['container'][0]} is not valid for pod {name}"
                    )
                if container is None:
                    raise RefusedError(500, "container not found")
        except RefusedError as error:
            self._say(error.code, error.body)
            return
        for words, code in world.exec_ends.items():
            if words in query["command"][-1]:
                websocket.answer(self, b"", b"sh: planted", code)
                return
        websocket.answer(self, *container.exec(query["command"]))

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _may(self, verb: str, resource: str, namespace: str | None, name: str) -> None:
        token = self._token()
        if token not in self.world.rules:
            raise RefusedError(401, "Unauthorized")
        rules = self.world.rules[token]
        if rules is None or resource == "selfsubjectaccessreviews" or (verb, resource) in rules:
            return
        plural, _, _ = resource.partition("/")
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        what = f"{_named(plural)}" + (f' "{name}"' if name else "")
        raise RefusedError(
            403,
            f'{what} is forbidden: User "{self.world.users.get(token, token)}" cannot {verb} '
            f'resource "{resource}" '
            f'in API group "{KINDS[plural][0]}" {where}',
        )

    def _review(self, body: Json) -> Json:
        asked = body["spec"]["resourceAttributes"]
        token = self._token()
        rules = self.world.rules[token]
        resource = asked["resource"] + (
            f"/{asked['subresource']}" if asked.get("subresource") else ""
        )
        return {**body, "status": {"allowed": rules is None or (asked["verb"], resource) in rules}}

    def _list(self, plural: str, namespace: str | None, query: Mapping[str, str]) -> Json:
        found = (
            self.world.slices(namespace)
            if plural == "endpointslices"
            else self.world.all(plural, namespace)
        )
        found = [
            b
            for b in found
            if _matches(b["metadata"].get("labels") or {}, query.get("labelSelector", ""))
        ]
        if fields := query.get("fieldSelector"):
            field, _, wanted = fields.partition("=")
            part, name = field.split(".")
            found = [b for b in found if b[part].get(name) == wanted]
        begin, limit = int(query.get("continue", 0)), int(query.get("limit", 500))
        more = {"continue": str(begin + limit)} if len(found) > begin + limit else {}
        group, kind = KINDS[plural]
        return {
            "kind": f"{kind}List",
            "apiVersion": f"{group}/v1" if group else "v1",
            "metadata": {"resourceVersion": str(self.world.version), **more},
            "items": [_shown(b) for b in found[begin : begin + limit]],
        }

    def _patch(
        self, plural: str, namespace: str | None, name: str, found: Json, steps: Any
    ) -> Json:
        new = patched(found, steps)
        if new["metadata"]["uid"] != found["metadata"]["uid"]:
            raise RefusedError(422, "metadata.uid: Invalid value: field is immutable")
        if new["spec"] != found["spec"]:
            new["metadata"]["generation"] += 1
        self.world.objects[(plural, namespace, name)] = new
        return _shown(self.world.touch(new))

    def _resize(self, name: str, found: Json, steps: Any) -> Json:
        """Only the resources of containers change, and no limit goes away."""
        new = patched(found, steps)
        for now, then in zip(found["spec"]["containers"], new["spec"]["containers"], strict=True):
            old, given = now.get("resources") or {}, then.get("resources") or {}
            if set(old.get("limits") or {}) - set(given.get("limits") or {}):
                raise _invalid(name, "limits", "Forbidden", "resource limits cannot be removed")
            most, asked = ((given.get(one) or {}).get("cpu") for one in ("limits", "requests"))
            if most and asked and millicores(asked) > millicores(most):
                why = f'"{asked}": must be less than or equal to cpu limit of {most}'
                raise _invalid(name, "requests", "Invalid value", why)
            now["resources"] = given
        found["metadata"]["generation"] += 1
        return _shown(self.world.touch(found))

    def _delete(
        self, plural: str, namespace: str | None, name: str, found: Json, options: Json
    ) -> Json:
        wanted = (options.get("preconditions") or {}).get("uid")
        uid = found["metadata"]["uid"]
        if wanted not in (None, uid):
            raise RefusedError(
                409,
                f'Operation cannot be fulfilled on {KINDS[plural][1]} "{name}": the UID in the '
                f"precondition ({wanted}) does not match the UID in record ({uid}). The object "
                "might have been deleted and then recreated",
            )
        if plural == "pods":
            self.world.let_go(found, options.get("gracePeriodSeconds"))
        else:
            del self.world.objects[(plural, namespace, name)]
        return _shown(found)

    def _evict(self, namespace: str | None, name: str, body: Json) -> tuple[int, Json]:
        found = self.world.one("pods", namespace, name)
        wanted = ((body.get("deleteOptions") or {}).get("preconditions") or {}).get("uid")
        if wanted not in (None, found["metadata"]["uid"]):
            raise RefusedError(
                409, f'Operation cannot be fulfilled on pods "{name}": Precondition failed'
            )
        labels = found["metadata"].get("labels") or {}
        for budget in self.world.all("poddisruptionbudgets", namespace):
            selector, least = (
                budget["spec"]["selector"]["matchLabels"],
                budget["spec"]["minAvailable"],
            )
            same = [
                p
                for p in self.world.all("pods", namespace)
                if is_ready(p) and selector.items() <= (p["metadata"].get("labels") or {}).items()
            ]
            if selector.items() <= labels.items() and len(same) - 1 < least:
                told = (
                    f"The disruption budget {budget['metadata']['name']} needs {least} healthy "
                    f"pods and has {len(same)} currently"
                )
                raise RefusedError(
                    429,
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    details={"causes": [{"reason": "DisruptionBudget", "message": told}]},
                )
        self.world.let_go(found, None)
        return 201, {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        }


def _invalid(pod: str, field: str, what: str, why: str) -> RefusedError:
    """What a pod's validation says of the resources of its first container."""
    field, message = f"spec.containers[0].resources.{field}", f"{what}: {why}"
    reason = f"FieldValue{what.partition(' ')[0]}"
    return RefusedError(
        422,
        f'Pod "{pod}" is invalid: {field}: {message}',
        details={"causes": [{"field": field, "message": message, "reason": reason}]},
    )


def _shown(body: Json) -> Json:
    return {key: value for key, value in body.items() if not key.startswith("_")}


@contextmanager
def serving(world: World) -> Iterator[int]:
    """The world's API server, on the port that is yielded."""
    handler = type("Here", (Handler,), {"world": world})
    server = ThreadingHTTPServer((HOST, 0), handler)
    server.daemon_threads = True
    over = threading.Event()

    def live() -> None:
        while not over.wait(TICK_S):
            world.tick()

    threads = [
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True),
        threading.Thread(target=live, daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()
        for container in world.containers.values():
            container.stop()
        if world.network is not None:
            world.network.stop()


def kubeconfig(path: Path, port: int, token: str = TOKEN, context: str = "staging") -> Path:
    """A kubeconfig with one context, and another one that is current."""
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "elsewhere",
        "clusters": [
            {"name": "here", "cluster": {"server": f"http://{HOST}:{port}"}},
            {"name": "there", "cluster": {"server": "https://127.0.0.99:1"}},
        ],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [
            {"name": context, "context": {"cluster": "here", "user": "me"}},
            {"name": "elsewhere", "context": {"cluster": "there", "user": "me"}},
        ],
    }
    path.write_text(json.dumps(data))
    return path
