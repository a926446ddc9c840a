"""Whatever the content folders try, no packet reaches a host outside `allow`, and the gate says who
tried: load INCONCLUSIVE, an experiment ERROR, never PASS.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.live.gate.bench import Suite, make_suite

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: straying}}
spec:
  environment: test
  allow: [127.0.0.1/32]
  regions: [{{name: here, latitude: 0, longitude: 0}}]
  populations:
    - name: everyone
      share: 100%
      latitude: 0
      longitude: 0
      edges: [here]
      links: {{here: "http://127.0.0.1:{here}"}}
  components:
    - name: switch
      kind: service
      region: here
      backend: command
      handle:
        apply: {{crash: [touch, "{folder}/broken"]}}
        undo: {{crash: [rm, -f, "{folder}/broken"]}}
        observe: [sh, -c, "test -e {folder}/broken && echo down || echo up"]
"""
GOOD = """
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    def flow(self, session):
        yield get("/", name="home", timeout_s=5)
"""
STRAYS = """
import socket
import urllib.request

import requests
from locust import FastHttpUser, HttpUser, constant_pacing, task

HOST, PORT = "127.0.0.2", {tcp}


def at_once(user):
    for ask in (
        lambda: requests.get(f"http://{{HOST}}:{{PORT}}/", timeout=5),
        lambda: urllib.request.urlopen(f"http://{{HOST}}:{{PORT}}/", timeout=5),
        lambda: socket.create_connection((HOST, PORT), 5),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", (HOST, {udp})),
    ):
        try:
            ask()
        except OSError:
            pass


# In a gate the target's link is everybody's host, whatever a class says: strangers by URL.
class Plain(HttpUser):
    wait_time = constant_pacing(0.2)
    on_start = at_once

    @task
    def read(self):
        self.client.get(f"http://{{HOST}}:{{PORT}}/")


class Fast(FastHttpUser):
    wait_time = constant_pacing(0.2)

    @task
    def read(self):
        self.client.get(f"http://{{HOST}}:{{PORT}}/")


class Moved(FastHttpUser):
    host = "http://127.0.0.1:{here}"
    wait_time = constant_pacing(0.2)

    @task
    def read(self):
        self.client.get("/moved")
"""
EXPERIMENT = """\
title: An experiment that asks strangers
description: d
method:
  - type: action
    name: by-http
    provider:
      type: http
      url: "http://127.0.0.2:{tcp}/break"
      headers: {{Authorization: Bearer secret}}
      timeout: 5
  - {{type: probe, name: by-python, provider: {{type: python, module: probes.stray, func: ask}}}}
  - type: action
    name: break
    provider: {{type: python, module: stormgate.chaos.actions, func: break_component,
      arguments: {{component: switch, mode: crash}}}}
rollbacks:
  - {{type: action, name: undo, provider: {{type: python, module: stormgate.chaos.actions, func: undo}}}}
"""  # noqa: E501
PROBE = """
import urllib.request

def ask():
    return urllib.request.urlopen("http://127.0.0.2:{tcp}/", timeout=5).status == 200
"""


@dataclass
class World:
    suite: Suite
    here: int
    tcp: int
    udp: int
    strangers: list[socket.socket]

    def nothing_arrived(self) -> bool:
        return select.select(self.strangers, [], [], 0.2)[0] == []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.2", 0)))
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        udp.bind(("127.0.0.2", 0))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                moved = self.path == "/moved"
                self.send_response(302 if moved else 200)
                if moved:
                    self.send_header("Location", f"http://127.0.0.2:{tcp.getsockname()[1]}/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        suite = make_suite(tmp_path)
        # What a company's machine has; nobody may follow it past `allow`.
        proxy = f"http://127.0.0.2:{tcp.getsockname()[1]}"
        suite.environment |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "ALL_PROXY": proxy}
        made = World(suite, server.server_port, tcp.getsockname()[1], udp.getsockname()[1], [])
        made.strangers = [tcp, udp]
        (tmp_path / "targets" / "small.yaml").write_text(
            TARGET.format(here=made.here, folder=tmp_path)
        )
        yield made


def test_load_that_strays_is_refused_and_the_run_inconclusive(world: World) -> None:
    file = world.suite.folder / "loadtests" / "chenu.py"
    file.write_text(STRAYS.format(here=world.here, tcp=world.tcp, udp=world.udp))
    world.suite.write_gate(target="small.yaml", fault="", users=6, rate=30)
    gate = world.suite.start()
    assert gate.end() == 3, gate.said()
    assert world.nothing_arrived()
    rows = [row for row in gate.timeline() if row["event"] == "net.refused"]
    assert {row["by"] for row in rows} == {"load"}
    lines = file.read_text().splitlines()
    asked = [
        number
        for number, line in enumerate(lines, start=1)
        if "lambda:" in line or "self.client.get" in line
    ]
    who = {row["who"] for row in rows}
    assert who == {f"loadtests/chenu.py:{number}" for number in asked}
    verdict = gate.verdict()
    (finding,) = [one for one in verdict["validity"] if one["name"] == "network"]
    assert finding["verdict"] == "INCONCLUSIVE"
    assert "loadtests/chenu.py" in verdict["why"]
    assert "loadtests/chenu.py" in gate.said().replace("\n", "")
    assert {one["verdict"] for one in verdict["objectives"]} == {"INCONCLUSIVE"}
    assert gate.left_running() == []


def test_an_experiment_that_strays_is_an_error(world: World) -> None:
    folder = world.suite.folder
    (folder / "loadtests" / "chenu.py").write_text(GOOD)
    (folder / "probes" / "stray.py").write_text(PROBE.format(tcp=world.tcp))
    (folder / "experiments" / "stray.yaml").write_text(EXPERIMENT.format(tcp=world.tcp))
    fault = "\n    - {name: stray, experiment: ../experiments/stray.yaml, recovery: 1s}"
    world.suite.write_gate(target="small.yaml", fault=fault, failover="", users=10, rate=50)
    gate = world.suite.start()
    assert gate.end() == 4, gate.said()
    assert world.nothing_arrived()
    rows = [row for row in gate.timeline() if row["event"] == "net.refused"]
    assert {(row["by"], row["fault"]) for row in rows} == {("chaos", "stray")}
    assert {row["who"] for row in rows} == {"activity 'by-http'", "probes/stray.py:5"}
    (finding,) = [one for one in gate.verdict()["validity"] if one["name"] == "network"]
    assert finding["verdict"] == "ERROR"
    assert f"127.0.0.2:{world.tcp}" in finding["why"]
    assert not (folder / "broken").exists()
    assert gate.left_running() == []
