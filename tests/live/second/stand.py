"""A service that is not the lab's, of parts that people use: in two regions nginx in front of a
small app with a Valkey beside it, and one PostgreSQL for both.

    python -m tests.live.second.stand up FOLDER
    python -m tests.live.second.stand start FOLDER eu-app
    python -m tests.live.second.stand down FOLDER

Where nginx cannot reach its region's app it asks the other one's; an app whose Valkey is silent for
0.2 s asks the database. FAILOVER=no, SLOW_S=0.3 and ERRORS=0.2 are ways to be a bad release.
"""

from __future__ import annotations

import http.client
import http.server
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from stormgate.lab.native import postgres
from stormgate.lab.runtime.folders import find_binaries

PORTS = {
    "db": 28001,
    "eu-valkey": 28011,
    "us-valkey": 28012,
    "eu-app": 28021,
    "us-app": 28022,
    "eu-nginx": 28081,
    "us-nginx": 28082,
}
NGINX = """\
pid {run}/{name}.pid;
error_log {run}/{name}.log;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {run}/{name}-body;
  proxy_temp_path {run}/{name}-proxy;
  fastcgi_temp_path {run}/{name}-fastcgi;
  uwsgi_temp_path {run}/{name}-uwsgi;
  scgi_temp_path {run}/{name}-scgi;
  upstream app {{ {servers} }}
  server {{
    listen 127.0.0.1:{port} backlog=256;
    location = /healthz {{ return 200 "well\\n"; }}
    location / {{
      proxy_pass http://app;
      proxy_connect_timeout 300ms;
      proxy_next_upstream error timeout non_idempotent;
    }}
  }}
}}
"""


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections: queue.LifoQueue[psycopg.Connection] = queue.LifoQueue()
    valkey = ("127.0.0.1", 0)

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/healthz":
            self.answer(200, "well")
            return
        time.sleep(float(os.environ.get("SLOW_S", "0")))
        if random.random() < float(os.environ.get("ERRORS", "0")):
            self.answer(500, "an error of the release")
        elif self.command == "POST" and self.path == "/items":
            self.ask("INSERT INTO items (text) VALUES (%s) RETURNING id", sent.decode())
            self.answer(201, "written")
        elif self.path == "/":
            self.answer(200, self.cached() or self.ask("SELECT count(*) FROM items"))
        else:
            self.answer(404, "no such page")

    def do_POST(self) -> None:
        self.do_GET()

    def cached(self) -> str | None:
        try:
            with socket.create_connection(self.valkey, 0.2) as cache:
                cache.settimeout(0.2)
                cache.sendall(b"*2\r\n$4\r\nINCR\r\n$6\r\nvisits\r\n")
                return cache.recv(100).decode().strip(":\r\n") or None
        except OSError:
            return None

    def ask(self, statement: str, *values: str) -> str:
        try:
            connection = self.connections.get_nowait()
        except queue.Empty:
            connection = psycopg.connect(
                f"host=127.0.0.1 port={PORTS['db']} user={postgres.SUPERUSER} dbname=postgres",
                autocommit=True,
            )
        row = connection.execute(statement, values).fetchone()
        self.connections.put(connection)
        return str(row[0]) if row else ""

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256


def serve(run: Path, name: str) -> None:
    default = f"127.0.0.1:{PORTS[name[:2] + '-valkey']}"
    host, _, port = os.environ.get(f"{name[:2].upper()}_CACHE", default).rpartition(":")
    App.valkey = (host, int(port))
    server = Server(("127.0.0.1", PORTS[name]), App)
    (run / f"{name}.pid").write_text(f"{os.getpid()}\n")
    server.serve_forever()


def answers(name: str) -> bool:
    """Whether it takes what is asked of it."""
    try:
        if name == "db":
            where = f"host=127.0.0.1 port={PORTS[name]} user={postgres.SUPERUSER} dbname=postgres"
            psycopg.connect(where, connect_timeout=1).close()
            return True
        if name.endswith("valkey"):
            socket.create_connection(("127.0.0.1", PORTS[name]), 1).close()
            return True
        asked = http.client.HTTPConnection("127.0.0.1", PORTS[name], timeout=1)
        asked.request("GET", "/healthz")
        return asked.getresponse().status == 200
    except (OSError, psycopg.Error):
        return False


def argv_of(run: Path, name: str) -> tuple[list[str], str | None]:
    """How a part is started, and as whom."""
    region, _, kind = name.partition("-")
    if kind == "app":
        return [sys.executable, "-m", "tests.live.second.stand", "serve", str(run), name], None
    if kind == "nginx":
        own, other = (f"127.0.0.1:{PORTS[one + '-app']}" for one in (region, _other(region)))
        servers = f"server {own} max_fails=0;"
        if os.environ.get("FAILOVER") != "no":
            servers += f" server {other} backup max_fails=0;"
        config = run / f"{name}.conf"
        config.write_text(NGINX.format(run=run, name=name, port=PORTS[name], servers=servers))
        return ["nginx", "-c", str(config), "-e", str(run / f"{name}.log")], None
    binaries = find_binaries(run)
    if kind == "valkey":
        words = [str(binaries.valkey), "--bind", "127.0.0.1", "--port", str(PORTS[name])]
        words += ["--save", "", "--appendonly", "no", "--dir", "/", "--daemonize", "no"]
        return words, binaries.user
    data = run / "pg" / "data"
    if not data.exists():
        data.parent.mkdir()
        postgres.give_to(data.parent, binaries.user)
        postgres.initdb(binaries, data)
        postgres.write_role(data, port=PORTS[name], upstream=None, synchronous_with=None)
        postgres.give_to(data, binaries.user)
    else:
        postgres.clear_leftovers(data)
    return postgres.server_argv(binaries, data), binaries.user


def _other(region: str) -> str:
    return "us" if region == "eu" else "eu"


def start(run: Path, name: str) -> None:
    if answers(name):
        return
    argv, user = argv_of(run, name)
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=(run / f"{name}.out").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=user,
        extra_groups=[] if user else None,
    )
    if name == "db" or name.endswith("valkey"):
        (run / f"{name}.pid").write_text(f"{child.pid}\n")
    deadline = time.monotonic() + 30
    while not answers(name):
        if time.monotonic() > deadline:
            sys.exit(f"{name} does not answer: {(run / f'{name}.out').read_text()[-500:]}")
        time.sleep(0.05)
    if name == "db":
        where = f"host=127.0.0.1 port={PORTS[name]} user={postgres.SUPERUSER} dbname=postgres"
        with psycopg.connect(where) as made:
            made.execute("CREATE TABLE IF NOT EXISTS items (id serial, text text)")


def stop(run: Path, name: str) -> None:
    file = run / f"{name}.pid"
    try:
        pid = int(file.read_text())
        # Of PostgreSQL this is the quick end that waits for no client.
        os.kill(pid, signal.SIGINT if name == "db" else signal.SIGTERM)
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + 10
    while answers(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    file.unlink(missing_ok=True)


def main() -> None:
    step, run, *names = sys.argv[1:]
    order = list(PORTS) if step != "down" else list(reversed(PORTS))
    for name in names or order:
        {"up": start, "start": start, "down": stop, "serve": serve}[step](Path(run), name)


if __name__ == "__main__":
    main()
