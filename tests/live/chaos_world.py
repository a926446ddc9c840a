"""A small real world to break: HTTP servers, a steward that tells whether all is whole, links
through Toxiproxy.

Run as a script it is the `start` command of a component: idempotent, and back only when the
component answers. Servers end by themselves when the world's folder is gone, so that nothing
outlives a killed test.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

LIFE_S = 240.0
HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(port: int, timeout_s: float = 0.5) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=timeout_s) as answer:
            return answer.status == 200
    except OSError:
        return False


def alive(pid_file: Path) -> bool:
    from stormgate.system import processes

    try:
        data = json.loads(pid_file.read_bytes())
    except (OSError, ValueError):
        return False
    return processes.alive(data["pid"], data["start_ticks"])


def start(state: Path, name: str) -> None:
    """Bring a component up unless it is, and wait until it answers."""
    plan = json.loads((state / "world.json").read_bytes())
    port, pid_file = plan["ports"][name], state / f"{name.replace('/', '.')}.pid"
    if not alive(pid_file):
        subprocess.Popen(
            [sys.executable, __file__, "serve", str(state), name],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    end = time.monotonic() + 15
    while not (alive(pid_file) and answers(port)):
        if time.monotonic() > end:
            sys.exit(f"{name} does not answer on {port}")
        time.sleep(0.01)


def serve(state: Path, name: str) -> None:
    from stormgate.system import processes

    plan = json.loads((state / "world.json").read_bytes())
    port = plan["ports"][name]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(document(state, plan, self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer.request_queue_size = 64
    server = ThreadingHTTPServer((HOST, port), Handler)
    # A child that would serve on if only its parent were stopped.
    child = (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        if name.endswith("service")
        else None
    )
    pid_file = state / f"{name.replace('/', '.')}.pid"
    temporary = pid_file.with_suffix(".new")
    temporary.write_text(
        json.dumps(
            {
                "pid": os.getpid(),
                "start_ticks": processes.pid_start_ticks(os.getpid()),
                "child": child and child.pid,
            }
        )
    )
    temporary.replace(pid_file)
    Thread(target=server.serve_forever, daemon=True).start()
    end = time.monotonic() + LIFE_S
    while (state / "world.json").exists() and time.monotonic() < end:
        time.sleep(0.2)
    if child is not None:
        child.kill()
        child.wait()
    os._exit(0)


def document(state: Path, plan: dict, path: str) -> dict:
    if path == "/healthz":
        return {"ok": True}
    ups = {name: answers(port) for name, port in plan["ports"].items() if name != "steward"}
    if path == "/status":
        down = sorted(name for name, up in ups.items() if not up)
        roles = (
            json.loads((state / "roles.json").read_bytes())
            if (state / "roles.json").exists()
            else {}
        )
        return {
            "whole": not down,
            "why": f"down: {', '.join(down)}" if down else "",
            "components": {
                name: {"state": "up" if up else "down", "role": roles.get(name)}
                for name, up in ups.items()
            },
        }
    order = sorted((name for name in ups if name.endswith("/edge")), key=lambda name: not ups[name])
    return {"version": 1, "populations": dict.fromkeys(plan["populations"], order)}


if __name__ == "__main__":
    {"start": start, "serve": serve}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
