"""What `stormgate mix from-log` writes is run by Locust as its head says, and asks a server for
what the log was asked for, as often and as fast.
"""

from __future__ import annotations

import datetime
import http.server
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.chaos_world import free_port

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(180)]

BEGIN = 1_772_374_000
BUSY_S, CALM_S = 5, 15
BUSY_PER_S, CALM_PER_S = 60, 20


@pytest.fixture
def asked() -> Iterator[tuple[int, list[tuple[float, str]]]]:
    """A server that keeps when it was asked for what: its port, and that."""
    found: list[tuple[float, str]] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.append((time.monotonic(), self.path))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    port = free_port()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield port, found
    server.shutdown()
    server.server_close()


def write_log(path: Path) -> None:
    """A third asks for the front page, two thirds for one of seven users; busy, then calm."""
    rows = []
    for n in range(BUSY_S * BUSY_PER_S + CALM_S * CALM_PER_S):
        calm = n - BUSY_S * BUSY_PER_S
        second = n // BUSY_PER_S if calm < 0 else BUSY_S + calm // CALM_PER_S
        at = datetime.datetime.fromtimestamp(BEGIN + second, datetime.UTC)
        route = f"/users/{n % 7}" if n % 3 else "/"
        rows.append(f'10.0.0.1 - - [{at:%d/%b/%Y:%H:%M:%S %z}] "GET {route} HTTP/1.1" 200 5 "-" ""')
    path.write_text("\n".join(rows) + "\n")


def test_locust_asks_for_what_the_log_was_asked_for(
    asked: tuple[int, list[tuple[float, str]]], tmp_path: Path
) -> None:
    port, found = asked
    write_log(tmp_path / "a.log")
    mix = ["stormgate.cli", "mix", "from-log", "a.log", "--out", "l.py", "--every", "5"]
    subprocess.run([sys.executable, "-m", *mix], cwd=tmp_path, check=True, timeout=60)
    (head,) = [
        line.split()
        for line in (tmp_path / "l.py").read_text().splitlines()
        if line.strip().startswith("locust -f")
    ]
    assert head == ["locust", "-f", "THIS_FILE", "-H", "http://127.0.0.1:8080", "--headless"]
    words = ["-f", "l.py", "-H", f"http://127.0.0.1:{port}", "--headless"]
    done = subprocess.run(
        [sys.executable, "-m", "locust", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # It ends with the log.
    begun = found[0][0]
    assert found[-1][0] - begun < BUSY_S + CALM_S + 10
    paths = Counter(path for _, path in found)
    assert set(paths) == {"/", *(f"/users/{n}" for n in range(7))}
    total = sum(paths.values())
    # Poisson arrivals of 600 in all, and thirds of them: six standard deviations either way.
    assert total == pytest.approx(600, abs=6 * 600**0.5)
    assert paths["/"] == pytest.approx(total / 3, abs=6 * (total * 2 / 9) ** 0.5)
    busy = sum(1 for at, _ in found if at - begun < BUSY_S)
    assert busy / BUSY_S > 1.8 * (total - busy) / CALM_S
