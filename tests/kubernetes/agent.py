"""The nodes of the test cluster: registers six in three zones, keeps their leases, and runs each
pod bound to them as a process of its own that serves HTTP on an address in 127.0.0.0/8.

EndpointSlices refuse loopback addresses, so a pod says 10.a.b.c and stands for 127.a.b.c; nobody
dials the former. No images, no isolation, no exec.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PORT = 8080
NODES = {
    f"node-{zone}{number}": (f"zone-{zone}", region)
    for zone, region in {"a": "eu-west", "b": "eu-central", "c": "us-east"}.items()
    for number in (1, 2)
}
STOP_S = 0.3


class Api:
    def __init__(self, config: Path) -> None:
        data = json.loads(config.read_text())
        self.server = data["clusters"][0]["cluster"]["server"]
        self.token = data["users"][0]["user"]["token"]
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        request = urllib.request.Request(
            f"{self.server}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def register(api: Api) -> None:
    for name, (zone, region) in NODES.items():
        labels = {
            "topology.kubernetes.io/zone": zone,
            "topology.kubernetes.io/region": region,
            "kubernetes.io/hostname": name,
        }
        api.call("POST", "api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "spec": {}})
        room = {"cpu": "8", "memory": "16Gi", "pods": "50"}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "AgentReady",
                    "lastHeartbeatTime": now(),
                    "lastTransitionTime": now(),
                }
            ],
        }
        api.call(
            "PATCH",
            f"api/v1/nodes/{name}/status",
            {"status": status},
            "application/merge-patch+json",
        )


def renew(api: Api) -> None:
    path = "apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    while True:
        for name in NODES:
            spec = {
                "holderIdentity": name,
                "leaseDurationSeconds": 8,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            body = {"metadata": {"name": name}, "spec": spec}
            with contextlib.suppress(OSError):
                found = api.call("PATCH", f"{path}/{name}", body, "application/merge-patch+json")
                if found.get("code") == 404:
                    api.call("POST", path, body)
        time.sleep(2)


class Pods:
    """The processes of the pods, by uid."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.known: dict[str, str] = {}
        self.count = 0

    def look(self) -> None:
        found = self.api.call("GET", "api/v1/pods?resourceVersion=0")["items"]
        mine = {
            pod["metadata"]["uid"]: pod for pod in found if pod["spec"].get("nodeName") in NODES
        }
        for uid in list(self.running):
            if uid not in mine:
                self.kill(uid)  # deleted with no grace: the API has forgotten it already
        for uid, pod in mine.items():
            if pod["metadata"].get("deletionTimestamp"):
                self.end(uid, pod)
            elif (
                uid not in self.running
                and "no-such-image" not in pod["spec"]["containers"][0]["image"]
            ):
                self.begin(uid, pod)

    def begin(self, uid: str, pod: Any) -> None:
        self.count += 1
        tail = f"{1 + self.count // 60000}.{self.count // 250 % 240 + 1}.{self.count % 250 + 2}"
        zone, region = NODES[pod["spec"]["nodeName"]]
        self.running[uid] = subprocess.Popen(
            [
                sys.executable,
                "-S",
                "-E",
                str(HERE / "pod.py"),
                f"127.{tail}",
                str(PORT),
                pod["metadata"]["name"],
                zone,
                region,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.running[uid].stdout.readline()  # it listens
        self.report(pod, ready=True, address=f"10.{tail}")

    def end(self, uid: str, pod: Any) -> None:
        about = pod["metadata"]
        child = self.running.get(uid)
        if child is not None and uid not in self.known:
            self.known[uid] = "ending"
            self.report(pod, ready=False, address=pod["status"].get("podIP", ""))
            threading.Timer(STOP_S, self.finish, (uid, about)).start()
        elif child is None and uid not in self.known:
            self.known[uid] = "ending"
            self.finish(uid, about)

    def finish(self, uid: str, about: Any) -> None:
        self.kill(uid)
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        with contextlib.suppress(OSError):
            self.api.call(
                "DELETE", f"api/v1/namespaces/{about['namespace']}/pods/{about['name']}", body
            )

    def kill(self, uid: str) -> None:
        child = self.running.pop(uid, None)
        if child is not None:
            child.kill()
            child.wait()
            child.stdout.close()

    def report(self, pod: Any, *, ready: bool, address: str) -> None:
        about = pod["metadata"]
        word = "True" if ready else "False"
        conditions = [
            {"type": kind, "status": word, "lastTransitionTime": now()}
            for kind in ("Ready", "ContainersReady")
        ]
        conditions.append({"type": "Initialized", "status": "True", "lastTransitionTime": now()})
        conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": now()})
        container = pod["spec"]["containers"][0]
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now(),
            "conditions": conditions,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "started": ready,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": now()}},
                }
            ],
        }
        self.api.call(
            "PATCH",
            f"api/v1/namespaces/{about['namespace']}/pods/{about['name']}/status",
            {"metadata": {"uid": about["uid"]}, "status": status},
            "application/strategic-merge-patch+json",
        )


def main() -> None:
    api = Api(Path(sys.argv[1]))
    while True:
        try:
            register(api)
            break
        except OSError:
            time.sleep(0.1)
    threading.Thread(target=renew, args=(api,), daemon=True).start()
    pods = Pods(api)
    while True:
        with contextlib.suppress(OSError):
            pods.look()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
