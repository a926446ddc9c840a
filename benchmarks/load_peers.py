"""Requests per CPU-second of Stormgate's engine beside what a user would take instead, in one run,
from one server's count.

    python benchmarks/load_peers.py [--seconds 10] [--repeat 3] [--only NAME ...] [--soak SECONDS]

nginx (Debian's package) has core 0, the client core 1. Requests are counted by nginx (stub_status),
CPU by /proc, both over the same stretch after a warm-up, so start-up costs nothing. Peers found on
PATH are measured, others are left out and said so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stormgate.evidence.read import Run

STREAMS = """
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    rate_per_s = {rate}
    def flow(self, session):
        yield get("/", name="get", timeout_s=5)
"""
FAST = """
from locust import {user}, task

class User({user}):
    @task
    def ask(self):
        self.client.get("/", name="get")
"""
K6 = """
import http from 'k6/http';
export const options = {vus: 50, duration: '600s', discardResponseBodies: true};
export default function () { http.get(__ENV.TARGET); }
"""
# What no generator in this language can do without, on this machine: wake up every 0.7 ms, one send
# and one receive a request.
FLOOR = """
import os, select, socket, sys, time
from stormgate.load.engine.timer import Timer
port, rate = int(sys.argv[1]), int(sys.argv[2])
REQUEST = b"GET / HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nUser-Agent: stormgate\\r\\n\\r\\n"
answers, ticks, timer, sockets = select.epoll(), select.epoll(), Timer(), {}
for _ in range(50):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS, as the engine asks for
    sockets[sock.fileno()] = sock
    answers.register(sock.fileno(), select.EPOLLIN)
idle = list(sockets.values())
ticks.register(timer.fd, select.EPOLLIN)
timer.tick(700_000)
begin, sent = time.monotonic(), 0
while True:
    ticks.poll()
    timer.acknowledge()
    for fd, _ in answers.poll(0, 256):
        sockets[fd].recvmsg(65536, 32)
        idle.append(sockets[fd])
    due = int((time.monotonic() - begin) * rate)
    while sent < due and idle:
        idle.pop().send(REQUEST)
        sent += 1
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 30000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d;
  scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=8192; location / {{ return 200 '[{{"id": 1, "title": "t"}}]'; }}
           location = /status {{ stub_status; }} }}
  {tls}
}}
"""  # noqa: E501
TLS = (
    "server {{ listen 127.0.0.1:{port} ssl backlog=8192; ssl_certificate {folder}/cert.pem; "
    "ssl_certificate_key {folder}/key.pem;"
    " location / {{ return 200 '[]'; }} }}"
)


# With --realtime: what else runs on this machine then takes no time from either side (it still
# shares its caches).
REALTIME: list[str] = []


@dataclass
class Figures:
    per_cpu_s: float
    rate: float
    cpu: float
    note: str = ""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """nginx on core 0: its plain and its TLS port."""
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    argv += [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(folder / "cert.pem"),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    port, tls_port = free_port(), free_port()
    tls = TLS.format(port=tls_port, folder=folder)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, tls=tls))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = [
        *REALTIME,
        "taskset",
        "-c",
        "0",
        program,
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
    ]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                served(port)
                break
            time.sleep(0.1)
        yield port, tls_port
    finally:
        process.terminate()
        process.wait()


def served(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as reply:
        return int(reply.read().split()[9])


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children so far."""
    total = 0.0
    pids = [pid]
    while pids:
        one = pids.pop()
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            pids += [
                int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()
            ]
    return total


def measure(
    argv: list[str], port: int, seconds: float, warm_up: float, env: dict[str, str]
) -> Figures:
    """Run a client on core 1 and count over `seconds` after `warm_up`."""
    process = subprocess.Popen(
        [*REALTIME, "taskset", "-c", "1", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": "1", **env},
    )
    try:
        asleep = served(port)
        deadline = time.monotonic() + 120
        while served(port) - asleep < 1000:
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"{' '.join(argv[:4])}: asked for nothing")
            time.sleep(0.25)
        time.sleep(warm_up)
        before = time.monotonic(), served(port), cpu_s(process.pid)
        time.sleep(seconds)
        after = time.monotonic(), served(port), cpu_s(process.pid)
        if process.poll() is not None:
            raise SystemExit(f"{argv[0]} ended early")
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()
    elapsed, count, cpu = after[0] - before[0], after[1] - before[1] - 1, after[2] - before[2]
    return Figures(count / max(cpu, 0.01), count / elapsed, cpu / elapsed)


