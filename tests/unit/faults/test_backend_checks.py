"""What each backend says of a component before a run: real processes, a real Toxiproxy server of
ours, and real commands; nothing is broken by asking.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.documents import load_gate
from stormgate.documents.trial.asked import asked_modes
from stormgate.faults import backends
from stormgate.model import Component, Observe, Target
from stormgate.system.commands import why_not_runnable
from stormgate.system.processes import pid_start_ticks
from stormgate.toxiproxy.client import Client, ProxySpec
from stormgate.toxiproxy.server import embedded_choice, launch


def rows_of(part: Component, *modes: str, target: Target | None = None) -> dict[str, tuple]:
    found = backends.get(part.backend).check(part, modes, target or Target(name="t"))
    assert all(row.fix for row in found if not row.ok), "what is wrong says what to do"
    return {row.what: (row.ok, row.saw) for row in found}


@pytest.fixture
def sleeper(tmp_path: Path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    file = tmp_path / "web.pid.json"
    ticks = pid_start_ticks(child.pid)
    file.write_text(json.dumps({"pid": child.pid, "start_ticks": ticks}))
    yield child, file
    child.kill()
    child.wait()


def process(file: Path, *start: str) -> Component:
    handle = {"pid_file": str(file), "start": start}
    return Component(name="web", kind="service", backend="process", handle=handle)


def test_a_process_is_found_may_be_signalled_and_can_be_brought_back(sleeper):
    child, file = sleeper
    rows = rows_of(process(file, "sh", "-c", "true"), "crash")
    assert [ok for ok, _ in rows.values()] == [True, True, True]
    assert child.poll() is None, "asking ended it"
    child.kill()
    child.wait()
    rows = rows_of(process(file, "sh", "up.sh"), "crash")
    assert rows["process"] == (False, f"no running process behind {file}")
    assert rows["start"] == (False, "there is no file up.sh, which sh is given")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["sh", "-c", "x"], None),
        (["no-such-program"], "there is no program 'no-such-program' on the PATH"),
        (["./nothing.sh"], "there is no file ./nothing.sh"),
        (["./plain.txt"], "./plain.txt is not executable"),
        ([sys.executable, "nothing.py"], "there is no file nothing.py, which"),
        (["python3", "plain.txt"], None),
        ([sys.executable, "-m", "http.server"], None),
    ],
)
def test_whether_a_command_could_begin(argv, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("plain.txt").write_text("")
    found = why_not_runnable(argv)
    assert found is None if why is None else found is not None and found.startswith(why)


@pytest.mark.parametrize(
    ("code", "ok", "saw"),
    [
        (1, True, "ended with 1"),
        (0, False, "says that it is broken already"),
        (3, False, "ended with 3"),
    ],
)
def test_commands_can_begin_and_observe_sees_nothing(code, ok, saw, tmp_path):
    trace = tmp_path / "trace"
    handle = {
        "apply": {"dim": ["sh", "-c", f"echo apply >> {trace}"]},
        "undo": {"dim": [str(tmp_path / "undo.sh")]},
        "observe": ["sh", "-c", f"exit {code}"],
    }
    rows = rows_of(Component(name="c", kind="k", backend="command", handle=handle), "dim")
    assert rows["undo dim"] == (False, f"there is no file {tmp_path / 'undo.sh'}")
    assert rows["apply dim"][0]
    assert rows["observe dim"][0] is ok
    assert saw in rows["observe dim"][1]
    assert not trace.exists(), "a check ran `apply`"


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args) -> None: ...


@pytest.fixture(scope="module")
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def proxies(service, tmp_path_factory):
    log = tmp_path_factory.mktemp("toxiproxy") / "log"
    server = launch(embedded_choice(), log_path=log)
    client = server.client()
    try:
        yield made(client, service)
    finally:
        server.stop()


def made(client: Client, service: str) -> Client:
    client.populate(
        [
            ProxySpec("web", service),
            ProxySpec("nowhere", "127.0.0.1:1"),
            ProxySpec("off", service, enabled=False),
            ProxySpec("broken", service),
            ProxySpec("lagging", service),
        ]
    )
    client.add_toxic("broken", "latency", {"latency": 5}, name="stormgate_old_up")
    client.add_toxic("lagging", "latency", {"latency": 5}, name="distance")
    return client


@pytest.mark.parametrize(
    ("proxy", "what", "ok", "saw"),
    [
        ("web", "through it", True, "answers"),
        ("wbe", "proxy", False, "no proxy 'wbe'"),
        ("nowhere", "through it", False, "reset"),
        ("off", "proxy", False, "disabled"),
        ("broken", "proxy", False, "stormgate_old_up"),
        ("lagging", "proxy", True, "distance"),
    ],
)
def test_a_link_is_found_enabled_clean_and_carries_an_answer(
    proxies, service, proxy, what, ok, saw
):
    web = Component(
        name="web",
        kind="service",
        backend="group",
        observe=Observe(protocol="http", address=service, path="/"),
    )
    link = Component(
        name="link",
        kind="link",
        backend="toxiproxy",
        handle={"url": proxies.url, "proxy": proxy},
        attributes={"destination": "web"},
    )
    rows = rows_of(link, "slow", target=Target(name="t", components=(web, link)))
    assert rows[what][0] is ok
    assert saw in rows[what][1]
    assert all(fine for name, (fine, _) in rows.items() if name != what)


def test_a_link_to_a_bare_port_cannot_show_delay(proxies):
    link = Component(
        name="link",
        kind="link",
        backend="toxiproxy",
        handle={"url": proxies.url, "proxy": "web"},
    )
    assert not rows_of(link, "slow")["through it"][0]
    assert rows_of(link, "refuse")["through it"][0]


def test_no_server_is_said_with_its_address():
    link = Component(
        name="link",
        kind="link",
        backend="toxiproxy",
        handle={"url": "http://127.0.0.1:1", "proxy": "web"},
    )
    ok, saw = rows_of(link, "slow")["server"]
    assert not ok
    assert "127.0.0.1:1" in saw


def test_what_the_experiments_ask_is_known_by_component(tmp_path):
    lay_out(tmp_path, "shop")
    plan = load_gate(tmp_path / "slas" / "release.yaml")
    assert asked_modes(plan, tmp_path) == {"web": {"crash"}}
