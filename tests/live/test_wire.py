"""`stormgate wire`: real proxies in front of a real service; a fault on the link is proven through
them, and nothing is left when it ends.
"""

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.chaos_world import free_port

from stormgate.documents import load_target
from stormgate.faults.context import make_context
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.server import embedded_choice, launch

pytestmark = pytest.mark.live


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args) -> None: ...


@pytest.fixture(scope="module")
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shop(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    api, listen = free_port(), free_port()
    Path("shop.yaml").write_text(f"""\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: shop}}
spec:
  regions: [{{name: eu, latitude: 50, longitude: 8}}]
  populations:
    - {{name: all, share: 1, latitude: 50, longitude: 8, edges: [web], links: {{web: "http://127.0.0.1:{upstream}"}}}}
  components:
    - name: eu/cache
      kind: cache
      backend: process
      handle: {{docker: cache}}
      observe: {{protocol: http, address: "127.0.0.1:{upstream}", path: /}}
    - {{name: eu/web, kind: service, backend: process, handle: {{docker: web}}}}
  toxiproxy: http://127.0.0.1:{api}
  links:
    - {{from: eu/web, to: eu/cache, upstream: "127.0.0.1:{upstream}", listen: "127.0.0.1:{listen}"}}
""")
    return api, listen


def wire(*words: str) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", "stormgate.cli", "wire", "shop.yaml", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def answer(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as got:
        return got.read()


def test_in_the_background_a_fault_on_the_link_is_proven_through_it(shop, tmp_path):
    api, listen = shop
    done = wire("--background", "--env-file", "shop.env", "--compose-file", "override.yaml")
    try:
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"EU_CACHE=127.0.0.1:{listen}\n"
        assert Path("shop.env").read_text() == done.stdout
        assert "host.docker.internal" in Path("override.yaml").read_text()
        assert answer(listen) == b"ok"
        again = wire("--background")
        assert (again.returncode, again.stdout) == (0, done.stdout), "once is enough"
        assert "wired already" in wire().stderr

        (tmp_path / "run").mkdir()
        target = load_target(Path("shop.yaml"))
        context = make_context(target, tmp_path / "run", fault="f", seed=1)
        link = target.component("link:eu/web->eu/cache")
        inject(context, [link], "slow", {"latency_ms": 300}, proof_s=20)
        assert [toxic.name for toxic in Client(f"http://127.0.0.1:{api}").toxics(
            "eu-web-to-eu-cache")]  # fmt: skip
        undo_all(context)
        assert open_entries(tmp_path / "run") == []
    finally:
        ended = wire("--stop")
    assert (ended.returncode, ended.stdout) == (0, "ended\n")
    with pytest.raises(OSError, match="refused"):
        answer(listen)
    assert "no wiring" in wire("--stop").stderr


def test_in_the_foreground_until_ctrl_c(shop):
    argv = [sys.executable, "-m", "stormgate.cli", "wire", "shop.yaml"]
    # Whoever started us in the background had ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert child.stdout.readline() == f"EU_CACHE=127.0.0.1:{shop[1]}\n"
        assert answer(shop[1]) == b"ok"
    finally:
        os.killpg(child.pid, signal.SIGINT)
        try:
            assert child.wait(20) == 0
        finally:
            child.kill()  # one that does not end must not outlive the test
            child.stdout.close()
    with pytest.raises(OSError, match="refused"):
        answer(shop[1])


def test_a_toxiproxy_of_ones_own_keeps_what_is_its_own(shop, upstream, tmp_path):
    api, _ = shop
    theirs = launch(embedded_choice(), port=api, log_path=tmp_path / "theirs.log")
    try:
        client = theirs.client()
        client.create("other", f"127.0.0.1:{upstream}")
        assert wire("--background").returncode == 0
        assert set(client.proxies()) == {"other", "eu-web-to-eu-cache"}
        assert wire("--stop").returncode == 0
        assert set(client.proxies()) == {"other"}
        client.create("eu-web-to-eu-cache", "127.0.0.1:1")
        refused = wire("--background")
        assert refused.returncode == 2
        assert "has a proxy 'eu-web-to-eu-cache' already" in refused.stderr
        assert client.get("eu-web-to-eu-cache").upstream == "127.0.0.1:1"
    finally:
        theirs.stop()


def test_a_server_that_dies_is_said(shop):
    argv = [sys.executable, "-m", "stormgate.cli", "wire", "shop.yaml"]
    child = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        child.stdout.readline()
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        assert wait_until(lambda: child.poll() is not None, 20)
        assert child.returncode == 4
        assert "Toxiproxy ended by itself" in child.stderr.read()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


def test_something_else_at_its_port_is_left_alone(shop, upstream):
    path = Path("shop.yaml")
    path.write_text(path.read_text().replace(f"127.0.0.1:{shop[0]}", f"127.0.0.1:{upstream}"))
    done = wire("--background")
    assert done.returncode == 2
    assert "is no Toxiproxy" in done.stderr
    assert done.stdout == ""
