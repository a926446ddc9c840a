"""`stormgate prove` on a small service of its own: an objective that can fail does, one whose limit
allows everything passes over the violation and is called worthless.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

SERVICE = """\
import http.server, os, pathlib, subprocess, sys, urllib.request

class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\\n")

    def log_message(self, *args):
        pass

def answers():
    try:
        return urllib.request.urlopen("http://127.0.0.1:PORT/", timeout=1).status == 200
    except OSError:
        return False

if sys.argv[1] == "serve":
    http.server.ThreadingHTTPServer.request_queue_size = 256
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Shop)
    pathlib.Path(__file__).with_name("shop.pid").write_text(f"{os.getpid()}\\n")
    server.serve_forever()
elif not answers():
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen([sys.executable, __file__, "serve"], start_new_session=True, **nothing)
    while not answers():
        pass
"""
USERS = """\
from locust import HttpUser, task

class Buyer(HttpUser):
    @task
    def look(self):
        self.client.get("/")
"""
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  environment: test
  allow: [127.0.0.0/8]
  regions: [{name: home, latitude: 50, longitude: 8}]
  populations:
    - name: buyers
      share: 100%
      latitude: 50
      longitude: 8
      edges: [home]
      links: {home: "http://127.0.0.1:PORT"}
  components:
    - name: shop
      kind: service
      region: home
      backend: process
      handle: {pidFile: shop.pid, start: ["PYTHON", shop.py, start]}
      observe: {protocol: http, address: "127.0.0.1:PORT", path: /}
"""
GATE = """\
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {name: first}
spec:
  target: ../targets/shop.yaml
  load: {locustfile: ../loadtests/users.py, ratePerS: 30}
  phases: {warmup: 1s, steady: 2s, final: 1s}
  faults: [{name: dead, experiment: ../experiments/dead.yaml, recovery: 3s}]
  abort: {maxFaultDuration: 13s} # of which 10 s are for making and undoing it
  validity: {maxSendLagP99: 2s, minAchieved: 50%, maxCpu: 100%, maxSaturatedShare: 100%}
  objectives:
    - {name: failover, kind: failover, lte: 1s, within: 1s, by: [population]}
    - {name: anything-goes, kind: availability, target: 0.01, within: 1s}
    - {name: honest, kind: deployLoss, where: {outcome: [ok, wrong_body]}}
"""
DEAD = """\
title: A shop that dies is started again
description: It is killed, and its supervisor brings it back.
controls: [{name: stormgate, provider: {type: python, module: stormgate.chaos.control}}]
runtime: {rollbacks: {strategy: always}}
method:
  - type: action
    name: kill
    provider:
      type: python
      module: stormgate.chaos.actions
      func: kill
      arguments: {component: shop}
  - type: action
    name: hold
    provider:
      type: python
      module: stormgate.chaos.actions
      func: hold
      arguments: {seconds: 3}
rollbacks:
  - type: action
    name: undo
    provider: {type: python, module: stormgate.chaos.actions, func: undo}
"""


@pytest.fixture
def gate(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    texts = {
        "shop.py": SERVICE,
        "loadtests/users.py": USERS,
        "targets/shop.yaml": TARGET.replace("PYTHON", sys.executable),
        "experiments/dead.yaml": DEAD,
        "slas/first.yaml": GATE,
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("PORT", port))
    subprocess.run([sys.executable, tmp_path / "shop.py", "start"], check=True, timeout=30)
    try:
        yield tmp_path / "slas" / "first.yaml"
    finally:
        os.kill(int((tmp_path / "shop.pid").read_text()), 9)


def prove(gate: Path, *more: str) -> subprocess.CompletedProcess[str]:
    folder = gate.parents[1]
    return subprocess.run(
        [sys.executable, "-m", "stormgate.cli", "prove", str(gate), *more],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_a_gate_that_can_fail_is_proved_and_one_that_cannot_is_found_out(gate: Path) -> None:
    folder = gate.parents[1]
    done = prove(gate, "--no-check")
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    record = json.loads((folder / "proofs" / "first.json").read_text())
    found = {one["objective"]: one for one in record["proofs"]}
    assert {name: one["state"] for name, one in found.items()} == {
        "failover": "proved",
        "anything-goes": "not proved",
        "honest": "cannot be violated",
    }
    assert "of the requests failed" in found["anything-goes"]["why"]
    run = folder / found["failover"]["run"]
    verdict = json.loads((run / "verdict.json").read_text())
    assert {o["name"]: o["verdict"] for o in verdict["objectives"]} == {
        "failover": "FAIL",
        "anything-goes": "PASS",
    }
    # The service is back, by its own `start`, and what it lost stands in the ledger.
    assert "undone" in (run / "undo.ndjson").read_text()

    # A proof goes on where it stood: nothing is left to run.
    told = prove(gate, "--plan")
    assert told.returncode == 0, told.stderr
    assert "must fail by unanswered: crash shop" in told.stdout
    assert "there is an answer already" in told.stdout
    assert len(list((folder / "reports" / "prove").glob("2*"))) == 1
