"""Faults of one gate that stand together, on a small server that is nobody's lab: its switches are
commands. Each fault waits for the other and not for the clock, so a busy machine changes nothing.
"""

# ruff: noqa: E501 - an experiment's actions read row by row

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

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

SERVER = """
import http.server, sys

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
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
PROBE = """
import pathlib

def is_on(flag: str) -> bool:
    return pathlib.Path(flag).exists()
"""
USERS = """
from stormgate.load import GeoUser, get

class Visitor(GeoUser):
    rate_per_s = 1

    def flow(self, session):
        yield get("/", name="look", timeout_s=2)
"""


def experiment(part: str, other: Path, until: bool) -> str:
    """Breaks one part, and takes it back when the other is (or is no longer) broken."""
    ours = "type: python, module: stormgate.chaos.actions"
    probe = f"{{module: probes.flags, func: is_on, arguments: {{flag: {other}}}}}"
    return f"""
title: {part} stands until the other does
description: Two switches, each looked at from outside.
controls: [{{name: stormgate, provider: {{type: python, module: stormgate.chaos.control}}}}]
runtime: {{rollbacks: {{strategy: always}}}}
method:
  - {{type: action, name: break, provider: {{{ours}, func: break_component, arguments: {{component: {part}, mode: "on"}}}}}}
  - {{type: action, name: until, provider: {{{ours}, func: until, arguments: {{probe: {probe}, tolerance: {str(until).lower()}, within_s: 60, every_s: 0.05}}}}}}
  - {{type: action, name: stand, provider: {{{ours}, func: hold, arguments: {{seconds: 0.3}}}}}}
rollbacks:
  - {{type: action, name: undo, provider: {{{ours}, func: undo}}}}
"""


def target(port: int, place: Path) -> str:
    def component(name: str) -> str:
        def argv(step: str) -> str:
            return json.dumps([sys.executable, str(place / "switch.py"), str(place / name), step])

        return f"""
    - name: {name}
      kind: switch
      backend: command
      region: here
      traffic: assured
      handle: {{apply: {{"on": {argv("apply")}}}, undo: {{"on": {argv("undo")}}}, observe: {argv("observe")}}}"""

    return f"""\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: overlapping}}
spec:
  environment: test
  regions: [{{name: here, latitude: 0, longitude: 0, continent: EU}}]
  populations:
    - {{name: all, share: 100%, latitude: 0, longitude: 0, edges: [web], links: {{web: "http://127.0.0.1:{port}"}}}}
  components:{component("one")}{component("two")}{component("three")}
