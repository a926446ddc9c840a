"""The mistakes that people make with a suite of their own, on a small service that runs: each gives
one line, which names the place and says what to do, before anything is broken. The suite is what
`init` wrote with the edits that docs/tutorial.md names.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from tests.live.tutorial import Reader, steps

from stormgate.commands.documents import init_command
from stormgate.documents import DocumentErrors, load_gate
from stormgate.faults.context import Context, make_context
from stormgate.faults.errors import ChaosError
from stormgate.faults.inject import inject
from stormgate.faults.undo import undo_all
from stormgate.judge.planning import assess
from stormgate.model import Component, Target
from stormgate.supervise.checks import machine, there
from stormgate.supervise.preflight import preflight
from stormgate.system import engine
from stormgate.toxiproxy.client import ProxySpec
from stormgate.toxiproxy.server import embedded_choice, launch

TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorial.md"
GATE, TARGET = "slas/first.yaml", "targets/suite.yaml"


@dataclass(frozen=True)
class Mistake:
    """`old` in a file of the suite is written as `new`; `told` is in the one line that comes."""

    name: str
    file: str
    old: str
    new: str
    told: str


_TABLE = YAML(typ="safe").load(Path(__file__).with_name("mistakes.yaml").read_text())
READ, LOADED, LOOKED = (
    [Mistake(**row) for row in _TABLE[level]] for level in ("read", "loaded", "looked")
)


class Well(BaseHTTPRequestHandler):
    """A service that is well, and knows no page but one."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/", "/healthz") else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def ports(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Where the tutorial's ports really are: two edges, a service, and Toxiproxy with one proxy."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Well) for _ in range(3)]
    threads = [threading.Thread(target=one.serve_forever, daemon=True) for one in servers]
    for thread in threads:
        thread.start()
    found = dict(
        zip(("18081", "18082", "19081"), (str(s.server_port) for s in servers), strict=True)
    )
    proxies = launch(embedded_choice(), log_path=tmp_path_factory.mktemp("toxiproxy") / "log")
    proxies.client().populate([ProxySpec("web", f"127.0.0.1:{found['19081']}")])
    found["8474"] = proxies.client().url.rpartition(":")[2]
    yield found
    proxies.stop()
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def written(tmp_path_factory, ports) -> Path:
    """The suite as the tutorial leaves it, for the service that runs here."""
    place = tmp_path_factory.mktemp("written")
    urls = [
        f"--url=eu=http://127.0.0.1:{ports['18081']}",
        f"--url=us=http://127.0.0.1:{ports['18082']}",
    ]
    result = CliRunner().invoke(init_command, [str(place / "suite"), *urls, "--kind", "process"])
    assert result.exit_code == 0, result.output
    reader = Reader(place, {})
    for step in steps(TUTORIAL):
        if step.kind != "sh":
            reader.edit(step)
    target = place / "suite" / TARGET
    text = target.read_text().replace("env: EU_WEB}", "proxy: web}")
    text = text.replace(
        "  links:\n    - {from", '  toxiproxy: "http://127.0.0.1:8474"\n  links:\n    - {from'
    )
    for told, real in ports.items():
        text = text.replace(f"127.0.0.1:{told}", f"127.0.0.1:{real}")
    target.write_text(text)
    (place / "run").mkdir()
    for name in ("eu-edge", "eu-web"):
        (place / "run" / f"{name}.pid").write_text(f"{os.getpid()}\n")
    (place / "run" / "dead.pid").write_text("4194303\n")
    return place


@pytest.fixture
def suite(written, tmp_path, monkeypatch) -> Path:
    """A copy of it, to make a mistake in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Path(shutil.copytree(written, tmp_path / "place")) / "suite"


def make(suite: Path, mistake: Mistake, ports: dict[str, str] | None = None) -> None:
    path, old, new = suite / mistake.file, mistake.old, mistake.new
    for told, real in (ports or {}).items():
        old, new = (text.replace(f"127.0.0.1:{told}", f"127.0.0.1:{real}") for text in (old, new))
    text = path.read_text()
    assert old in text, f"{mistake.file} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def one_right_line(lines: list[str], mistake: Mistake) -> None:
    assert len(lines) == 1, "\n".join(lines)
    assert mistake.told in lines[0], lines[0]


@pytest.mark.parametrize("mistake", READ, ids=lambda mistake: mistake.name)
def test_reading_says_so(suite, mistake):
    make(suite, mistake)
    with pytest.raises(DocumentErrors) as caught:
        load_gate(suite / GATE)
    lines = str(caught.value).splitlines()
    one_right_line(lines, mistake)
    assert f"/{Path(mistake.file).name}:" in lines[0] or GATE in lines[0]


@pytest.mark.parametrize("mistake", LOADED, ids=lambda mistake: mistake.name)
def test_the_locust_file_says_so(suite, mistake):
    make(suite, mistake)
    plan = load_gate(suite / GATE)
    with pytest.raises(DocumentErrors) as caught:
        preflight(suite / GATE, plan, suite)
    one_right_line(str(caught.value).splitlines(), mistake)


def wrong(suite: Path) -> list[str]:
    plan = load_gate(suite / GATE)
    found = [*machine.rows(plan, suite), *there.rows(plan, suite)]
    return [f"{row.what}: {row.saw}; {row.fix}" for row in found if not row.ok]


def test_without_a_mistake_nothing_is_wrong(suite):
    assert wrong(suite) == []


@pytest.mark.parametrize("mistake", LOOKED, ids=lambda mistake: mistake.name)
def test_looking_says_so(suite, mistake, ports):
    make(suite, mistake, ports)
    lines = wrong(suite)
    # A secret that is not set is told by its row, and by the address that cannot be asked without.
    lines = [line for line in lines if "_NOT_SET" not in line or line.startswith("secrets")]
    told = mistake.told
    for port, real in ports.items():
        told = told.replace(f"127.0.0.1:{port}", f"127.0.0.1:{real}")
    one_right_line(lines, replace(mistake, told=told))
    assert lines[0].partition("; ")[2], "it does not say what to do"


def test_a_rate_too_low_cannot_decide(suite):
    text = (suite / GATE).read_text()
    (suite / GATE).write_text(text.replace("ratePerS: 60", "ratePerS: 20"))
    assessment = assess(load_gate(suite / GATE), 10.0)
    assert not assessment.decidable
    assert "availability" in {o.name for o in assessment.objectives if o.contradictions}


def broken(tmp_path, monkeypatch, **commands: str) -> tuple[Context, Component]:
    """A switch that is turned off by commands of the owner's, and a run to turn it off in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    flag = tmp_path / "flag"
    said = {"apply": f"touch {flag}", "undo": f"rm -f {flag}", "observe": f"test -e {flag}"}
    argv = {step: ["sh", "-c", command] for step, command in {**said, **commands}.items()}
    handle = {
        "apply": {"off": argv["apply"]},
        "undo": {"off": argv["undo"]},
        "observe": argv["observe"],
    }
    switch = Component(name="switch", kind="switch", backend="command", handle=handle)
    (tmp_path / "run").mkdir()
    target = Target(name="t", components=(switch,))
    return make_context(target, tmp_path / "run", fault="f", seed=1), switch


def test_a_fault_that_does_nothing_is_told(tmp_path, monkeypatch):
    context, switch = broken(tmp_path, monkeypatch, apply="true")
    with pytest.raises(ChaosError) as caught:
        inject(context, [switch], "off", {}, proof_s=0.2)
    (line,) = str(caught.value).splitlines()
    assert "switch" in line
    assert "observe ended with 1" in line


def test_an_undo_that_fails_is_told(tmp_path, monkeypatch):
    context, switch = broken(tmp_path, monkeypatch, undo="echo no such switch; exit 7")
    inject(context, [switch], "off", {}, proof_s=5)
    with pytest.raises(ChaosError) as caught:
        undo_all(context, deadline_s=0.5)
    assert "switch" in str(caught.value)
    assert "undo ended with 7: no such switch" in str(caught.value)


def test_there_are_thirty_of_them():
    """Those of the table, and three of their own above."""
    assert len({mistake.name for mistake in (*READ, *LOADED, *LOOKED)}) + 3 >= 30


def test_an_engine_that_is_not_built_here_is_refused_at_its_line(suite, monkeypatch):
    gate = suite / GATE
    text = gate.read_text()
    gate.write_text(text.replace("ratePerS:", "engine: core, ratePerS:", 1))
    plan = load_gate(gate)
    assert plan.load.engine == "core"
    monkeypatch.setattr(engine, "has_core", lambda: False)
    with pytest.raises(DocumentErrors) as caught:
        preflight(gate, plan, suite)
    lines = gate.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if "engine: core" in line)
    (said,) = str(caught.value).splitlines()
    assert f":{number}:" in said
    assert "not built here" in said
