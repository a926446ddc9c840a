"""The nodes of the test cluster: registers six in three zones, keeps their leases, and runs each
pod bound to them as a process of its own that serves HTTP on an address in 127.0.0.0/8.

EndpointSlices refuse loopback addresses, so a pod says 10.a.b.c and stands for 127.a.b.c; nobody
dials the former. What an image is: `init:` runs below a PID 1 in a PID namespace of its own, and
commands are run inside; one with toxiproxy in its name is a Toxiproxy (network.py); all others are
one process without any isolation, and without exec.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.kubernetes import network
from tests.live.kubernetes.containers import Container

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


def register(api: Api, exec_port: int) -> None:
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
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": exec_port}},
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


class Plain:
    """A pod that is one process."""

    restarts, id, ended = 0, "process://1", None

    def __init__(self, argv: list[str]) -> None:
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.child.stdout.readline()  # it listens

    def look(self) -> bool:
        return False

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


class BelowInit(Container):
    """A pod that runs below a PID 1; started anew when that ends."""

    def __init__(self, argv: list[str]) -> None:
        words = " ".join(argv)
        super().__init__(("sh", "-c", f"{words} & wait $!"), stdout=subprocess.PIPE)

    def start(self) -> None:
        super().start()
        self.outer.stdout.readline()


class Pods:
    """What runs in the pods, by uid."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.running: dict[str, Any] = {}
        self.addresses: dict[str, str] = {}
        self.resources: dict[str, Any] = {}
        self.names: dict[tuple[str, str], str] = {}
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
            about = pod["metadata"]
            if about.get("deletionTimestamp"):
                self.end(uid, pod)
            elif uid in self.running:
                again = self.running[uid].look()
                if again or self.resources[uid] != resources_of(pod):
                    self.report(pod, ready=True, address=self.addresses[uid])
            elif "no-such-image" not in pod["spec"]["containers"][0]["image"]:
                self.names[(about["namespace"], about["name"])] = uid
                self.begin(uid, pod)

    def begin(self, uid: str, pod: Any) -> None:
        self.count += 1
        tail = f"{1 + self.count // 60000}.{self.count // 250 % 240 + 1}.{self.count % 250 + 2}"
        zone, region = NODES[pod["spec"]["nodeName"]]
        container, name = pod["spec"]["containers"][0], pod["metadata"]["name"]
        argv = [sys.executable, "-S", "-E", str(HERE / "pod.py"), f"127.{tail}", str(PORT)]
        argv += [name, zone, region]
        if container["image"].startswith("init:"):
            self.running[uid] = BelowInit(argv)
        elif "toxiproxy" in container["image"]:
            self.running[uid] = Plain(network.toxiproxy(container["args"], f"127.{tail}"))
        else:
            self.running[uid] = Plain(argv)
        self.addresses[uid] = f"10.{tail}"
        self.report(pod, ready=True, address=f"10.{tail}")

    def exec(self, namespace: str, name: str, argv: list[str]) -> tuple[bytes, bytes, int]:
        """A command in a pod, as a kubelet runs it."""
        container = self.running[self.names[(namespace, name)]]
        return container.exec(argv)

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
        container = self.running.pop(uid, None)
        if container is not None:
            container.stop()

    def report(self, pod: Any, *, ready: bool, address: str) -> None:
        about = pod["metadata"]
        word = "True" if ready else "False"
        conditions = [
            {"type": kind, "status": word, "lastTransitionTime": now()}
            for kind in ("Ready", "ContainersReady")
        ]
        conditions.append({"type": "Initialized", "status": "True", "lastTransitionTime": now()})
        conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": now()})
        container, uid = pod["spec"]["containers"][0], about["uid"]
        running = self.running.get(uid)
        self.resources[uid] = resources_of(pod)
        ended = {}
        if running is not None and running.ended is not None:
            ended = {"terminated": {"exitCode": running.ended, "reason": "Error"}}
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
                    "restartCount": 0 if running is None else running.restarts,
                    "containerID": "process://0" if running is None else running.id,
                    "state": {"running": {"startedAt": now()}},
                    "lastState": ended,
                    # A node that could resize says what it gives. This one gives what is asked.
                    "resources": self.resources[uid],
                }
            ],
        }
        self.api.call(
            "PATCH",
            f"api/v1/namespaces/{about['namespace']}/pods/{about['name']}/status",
            {"metadata": {"uid": about["uid"]}, "status": status},
            "application/strategic-merge-patch+json",
        )


def resources_of(pod: Any) -> Any:
    return pod["spec"]["containers"][0].get("resources") or {}


def main() -> None:
    folder = Path(sys.argv[1]).parent
    api = Api(Path(sys.argv[1]))
    pods = Pods(api)
    exec_port = network.serve_exec(folder, pods.exec)
    network.serve_egress(folder / network.EGRESS)
    while True:
        try:
            register(api, exec_port)
            break
        except OSError:
            time.sleep(0.1)
    threading.Thread(target=renew, args=(api,), daemon=True).start()
    threading.Thread(target=network.lead_services, args=(api,), daemon=True).start()
    while True:
        with contextlib.suppress(OSError):
            pods.look()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