"""


def gate(place: Path) -> str:
    wait = "module: probes.flags, func: is_on"
    return textwrap.dedent(f"""\
        apiVersion: stormgate.dev/v1
        kind: ReleaseGate
        metadata: {{name: together}}
        spec:
          target: ../targets/shop.yaml
          load: {{locustfile: ../loadtests/users.py, ratePerS: 20, users: 20}}
          phases: {{warmup: 2s, steady: 0s, final: 0s}}
          faults:
            - {{name: second, experiment: ../experiments/two.yaml, recovery: 500ms, overlaps: first, after: 100ms,
               when: {{probe: {{{wait}, arguments: {{flag: {place / "one"}}}}}, is: true, within: 60s}}}}
            - {{name: first, experiment: ../experiments/one.yaml, recovery: 500ms,
               when: {{probe: {{{wait}, arguments: {{flag: {place / "switch.py"}}}}}, is: true, within: 60s}}}}
            - {{name: never, experiment: ../experiments/three.yaml, recovery: 500ms, overlaps: first,
               when: {{probe: {{{wait}, arguments: {{flag: {place / "three"}}}}}, is: true, within: 200ms, every: 100ms}}}}
          objectives: [{{name: answers, kind: availability, target: 50%, phases: [fault]}},
                       {{name: second, kind: availability, target: 50%, phases: ["fault[second]"]}}]
          validity: {{maxSendLagP99: 5s, minAchieved: 10%, maxCpu: 100%}}
        """)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """One run of the gate: its exit code and its folder."""
    place = tmp_path_factory.mktemp("together")
    for name in ("targets", "slas", "experiments", "loadtests", "probes"):
        (place / name).mkdir()
    port = free_port()
    (place / "switch.py").write_text(SWITCH)
    (place / "server.py").write_text(SERVER)
    (place / "probes/__init__.py").touch()
    (place / "probes/flags.py").write_text(PROBE)
    (place / "loadtests/users.py").write_text(USERS)
    (place / "targets/shop.yaml").write_text(target(port, place))
    (place / "slas/together.yaml").write_text(gate(place))
    (place / "experiments/one.yaml").write_text(experiment("one", place / "two", until=True))
    (place / "experiments/two.yaml").write_text(experiment("two", place / "one", until=False))
    (place / "experiments/three.yaml").write_text(experiment("three", place / "one", until=False))
    server = subprocess.Popen([sys.executable, str(place / "server.py"), str(port)])
    try:
        _until_answered(port)
        argv = [sys.executable, "-m", "stormgate.cli", "gate", "slas/together.yaml", "--no-check"]
        state = {**os.environ, "XDG_STATE_HOME": str(place / "state")}
        done = subprocess.run(
            argv, cwd=place, env=state, capture_output=True, text=True, check=False, timeout=360
        )
        assert (place / "reports/latest").exists(), done.stdout + done.stderr
        yield done.returncode, (place / "reports/latest").resolve()
    finally:
        server.kill()
        server.wait()


def _until_answered(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "timeline.ndjson").read_text().splitlines()]


def first(folder: Path, event: str, fault: str) -> int:
    found = (r["at_ns"] for r in rows(folder) if r["event"] == event and r.get("fault") == fault)
    return next(found)


def test_each_has_its_own_proof_window_recovery_and_undo(run: tuple[int, Path]) -> None:
    _, folder = run
    events = [(r["event"], r["phase"]) for r in rows(folder) if "phase" in r]
    order = [f"{event[6:]} {phase}" for event, phase in events]
    assert order.index("begin fault[first]") < order.index("begin fault[second]")
    assert order.index("begin fault[second]") < order.index("end fault[first]")
    assert order.index("end fault[first]") < order.index("end fault[second]")
    assert {"begin recovery[first]", "end recovery[first]", "end recovery[second]"} <= set(order)
    # It was proven while the other stood, and stayed when that one was taken back.
    assert first(folder, "fault.observed", "second") < first(folder, "chaos.rollback", "first")
    assert first(folder, "fault.cleared", "first") < first(folder, "chaos.rollback", "second")
    undone = [r["event"] for r in rows(folder) if r["event"] == "fault.cleared"]
    assert len(undone) == 2
    verdict = json.loads((folder / "verdict.json").read_text())
    checks = {one["name"]: one for one in verdict["validity"]}
    assert checks["undo"]["verdict"] == "PASS"
    assert {one["name"]: one["verdict"] for one in verdict["objectives"]}["second"] == "PASS"


def test_the_target_is_asked_to_be_whole_by_the_last_of_them(run: tuple[int, Path]) -> None:
    _, folder = run
    (whole,) = [r["at_ns"] for r in rows(folder) if r["event"] == "target.whole"]
    ends = [r["at_ns"] for r in rows(folder) if r["event"] == "chaos.end"]
    assert len(ends) == 3
    assert whole > max(ends)


def test_a_fault_comes_when_its_probe_says_so(run: tuple[int, Path]) -> None:
    _, folder = run
    assert first(folder, "chaos.triggered", "second") < first(folder, "fault.requested", "second")
    assert first(folder, "fault.requested", "first") < first(folder, "chaos.triggered", "second")


def test_one_that_is_never_triggered_breaks_nothing_and_is_never_green(
    run: tuple[int, Path],
) -> None:
    code, folder = run
    assert code == 3
    assert not [
        r for r in rows(folder) if r["event"] == "fault.requested" and r["fault"] == "never"
    ]
    phases = [r.get("phase") for r in rows(folder) if r["event"] == "phase.begin"]
    # Who waits while another stands has no phase for it.
    assert "waiting[first]" in phases
    assert not [phase for phase in phases if "never" in str(phase)]
    verdict = json.loads((folder / "verdict.json").read_text())
    checks = {one["name"]: one for one in verdict["validity"]}
    assert checks["faults"]["verdict"] == "INCONCLUSIVE"
    told = "never: nothing was broken: "
    # Whichever comes first; on a busy machine a process takes longer to begin than a fault stands.
    ends = (
        f"{told}is_on was not True within 0.2 s: it said False",
        f"{told}first was taken back before it was triggered",
    )
    (problem,) = checks["faults"]["detail"]["problems"]
    assert problem in ends
