"""A failed run on one system, played again on another that is nobody's lab: a small server whose
switch is a command, under another name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stormgate.supervise.children import free_port

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

SERVER = """
import http.server, pathlib, sys, time

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if pathlib.Path(sys.argv[2]).exists():
            time.sleep(float(sys.argv[3]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

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
EXPERIMENT = """
title: It is slow
description: The switch makes it slow.
controls: [{name: stormgate, provider: {type: python, module: stormgate.chaos.control}}]
runtime: {rollbacks: {strategy: always}}
method:
  - {type: action, name: dim, provider: {type: python, module: stormgate.chaos.actions, func: break_component, arguments: {component: switch, mode: slow}}}
  - {type: action, name: hold, provider: {type: python, module: stormgate.chaos.actions, func: hold, arguments: {seconds: 4}}}
rollbacks:
  - {type: action, name: undo, provider: {type: python, module: stormgate.chaos.actions, func: undo}}
"""  # noqa: E501
# Breaks what nobody uses: a second switch, which the server does not know.
DECOY = """  - {type: action, name: decoy, provider: {type: python, module: stormgate.chaos.actions, func: break_component, arguments: {component: other, mode: slow}}}
"""  # noqa: E501
GATE = """
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {name: shop}
spec:
  target: ../targets/shop.yaml
  load: {locustfile: ../loadtests/users.py, ratePerS: 20, users: 20}
  phases: {warmup: 6s, steady: 0s, final: 0s}
  faults: [{name: slow, experiment: ../experiments/slow.yaml, recovery: 1s}]
  objectives: [{name: quick, kind: latency, quantile: 0.9, lte: 150ms, phases: [fault]}]
  validity: {maxSendLagP99: 500ms, minAchieved: 80%, maxCpu: 100%}
"""


def target(name: str, part: str, port: int, place: Path) -> str:
    def argv(step: str, flag: str = name) -> str:
        return json.dumps([sys.executable, str(place / "switch.py"), str(place / flag), step])

    other = f"{name}-other"

    return textwrap.dedent(
        f"""\
        apiVersion: stormgate.dev/v1
        kind: Target
        metadata: {{name: {name}}}
        spec:
          environment: test
          regions: [{{name: here, latitude: 0, longitude: 0, continent: EU}}]
          populations:
            - {{name: all, share: 100%, latitude: 0, longitude: 0, edges: [web],
               links: {{web: "http://127.0.0.1:{port}"}}}}
          components:
            - name: {part}
              kind: switch
              backend: command
              region: here
              traffic: assured
              handle: {{apply: {{slow: {argv("apply")}}}, undo: {{slow: {argv("undo")}}},
                       observe: {argv("observe")}}}
            - name: other
              kind: switch
              backend: command
              region: here
              traffic: assured
              handle: {{apply: {{slow: {argv("apply", other)}}},
                       undo: {{slow: {argv("undo", other)}}}, observe: {argv("observe", other)}}}
        """
    )


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Path]:
    """Two systems: the shop, and one here that calls its switch a lamp. They are as slow."""
    for name in ("targets", "slas", "experiments", "loadtests"):
        (tmp_path / name).mkdir()
    (tmp_path / "switch.py").write_text(SWITCH)
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "loadtests/users.py").write_text(USERS)
    (tmp_path / "experiments/slow.yaml").write_text(EXPERIMENT)
    (tmp_path / "slas/shop.yaml").write_text(GATE)
    running = []
    for name, part in (("shop", "switch"), ("local", "lamp")):
        port = free_port()
        text = target(name, part, port, tmp_path)
        (tmp_path / f"targets/{name}.yaml").write_text(text)
        argv = [sys.executable, str(tmp_path / "server.py"), str(port), str(tmp_path / name), "0.3"]
        running.append(subprocess.Popen(argv))
        _until_answered(port)
    yield tmp_path
    for process in running:
        process.kill()
        process.wait()


