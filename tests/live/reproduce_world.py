"""A link through a Toxiproxy of a kind, as a target document; the service behind it; and the real
toxiproxy-cli.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.live.chaos_world import free_port
from tests.live.toxiproxy.kit import Upstream, choice_for

from stormgate.toxiproxy import build
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.server import RunningServer, launch

LINK = "link:web->cache"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: way-{kind}}}
spec:
  regions: [{{name: eu, latitude: 50, longitude: 8}}]
  populations:
    - name: all
      share: 100%
      latitude: 50
      longitude: 8
      edges: [web]
      links: {{web: "http://{upstream}"}}
  components:
    - {{name: web, kind: service, backend: process, handle: {{docker: web}}}}
    - name: cache
      kind: cache
      backend: process
      handle: {{docker: cache}}
      observe: {{protocol: http, address: "{upstream}", path: /}}
  toxiproxy: http://127.0.0.1:{api}
  links:
    - {{from: web, to: cache, upstream: "{upstream}", listen: "127.0.0.1:{listen}", proxy: cache}}
"""


def answering(sock: socket.socket) -> None:
    """Answers each request, however many there are on a connection."""
    kept = b""
    while chunk := sock.recv(4096):
        kept += chunk
        while b"\r\n\r\n" in kept:
            kept = kept.partition(b"\r\n\r\n")[2]
            sock.sendall(ANSWER)


class Way:
    """The service, the server with its proxy, and the target's document in `folder`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.upstream = Upstream(answering)
        self.api, self.listen = free_port(), free_port()
        self.server = self.start()
        self.client = Client(f"http://127.0.0.1:{self.api}")
        self.client.create("cache", self.upstream.address, f"127.0.0.1:{self.listen}")
        self.path = folder / "way.yaml"
        self.path.write_text(
            TARGET.format(
                kind=kind, upstream=self.upstream.address, api=self.api, listen=self.listen
            )
        )

    def start(self) -> RunningServer:
        log = self.folder / "toxiproxy.log"
        return launch(choice_for(self.kind), port=self.api, log_path=log)

    def close(self) -> None:
        self.server.stop()
        self.upstream.close()

    @property
    def toxics(self) -> dict[str, dict[str, int]]:
        return {one.name: dict(one.attributes) for one in self.client.toxics("cache")}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """`stormgate` with these words, in the folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "stormgate.cli", *words],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.begin(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def toxiproxy_cli() -> Path:
    """The real toxiproxy-cli of the pinned version, built once per machine; skips where it cannot
    be had.
    """
    path = build.cache_path().with_name("toxiproxy-cli")
    if path.exists():
        return path
    go = shutil.which("go")
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        done = go and subprocess.run(
            [go, "install", f"github.com/Shopify/toxiproxy/v2/cmd/cli@v{build.VERSION}"],
            env={**os.environ, "GOBIN": place, "CGO_ENABLED": "0"},
            capture_output=True,
            check=False,
            timeout=170,
        )
        if not done or done.returncode:
            pytest.skip("NOT TESTED with the real toxiproxy-cli: it cannot be built here")
        (Path(place) / "cli").rename(path)
    return path
