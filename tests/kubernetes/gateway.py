"""What stands in front of the cluster, as a cloud's load balancer would: takes users' requests and
gives each to a ready endpoint of the Service `web`, as the API server lists them. A connection that
is refused goes to the next endpoint; an answer that was begun is not repeated.

`/status` says whether everything is whole, `/regions/NAME` whether a region serves anybody.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.kubernetes.agent import NODES, PORT, Api

ASK_S = 1.0


class Known:
    """What the API server said last: endpoints, and whether all is whole."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.endpoints: list[tuple[str, str]] = []
        self.why = "not looked yet"
        self.turn = 0

    def look(self) -> None:
        path = "apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
        slices = self.api.call("GET", f"{path}?labelSelector=kubernetes.io/service-name%3Dweb")
        self.endpoints = [
            ("127." + address.partition(".")[2], NODES[end["nodeName"]][1])
            for one in slices["items"]
            for end in one["endpoints"] or []
            if end["conditions"].get("ready")
            for address in end["addresses"]
        ]
        self.why = self._why()

    def _why(self) -> str:
        found = self.api.call("GET", "apis/apps/v1/namespaces/shop/deployments")["items"]
        for one in found:
            ready, wanted = one["status"].get("readyReplicas", 0), one["spec"]["replicas"]
            if ready != wanted or wanted == 0:
                return f"{one['metadata']['name']}: {ready} of {wanted} ready"
        for node in self.api.call("GET", "api/v1/nodes")["items"]:
            if node["spec"].get("taints"):
                return f"{node['metadata']['name']} is tainted"
        return ""

    def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, KeyError):
                self.look()
            time.sleep(0.05)


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    known: Known

    def do_GET(self) -> None:
        if self.path == "/status":
            why = self.known.why
            self._say(200, json.dumps({"whole": not why, "why": why, "components": {}}).encode())
        elif self.path.startswith("/regions/"):
            name = self.path.rpartition("/")[2]
            there = any(region == name for _, region in self.known.endpoints)
            self._say(200 if there else 503, b"{}")
        else:
            self._pass_on()

    do_HEAD = do_GET  # noqa: N815

    def _pass_on(self) -> None:
        ends = list(self.known.endpoints)
        self.known.turn += 1
        for number in range(len(ends)):
            address, _ = ends[(self.known.turn + number) % len(ends)]
            connection = http.client.HTTPConnection(address, PORT, timeout=ASK_S)
            try:
                connection.connect()
            except OSError:
                continue
            try:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                self._say(502, b"{}")
                return
            finally:
                connection.close()
            more = {k: v for k, v in answer.getheaders() if k.lower().startswith("x-")}
            self._say(answer.status, body, more)
            return
        self._say(503, b"{}")

    def _say(self, status: int, body: bytes, headers: dict[str, Any] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    Gateway.known = Known(Api(Path(sys.argv[1])))
    threading.Thread(target=Gateway.known.run, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Gateway)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