def _until_answered(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return
        except OSError:
            assert time.monotonic() < end, "the server did not come up"
            time.sleep(0.1)


def stormgate(
    suite: Path, *arguments: str | Path, within_s: float = 120
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stormgate.cli", *map(str, arguments)]
    return subprocess.run(
        argv, cwd=suite, capture_output=True, text=True, check=False, timeout=within_s
    )


def test_a_run_that_failed_there_fails_here_and_holds_where_here_is_better(suite: Path) -> None:
    red = stormgate(suite, "gate", "slas/shop.yaml", "--no-check")
    assert red.returncode == 1, red.stdout + red.stderr
    run = (suite / "reports" / "latest").resolve()

    lacking = stormgate(suite, "reproduce", run)
    assert lacking.returncode == 2
    assert "target 'local' has no component 'switch'" in lacking.stderr
    assert "--map switch=NAME" in lacking.stderr

    again = stormgate(suite, "reproduce", run, "--map", "switch=lamp")
    assert again.returncode == 1, again.stdout + again.stderr
    assert "reproduced: quick" in again.stdout
    assert not (suite / "local").exists()
    answer = json.loads((suite / "reproduced" / run.name / "reproduction.json").read_text())
    assert answer["rows"][0]["verdicts"] == ["FAIL", "FAIL"]


def test_the_cause_fails_alone_under_a_gate_and_under_chaos_run(suite: Path) -> None:
    """A second fault that does no harm is taken away; what is left fails both ways."""
    both = EXPERIMENT.replace(
        "  - {type: action, name: hold", f"{DECOY}  - {{type: action, name: hold"
    )
    (suite / "experiments/slow.yaml").write_text(both)
    red = stormgate(suite, "gate", "slas/shop.yaml", "--no-check")
    assert red.returncode == 1, red.stdout + red.stderr
    run = (suite / "reports" / "latest").resolve()
    target = ("--target", "targets/shop.yaml")
    found = stormgate(suite, "reproduce", run, "--shrink", "--minutes", "6", *target, within_s=480)
    out = suite / "reproduced" / run.name
    data = json.loads((out / "shrunk.json").read_text())
    assert {one["fault"] for one in data["segments"]} == {"slow switch"}, found.stdout
    assert data["confirmed"], found.stdout
    assert found.returncode == 1

    alone = stormgate(suite, "gate", out / "cause" / "gate.yaml", "--no-check")
    assert alone.returncode == 1, alone.stdout + alone.stderr
    journal = chaos_run(suite, out / "cause" / "chaos-slow.yaml")
    assert journal["deviated"] is True
    assert journal["steady_states"]["before"]["steady_state_met"] is True
    assert journal["steady_states"]["after"]["steady_state_met"] is False
    assert not (suite / "shop").exists()


def chaos_run(suite: Path, experiment: Path) -> dict[str, Any]:
    """The journal of a plain `chaos run` beside a load that writes into its folder."""
    folder = suite / "beside"
    for name in ("samples", "operations", "journals"):
        (folder / name).mkdir(parents=True)
    plan = (suite / "reports" / "latest" / "plan.json").resolve()
    env = {**os.environ, "STORMGATE_EVIDENCE": str(folder), "STORMGATE_PLAN": str(plan)}
    argv = [sys.executable, "-m", "stormgate.load", "-f", "loadtests/users.py", "--headless"]
    argv += ["--users", "20", "--spawn-rate", "20", "--evidence", str(folder)]
    with subprocess.Popen(argv, cwd=suite, env=env, stderr=subprocess.DEVNULL) as load:
        try:
            time.sleep(6)
            chaos = [str(Path(sys.executable).parent / "chaos"), "run", str(experiment)]
            subprocess.run(chaos, cwd=suite, env=env, check=False, timeout=120)
        finally:
            load.terminate()
    found: dict[str, Any] = json.loads((suite / "journal.json").read_text())
    return found
