"""A real Kubernetes control plane on loopback, from the binaries that scripts/kubernetes.sh builds,
and nodes in three zones whose pods are real processes (agent.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HOST = "127.0.0.1"
CONTEXT = "loopback"
READY_S = 60.0


def binaries() -> Path | None:
    """Where the control plane's binaries are; None where they were never built."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given = os.environ.get("STORMGATE_KUBERNETES")
    folder = Path(given) if given else cache / "stormgate" / "kubernetes-1.37.2"
    return folder if (folder / "complete").exists() else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Plane:
    """The control plane: its processes, its kubeconfig, and calls to it as its administrator."""

    folder: Path
    port: int
    token: str
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "kubeconfig"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        kind: str = "application/json",
    ) -> tuple[int, dict[str, Any]]:
        """(status, answer)."""
        request = urllib.request.Request(
            f"https://{HOST}:{self.port}/{path.lstrip('/')}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": kind},
        )
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.call("POST", path, body)
        assert status == 201, answer
        return answer

    def ready(self, app: str) -> list[dict[str, Any]]:
        """The ready pods of an app."""
        _, found = self.call("GET", f"api/v1/namespaces/shop/pods?labelSelector=app%3D{app}")
        return [
            pod
            for pod in found["items"]
            if not pod["metadata"].get("deletionTimestamp")
            and any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in pod["status"].get("conditions", [])
            )
        ]

    def start(self, name: str, *argv: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        # It dies with us, whoever kills us: nothing may be left running.
        guard = [sys.executable, "-c", _GUARD, str(os.getpid()), *argv]
        self.children.append(
            subprocess.Popen(
                guard, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        )
        log.close()
        self.names.append(name)

    def signal(self, name: str, number: int) -> None:
        """Send one of the processes a signal."""
        self.children[self.names.index(name)].send_signal(number)

    def stop(self) -> None:
        for child in reversed(self.children):
            child.kill()
        for child in self.children:
            child.wait()


_GUARD = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Plane]:
    """A control plane with six nodes in three zones, ready to schedule. Raises AssertionError with
    the end of a log when it does not come up.
    """
    found = binaries()
    assert found is not None, "build it first: sh scripts/kubernetes.sh"
    plane = Plane(folder, free_port(), secrets.token_hex(16))
    try:
        _begin(plane, found)
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(folder / "etcd", ignore_errors=True)


def _begin(plane: Plane, found: Path) -> None:
    client, peer = free_port(), free_port()
    plane.start(
        "etcd",
        str(found / "etcd"),
        "--data-dir",
        "etcd",
        "--unsafe-no-fsync",
        "--listen-client-urls",
        f"http://{HOST}:{client}",
        "--advertise-client-urls",
        f"http://{HOST}:{client}",
        "--listen-peer-urls",
        f"http://{HOST}:{peer}",
        "--initial-advertise-peer-urls",
        f"http://{HOST}:{peer}",
        "--initial-cluster",
        f"default=http://{HOST}:{peer}",
        "--log-level",
        "error",
    )
    _write_keys(plane)
    plane.start(
        "apiserver",
        str(found / "kube-apiserver"),
        "--etcd-servers",
        f"http://{HOST}:{client}",
        "--bind-address",
        HOST,
        "--secure-port",
        str(plane.port),
        "--cert-dir",
        "certs",
        "--token-auth-file",
        "tokens.csv",
        "--authorization-mode",
        "RBAC",
        "--service-account-issuer",
        "https://kubernetes.default.svc",
        "--service-account-key-file",
        "sa.key",
        "--service-account-signing-key-file",
        "sa.key",
        "--service-cluster-ip-range",
        "10.96.0.0/16",
        "--endpoint-reconciler-type",
        "none",
        "--disable-admission-plugins",
        "ServiceAccount",
        # Pods and nodes are reached through the agent, which knows where they are.
        "--egress-selector-config-file",
        "egress.json",
    )
    _wait(plane, "apiserver", lambda: plane.call("GET", "readyz?verbose=false"), plain=True)
    for one in ("kube-controller-manager", "kube-scheduler"):
        more = [
            "--node-monitor-grace-period",
            "8s",
            "--node-monitor-period",
            "1s",
            "--horizontal-pod-autoscaler-sync-period",
            "1s",
            "--service-account-private-key-file",
            "sa.key",
        ]
        plane.start(
            one,
            str(found / one),
            "--kubeconfig",
            str(plane.config),
            "--leader-elect=false",
            "--secure-port",
            "0",
            *(more if "manager" in one else []),
        )
    plane.start("agent", sys.executable, str(HERE / "agent.py"), str(plane.config))
    _wait(plane, "agent", lambda: _six_ready(plane))
    plane.make("api/v1/namespaces", {"metadata": {"name": "shop"}})
    _wait(plane, "kube-controller-manager", lambda: plane.call("GET", "api/v1/namespaces/shop"))


def _six_ready(plane: Plane) -> tuple[int, Any]:
    status, nodes = plane.call("GET", "api/v1/nodes")
    free = [n for n in nodes.get("items", []) if not n["spec"].get("taints")]
    return (200 if len(free) == 6 else 0), status


def _wait(plane: Plane, name: str, look: Any, plain: bool = False) -> None:
    end = time.monotonic() + READY_S
    while True:
        try:
            if look()[0] == 200:
                return
        except json.JSONDecodeError:
            if plain:
                return  # it answered "ok"
        except OSError:
            pass
        log = (plane.folder / f"{name}.log").read_text(errors="replace")
        assert time.monotonic() < end, f"{name} did not come up: {log[-2000:]}"
        time.sleep(0.1)


def _write_keys(plane: Plane) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    (plane.folder / "sa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    rows = [f"{plane.token},admin,admin,system:masters", "limited-token,limited,limited"]
    (plane.folder / "tokens.csv").write_text("\n".join(rows) + "\n")
    transport = {"uds": {"udsName": str(plane.folder / "egress.sock")}}
    connection = {"proxyProtocol": "HTTPConnect", "transport": transport}
    egress = {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }
    (plane.folder / "egress.json").write_text(json.dumps(egress))
    write_kubeconfig(plane, plane.config, plane.token)


def write_kubeconfig(plane: Plane, path: Path, token: str) -> Path:
    # The server signs its own certificate, with its authority in the same file.
    authority = str(plane.folder / "certs" / "apiserver.crt")
    cluster = {"server": f"https://{HOST}:{plane.port}", "certificate-authority": authority}
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": "here", "user": "me"}}],
    }
    path.write_text(json.dumps(data))
    return path
