"""An incident's crashes and flapping on what really runs: a small service that is killed and
started again, and a link that refuses, turn by turn, and what is there when it is over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.chaos_world import free_port
from tests.live.reproduce_world import Way

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]

SERVER = """
import os, socket, sys
port, folder = int(sys.argv[1]), sys.argv[2]
with open(os.path.join(folder, "starts"), "a") as starts:
    starts.write(f"{os.getpid()}\\n")
sock = socket.create_server(("127.0.0.1", port))
with open(os.path.join(folder, "web.pid"), "w") as file:
    file.write(str(os.getpid()))
while True:
    client, _ = sock.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    client.close()
"""
# Returns when the process answers; may be run twice.
START = """
import os, socket, subprocess, sys, time
port, folder = sys.argv[1:]
def answers():
    try:
        socket.create_connection(("127.0.0.1", int(port)), 1).close()
        return True
    except OSError:
        return False
if not answers():
    subprocess.Popen(
        [sys.executable, "-S", "-E", os.path.join(folder, "server.py"), port, folder],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 30
    while not answers() and time.monotonic() < end:
        time.sleep(0.02)
sys.exit(0 if answers() else 1)
"""
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: crashing}}
spec:
  regions: [{{name: eu, latitude: 50, longitude: 8}}]
  populations:
    - {{name: all, share: 100%, latitude: 50, longitude: 8, edges: [web], links: {{web: "http://127.0.0.1:{port}"}}}}
  components:
    - name: web
      kind: service
      backend: process
      region: eu
      handle: {{pidFile: "{folder}/web.pid", start: {start}}}
      observe: {{protocol: http, address: "127.0.0.1:{port}", path: /}}
"""
INCIDENT = """\
apiVersion: stormgate.dev/v1
kind: Incident
metadata: {{name: {name}}}
spec:
  target: {target}
  seen:
    - {{{where}, from: 1s, for: {lasts}, flapping: {{down: {down}, up: {up}}}}}
"""


class Service:
    """One process, killed and started again by whoever likes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "server.py").write_text(SERVER)
        (folder / "start.py").write_text(START)
        start = [sys.executable, str(folder / "start.py"), str(self.port), str(folder)]
        (folder / "target.yaml").write_text(
            TARGET.format(port=self.port, folder=folder, start=json.dumps(start))
        )
        assert os.spawnv(os.P_WAIT, start[0], start) == 0

    @property
    def starts(self) -> list[int]:
        return [int(line) for line in (self.folder / "starts").read_text().split()]

    def answers(self) -> bytes:
        url = f"http://127.0.0.1:{self.port}/"
        return bytes(urllib.request.urlopen(url, timeout=5).read())

    def close(self) -> None:
        os.kill(self.starts[-1], signal.SIGKILL)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path)
    yield found
    found.close()


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    found = Way("embedded", tmp_path)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


def write(folder: Path, **parts: str) -> None:
    (folder / "i.yaml").write_text(INCIDENT.format(**parts))


def played(folder: Path) -> list[dict[str, Any]]:
    (run,) = (folder / "played").iterdir()
    rows = [json.loads(line) for line in (run / "played.ndjson").read_text().splitlines()]
    return [row for row in rows if "at_s" in row]


def only_late(code: int, err: str) -> bool:
    """A busy machine may be late; then it says so, and nothing else is wrong."""
    told = [line for line in err.splitlines() if line.startswith("not as written")]
    return (code, told) == (0, []) or (code == 3 and all("ms late" in one for one in told))


def test_a_service_that_flaps_is_killed_and_started_again_turn_by_turn(
    service: Service,
) -> None:
    write(
        service.folder,
        name="crashes",
        target="target.yaml",
        where="component: web, crash: true",
        lasts="3s",
        down="400ms",
        up="1200ms",
    )
    first = service.starts
    assert len(first) == 1
    argv = [sys.executable, "-m", "stormgate.cli", "reproduce", "i.yaml", "--reports", "played"]
    done = subprocess.run(
        argv, cwd=service.folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert only_late(done.returncode, done.stderr), done.stdout + done.stderr
    assert "everything is taken back" in done.stdout
    moves = played(service.folder)
    assert [(one["at_s"], one["params"] is None) for one in moves] == [
        (1.0, False),
        (1.4, True),
        (2.6, False),
        (3.0, True),
    ]
    # Each turn killed the one that ran and was followed by a start; the last one stays.
    assert len(set(service.starts)) == 3
    assert service.answers() == b"ok"
    assert not [pid for pid in service.starts[:-1] if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    """Whether it runs, and has not merely not been waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_link_that_flaps_refuses_and_serves_by_turns(way: Way) -> None:
    write(
        way.folder,
        name="flaps",
        target="way.yaml",
        where="link: web->cache",
        lasts="9s",
        down="1500ms",
        up="1500ms",
    )
    child = way.begin("reproduce", "i.yaml", "--reports", "played")
    seen = []
    while child.poll() is None:
        seen.append(way.client.get("cache").enabled)
        time.sleep(0.05)
    out, err = child.communicate()
    assert only_late(child.returncode, err), out + err
    turns = [one for at, one in enumerate(seen) if at == 0 or seen[at - 1] != one]
    assert turns == [True, False] * 3 + [True]
    moves = played(way.folder)
    assert [one["params"] is None for one in moves] == [False, True] * 3
    assert way.client.get("cache").enabled