def engine(folder: Path, url: str, rate: float, run: int) -> tuple[list[str], Path]:
    """The command of our engine at `rate` in all from 50 streams, and where its evidence goes."""
    file, evidence = folder / f"streams-{rate:.0f}.py", folder / f"run-{rate:.0f}-{run}"
    file.write_text(STREAMS.format(rate=rate / 50))
    argv = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(file),
        "-H",
        url,
        "--headless",
        "-u",
        "50",
        "-r",
        "50",
        "--only-summary",
    ]
    return [*argv, "--evidence", str(evidence)], evidence


def truth(evidence: Path) -> str:
    """What generator truth says of the middle of a run."""
    rows = [json.loads(line) for line in (evidence / "generator.ndjson").read_text().splitlines()]
    rows = [row for row in rows if not row["final"]][3:-1]
    median = {
        name: statistics.median(row[name] for row in rows)
        for name in ("send_lag_p50_ms", "send_lag_p99_ms")
    }
    planned, unsent = sum(row["planned"] for row in rows), sum(row["not_sent"] for row in rows)
    samples = Run(evidence).samples()
    samples = samples[
        (samples["outcome"] != "not_sent")
        & (samples["intended_ns"] > samples["intended_ns"].quantile(0.3))
    ]
    p99 = ((samples["done_ns"] - samples["intended_ns"]) / 1e6).quantile(0.99)
    # What nginx took, by the kernel's clock; the rest is this generator's own doing.
    service = ((samples["done_ns"] - samples["sent_ns"]) / 1e6).quantile(0.99)
    text = (
        f"send lag p50 {median['send_lag_p50_ms']:.2f} ms, p99 {median['send_lag_p99_ms']:.2f} ms"
    )
    text += f"; latency p99 {p99:.2f} ms, of which ours {p99 - service:.2f}"
    return (
        text
        + f"; connections {rows[-1]['open_connections']}"
        + (f"; not sent {unsent / planned:.0%}" if unsent else "")
    )


def peers(folder: Path, url: str) -> dict[str, list[str]]:
    """The commands of what is found on PATH, and Locust's own users."""
    for user in ("FastHttpUser", "HttpUser"):
        (folder / f"{user}.py").write_text(FAST.format(user=user))
    (folder / "k6.js").write_text(K6)
    (folder / "target.txt").write_text(f"GET {url}\n")
    # A host that ends in a slash makes FastHttpUser raise on every request ("//").
    locust = [
        sys.executable,
        "-m",
        "locust",
        "-H",
        url.rstrip("/"),
        "--headless",
        "-u",
        "50",
        "-r",
        "50",
        "--only-summary",
        "-f",
    ]
    vegeta = [
        "vegeta",
        "attack",
        "-rate=0",
        "-max-workers=50",
        "-duration=600s",
        "-output=/dev/null",
    ]
    commands = {
        "Locust FastHttpUser": [*locust, str(folder / "FastHttpUser.py")],
        "Locust HttpUser": [*locust, str(folder / "HttpUser.py")],
        "wrk -t1 -c50": ["wrk", "-t1", "-c50", "-d600s", url],
        "ab -k -c50": ["ab", "-k", "-c", "50", "-t", "600", "-n", "50000000", url],
        "oha -c 50": ["oha", "--no-tui", "-c", "50", "-z", "600s", url],
        "hey -c 50": ["hey", "-c", "50", "-z", "600s", url],
        "vegeta -rate=0": [*vegeta, f"-targets={folder / 'target.txt'}"],
        "k6, 50 VUs": ["k6", "run", "--quiet", "-e", f"TARGET={url}", str(folder / "k6.js")],
    }
    return {name: argv for name, argv in commands.items() if shutil.which(argv[0])}


