"""A shop that is nobody's lab: one small server that says how it is, slow while its switch (a
command of its own) is on; with a gate, a game day, and the environment of whoever drives it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

from stormgate.supervise.children import free_port

SERVER = """
import http.server, json, pathlib, sys, time

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        broken = pathlib.Path(sys.argv[2]).exists()
        body = b"ok"
        if self.path == "/status":
            state = {"state": "slow" if broken else "up"}
            body = json.dumps({"whole": not broken, "components": {"switch": state}}).encode()
        elif broken:
            time.sleep(0.3)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
SWITCH = """
import pathlib, sys
flag, step = pathlib.Path(sys.argv[1]), sys.argv[2]
if step == "apply":
    flag.touch()
elif step == "undo":
    flag.unlink(missing_ok=True)
sys.exit(0 if step != "observe" or flag.exists() else 1)
"""
USERS = """
from stormgate.load import GeoUser, get

class Visitor(GeoUser):
    rate_per_s = 1

    def flow(self, session):
        yield get("/", name="look", timeout_s=2)
"""
GATE = """
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {name: shop}
spec:
  target: ../targets/shop.yaml
  load: {locustfile: ../loadtests/users.py, ratePerS: 20, users: 20}
  phases: {warmup: 2s, steady: 2s, final: 1s}
  faults: []
  objectives: [{name: quick, kind: latency, quantile: 0.9, lte: 150ms, phases: [steady]}]
  validity: {maxSendLagP99: 2s, minAchieved: 10%, maxCpu: 100%}
"""
DAY = """
apiVersion: stormgate.dev/v1
kind: GameDay
metadata: {name: shop-day}
spec:
  gate: ../slas/shop.yaml
  ratePerS: 60
  steady: 2s
  final: 1s
  steps:
    - name: switch
      go: Is everybody there?
      inject: {mode: slow, component: switch, for: 5s}
      recovery: 1s
      hypothesis:
        says: A slow switch is felt by nobody.
        objectives:
          - {name: quick, kind: latency, quantile: 0.95, lte: 150ms, minSamples: 20}
          - {name: patient, kind: latency, quantile: 0.5, lte: 2s, minSamples: 20}
"""


class ShopWorld:
    """The suite in `folder`, and the server while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flag = folder / "switch.on"
        self.port = free_port()
        for name in ("targets", "slas", "loadtests", "gamedays", "experiments"):
            (folder / name).mkdir()
        (folder / "server.py").write_text(SERVER)
        (folder / "switch.py").write_text(SWITCH)
        (folder / "loadtests/users.py").write_text(USERS)
        (folder / "slas/shop.yaml").write_text(GATE)
        (folder / "gamedays/day.yaml").write_text(DAY)
        (folder / "targets/shop.yaml").write_text(self._target())
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
        }
        self._started: list[subprocess.Popen[str]] = []
        argv = [sys.executable, str(folder / "server.py"), str(self.port), str(self.flag)]
        self.server = subprocess.Popen(argv)
        end = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < end, "the server did not come up"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2):
                return True
        except OSError:
            return False

    def _target(self) -> str:
        def argv(step: str) -> str:
            words = [sys.executable, str(self.folder / "switch.py"), str(self.flag), step]
            return json.dumps(words)

        return textwrap.dedent(
            f"""\
            apiVersion: stormgate.dev/v1
            kind: Target
            metadata: {{name: shop-{self.port}}}
            spec:
              environment: test
              statusUrl: "http://127.0.0.1:{self.port}/status"
              regions: [{{name: here, latitude: 0, longitude: 0, continent: EU}}]
              populations:
                - {{name: all, share: 100%, latitude: 0, longitude: 0, edges: [web],
                   links: {{web: "http://127.0.0.1:{self.port}"}}}}
              components:
                - name: switch
                  kind: switch
                  backend: command
                  region: here
                  traffic: assured
                  handle: {{apply: {{slow: {argv("apply")}}}, undo: {{slow: {argv("undo")}}},
                           observe: {argv("observe")}}}
            """
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command of ours, whose words can be read and written."""
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "stormgate.cli", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def inject(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.stormgate("inject", *words, "--target", "targets/shop.yaml")

    def stormgate(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stormgate.cli", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run_folder(self) -> Path:
        return (self.folder / "reports" / "latest").resolve()

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:  # a failed test's: it takes its faults back
                process.terminate()
                process.wait(60)
        self.server.kill()
        self.server.wait()
