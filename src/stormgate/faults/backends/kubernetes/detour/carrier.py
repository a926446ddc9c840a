"""The way to a Toxiproxy pod's own API: through the API server (pods/proxy), so that nobody has to
reach the cluster's network.
"""

from __future__ import annotations

import json
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, KubernetesError, path_of
from stormgate.faults.backends.kubernetes.detour.objects import received_bytes
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ServerUnreachable, ServerWedged, UnexpectedAnswer
from stormgate.toxiproxy.transport import rejection


class ThroughApiServer:
    """What `toxiproxy.client.Client` sends its requests by."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str, port: int) -> None:
        self._cluster = cluster
        self._base = f"{path_of('pods', namespace)}/{pod}:{port}/proxy"

    def call(
        self, method: str, path: str, body: object = None, *, keep: tuple[int, ...] = ()
    ) -> Any:
        """As Transport.call."""
        what = f"{method} {self._base}{path}"
        status, raw = self._answer(method, path, body, what)
        if status == 204:
            return None
        try:
            found = json.loads(raw) if raw else None
        except ValueError:
            raise UnexpectedAnswer(f"{what}: expected JSON, got {raw[:100]!r}") from None
        # The API server's own words are a Status; a proxy's refusal is not.
        if status >= 400 and isinstance(found, dict) and found.get("kind") == "Status":
            raise ServerUnreachable(f"{what}: {status} {found.get('message')}")
        if 200 <= status < 300 or status in keep:
            return found
        raise rejection(status, raw, what)

    def counters(self) -> dict[str, int]:
        """Bytes that came in through each proxy. Raises ToxiproxyError."""
        what = f"GET {self._base}/metrics"
        status, raw = self._answer("GET", "/metrics", None, what)
        if status != 200:
            raise UnexpectedAnswer(f"{what}: {status} {raw[:100]!r}")
        return received_bytes(raw.decode("utf-8", "replace"))

    def client(self) -> Client:
        """A client of the proxy."""
        return Client("http://pods-proxy", transport=self)

    def _answer(self, method: str, path: str, body: object, what: str) -> tuple[int, bytes]:
        try:
            return self._cluster.answer(method, self._base + path, body)
        except KubernetesError as error:
            raise ServerWedged(f"{what}: {error}") from None