def soak(folder: Path, port: int, seconds: float) -> None:
    """Memory of our engine at 5,000/s."""
    argv, _ = engine(folder, f"http://127.0.0.1:{port}", 5000, 99)
    process = subprocess.Popen(
        ["taskset", "-c", "1", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for share in (0.1, 0.25, 0.5, 0.75, 1.0):
            while time.monotonic() < BEGUN + share * seconds:
                time.sleep(0.2)
            status = Path(f"/proc/{process.pid}/status").read_text()
            rss = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
            print(f"after {share * seconds:.0f} s: {int(rss) / 1024:.0f} MiB", flush=True)
    finally:
        process.terminate()
        process.wait()


BEGUN = time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=3)
    parser.add_argument(
        "--only",
        nargs="*",
        default=None,
        help="parts of the names to measure (FastHttpUser always is)",
    )
    parser.add_argument(
        "--soak", type=float, default=0, help="only measure memory at 5,000/s for so many seconds"
    )
    parser.add_argument(
        "--against",
        metavar="SRC",
        help="the src folder of another checkout of ours, measured by turns with this one",
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run server and clients under SCHED_FIFO (root), for a busy machine",
    )
    options = parser.parse_args()
    if options.realtime:
        REALTIME.extend(["chrt", "-f", "10"])
    with tempfile.TemporaryDirectory() as name, nginx(Path(name)) as (port, tls_port):
        folder, url = Path(name), f"http://127.0.0.1:{port}/"
        if options.soak:
            soak(folder, port, options.soak)
            return
        rows: dict[str, Figures] = {}

        def wanted(label: str) -> bool:
            return (
                options.only is None
                or "FastHttpUser" in label
                or any(part in label for part in options.only)
            )

        def add(
            label: str,
            argv: list[str],
            evidence: Path | None = None,
            env: dict[str, str] | None = None,
        ) -> None:
            figures = measure(argv, port, options.seconds, options.warm_up, env or {})
            figures.note = truth(evidence) if evidence else ""
            print(
                f"{label}: {figures.per_cpu_s:,.0f} a CPU-second, {figures.rate:,.0f}/s",
                file=sys.stderr,
                flush=True,
            )
            runs.setdefault(label, []).append(figures)

        runs: dict[str, list[Figures]] = {}
        for run in range(options.repeat):
            for label, argv in peers(folder, url).items():
                if wanted(label):
                    add(label, argv)
            for rate in (10_000, 30_000, 60_000, 400_000):
                label = (
                    f"Stormgate at {rate:,}/s"
                    if rate < 400_000
                    else "Stormgate, overloaded (400,000/s asked)"
                )
                if wanted(label):
                    argv, evidence = engine(folder, url.rstrip("/"), rate, run)
                    add(label, argv, evidence)
                if wanted(label) and options.against:
                    argv, evidence = engine(folder, url.rstrip("/"), rate, run + 1000)
                    add(
                        f"{label} ({options.against})",
                        argv,
                        evidence,
                        {"PYTHONPATH": options.against},
                    )
                label = f"(bare loop: tick, send, receive, at {rate:,}/s)"
                if rate < 400_000 and wanted(label):
                    add(label, [sys.executable, "-c", FLOOR, str(port), str(rate)])
            if wanted("Stormgate, TLS, at 5,000/s"):
                argv, evidence = engine(folder, f"https://localhost:{tls_port}", 5_000, run)
                add(
                    "Stormgate, TLS, at 5,000/s",
                    argv,
                    evidence,
                    {"SSL_CERT_FILE": str(folder / "cert.pem")},
                )
        for label, figures in runs.items():
            best = sorted(figures, key=lambda f: f.per_cpu_s)[len(figures) // 2]
            rows[label] = best
        base = rows["Locust FastHttpUser"].per_cpu_s
        print(
            "| client | requests per CPU-second | x FastHttpUser | rate | CPU | "
            "|\n|---|---|---|---|---|---|"
        )
        for label, figures in sorted(rows.items(), key=lambda item: -item[1].per_cpu_s):
            print(
                f"| {label} | {figures.per_cpu_s:,.0f} | {figures.per_cpu_s / base:.1f} | "
                f"{figures.rate:,.0f}/s"
                f" | {figures.cpu:.0%} | {figures.note} |"
            )
        missing = [
            name for name in ("wrk", "ab", "oha", "hey", "vegeta", "k6") if not shutil.which(name)
        ]
        print(
            f"\nnot found on PATH: {', '.join(missing) or 'none'}; {options.seconds:g} s, "
            f"median of {options.repeat}"
        )


if __name__ == "__main__":
    main()
