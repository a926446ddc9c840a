"""Ten secrets in ten places: none is found again, in the run folder, on the console, or in what
`ps` shows while it runs.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.live.gate.bench import Gate, Suite, command_line, make_suite, processes

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

# Characters that URLs, JSON, HTML, XML, Markdown and Python write in ways of their own. Only some
# of the names say that they are secret.
SECRETS = {
    f"{name}": f"{number}s3cr3t/+&<\"'é %{number}|_*"
    for number, name in enumerate(
        [
            "POPULATION_HEADER",
            "IN_A_FLOW_TOKEN",
            "IN_PRINT_PASSWORD",
            "PAST_OUR_STREAMS_KEY",
            "HTTP_PROBE",
            "PYTHON_PROBE",
            "PARAMETER",
            "IN_COMMAND_TOKEN",
            "ROUTE_SECRET",
            "LOADED",
        ]
    )
} | {"IN_A_LINK": "link-7f3c9a"}
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: secretive}}
spec:
  environment: test
  allow: [127.0.0.1/32]
  regions: [{{name: here, latitude: 0, longitude: 0}}]
  observe: {{served_by: X-Echo}}
  populations:
    - name: everyone
      share: 100%
      latitude: 0
      longitude: 0
      edges: [here]
      links: {{here: "http://127.0.0.1:{here}/${{IN_A_LINK}}"}}
      headers: {{Authorization: "Bearer ${{POPULATION_HEADER}}"}}
  components:
    - name: switch
      kind: service
      region: here
      backend: command
      handle:
        apply: {{crash: [sh, -c, "echo $STORMGATE_PARAM_PASSWORD; touch {folder}/broken"]}}
        undo: {{crash: [sh, -c, "echo \\"$STORMGATE_PARAM_PASSWORD\\" > {folder}/undone; \\
          rm -f {folder}/broken"]}}
        observe: [sh, -c, "echo \\"$IN_COMMAND_TOKEN\\"; test -e {folder}/broken"]
"""
LOAD = """
import base64, os, urllib.parse
from stormgate.load import GeoUser, get

said = []

class Reader(GeoUser):
    def flow(self, session):
        route, flow = os.environ["ROUTE_SECRET"], os.environ["IN_A_FLOW_TOKEN"]
        first = not said  # later ones must be served: nothing is broken while users are not
        if first:
            said.append(1)
            for text in (os.environ["IN_PRINT_PASSWORD"], os.environ["IN_PRINT_PASSWORD"] + "x"):
                print("it is", text, urllib.parse.quote(text), repr(text))
                print(base64.b64encode(b"me:" + text.encode()).decode())
            os.system('echo "past us: $PAST_OUR_STREAMS_KEY"')
        yield get("/", name="home", timeout_s=5)
        if first:
            yield get("/missing", name="missing " + route, timeout_s=5)
            raise RuntimeError(f"session state: {flow!r}")
"""
EXPERIMENT = """\
title: An experiment with secrets
description: d
configuration:
  http: {{type: env, key: HTTP_PROBE}}
  parameter: {{type: env, key: PARAMETER}}
secrets:
  shop:
    probe: {{type: env, key: PYTHON_PROBE}}
    loaded: {{type: env, key: LOADED}}
method:
  - type: action
    name: break
    provider: {{type: python, module: stormgate.chaos.actions, func: break_component,
      arguments: {{component: switch, mode: crash, password: "${{parameter}}",
        more: {{deep: ["${{parameter}}"]}}}}}}
  - type: probe
    name: by-http
    provider:
      type: http
      url: "http://127.0.0.1:1/${{http}}"
      headers: {{Authorization: "Bearer ${{http}}"}}
      expected_status: 200
  - type: probe
    name: by-python
    provider: {{type: python, module: probes.tells, func: tell, secrets: [shop]}}
rollbacks:
  - {{type: action, name: undo, provider: {{type: python, module: stormgate.chaos.actions, func: undo}}}}
"""  # noqa: E501
PROBE = """
import logging

def tell(secrets):
    logging.getLogger("chaostoolkit").info(f"loaded {secrets}")
    raise RuntimeError(f"it was {secrets['probe']!r}, and {secrets['loaded']}")
"""


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("X-Echo", self.headers.get("Authorization", "nobody"))
            body = f"you said {dict(self.headers)}".encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = make_suite(tmp_path)
    made.environment |= SECRETS
    here = server.server_port
    (tmp_path / "targets" / "small.yaml").write_text(TARGET.format(here=here, folder=tmp_path))
    (tmp_path / "loadtests" / "chenu.py").write_text(LOAD)
    (tmp_path / "probes" / "tells.py").write_text(PROBE)
    (tmp_path / "experiments" / "tells.yaml").write_text(EXPERIMENT.format(here=here))
    fault = "\n    - {name: tells, experiment: ../experiments/tells.yaml, recovery: 1s}"
    made.write_gate(target="small.yaml", fault=fault, failover="", users=5, rate=20)
    yield made
    server.shutdown()
    server.server_close()


def forms(secret: str) -> set[bytes]:
    plain = {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}
    whole = secret.encode()
    coded = {base64.b64encode(b"me:" + whole), base64.b64encode(whole), whole.hex().encode()}
    # The longest stretch that nothing writes in another way.
    core = max(secret.replace("/", " ").replace("&", " ").split(), key=len)
    return {text.encode() for text in plain} | coded | {core.split("+")[0].encode()}


def watch(gate: Gate, seen: set[str]) -> None:
    while gate.process.poll() is None:
        for pid, _, _ in processes():
            with contextlib.suppress(OSError):
                seen.add(command_line(pid))
        gate.note_descendants()


def test_ten_secrets_in_ten_places(suite: Suite, tmp_path: Path) -> None:
    gate = suite.start()
    shown: set[str] = set()
    watcher = threading.Thread(target=watch, args=(gate, shown))
    watcher.start()
    watcher.join(200)
    assert gate.process.poll() not in (None, 0), gate.said()
    assert gate.left_running() == []
    events = [row["event"] for row in gate.timeline()]
    assert "fault.cleared" in events, gate.said()
    # The undo had what the ledger does not hold.
    assert (tmp_path / "undone").read_text().strip() == SECRETS["PARAMETER"]

    found = []
    names = set()
    places = [path for path in gate.folder.rglob("*") if path.is_file()]
    assert len(places) > 10
    texts = {path.name: path.read_bytes() for path in [*places, gate.output]}
    texts["ps"] = "\n".join(shown).encode()
    for name, secret in SECRETS.items():
        found += [
            (name, place, form)
            for form in forms(secret)
            for place, text in texts.items()
            if form in text
        ]
        names |= {name for text in texts.values() if f"***{name}***".encode() in text}
    assert found == []
    # Each was written somewhere, and hidden there (the ledger says ${PARAMETER}).
    assert names | {"PARAMETER"} == set(SECRETS)
    assert b'"references":["PARAMETER"' in texts["undo.ndjson"]
