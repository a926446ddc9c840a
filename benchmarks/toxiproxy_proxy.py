"""What a proxy without toxics costs: the embedded server beside the real one, in one run.

    python benchmarks/toxiproxy_proxy.py [--seconds 3] [--rounds 3]

An HTTP-sized echo (100 bytes each way) over keep-alive connections. Rate: 32 connections, one
request outstanding on each. Added latency: one connection, paced, against the same echo without a
proxy, in alternation. Echo, load and proxy are separate processes; on Linux the proxy is pinned to
one core. CPU per request is the proxy's own, from /proc.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import selectors
import socket
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from stormgate.toxiproxy import server
from stormgate.toxiproxy.server import RunningServer, ServerChoice
from stormgate.toxiproxy.types import STREAMS

PAYLOAD = b"x" * 100


def echo(ready: Connection) -> None:
    """An epoll echo, fast enough not to be what is measured."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    ready.send(listener.getsockname()[1])
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is listener:
                conn, _ = listener.accept()
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(conn, selectors.EVENT_READ)
            else:
                try:
                    data = sock.recv(65536)
                    sock.sendall(data)
                except ConnectionError:
                    data = b""
                if not data:
                    selector.unregister(sock)
                    sock.close()


def connect(address: tuple[str, int]) -> socket.socket:
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def round_trip_ms(sock: socket.socket) -> float:
    begin = time.perf_counter()
    sock.sendall(PAYLOAD)
    sock.recv(65536)
    return (time.perf_counter() - begin) * 1000


def rate_per_s(address: tuple[str, int], seconds: float, connections: int = 32) -> float:
    """Requests answered per second, one outstanding on each connection."""
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        selector.register(connect(address), selectors.EVENT_READ)
    socks = [key.fileobj for key in list(selector.get_map().values())]
    begin, done = time.perf_counter(), 0
    for sock in socks:
        sock.sendall(PAYLOAD)  # type: ignore[union-attr]
    while time.perf_counter() - begin < seconds:
        for key, _ in selector.select(1):
            key.fileobj.recv(65536)  # type: ignore[union-attr]
            key.fileobj.sendall(PAYLOAD)  # type: ignore[union-attr]
            done += 1
    elapsed = time.perf_counter() - begin
    for sock in socks:
        sock.close()  # type: ignore[union-attr]
    return done / elapsed


def connects_per_s(address: tuple[str, int], seconds: float) -> float:
    """Connect, one round trip, close: one after the other."""
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        with connect(address) as sock:
            round_trip_ms(sock)
        done += 1
    return done / (time.perf_counter() - begin)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def added_latency_ms(
    direct: tuple[str, int], proxied: tuple[str, int], samples: int = 1500
) -> tuple[float, float, float]:
    """Median direct, median proxied, p99 proxied; alternating, one request a millisecond or so."""
    with connect(direct) as plain, connect(proxied) as through:
        for sock in (plain, through):
            for _ in range(100):
                round_trip_ms(sock)
        pairs = []
        for _ in range(samples):
            pairs.append((round_trip_ms(plain), round_trip_ms(through)))
            time.sleep(0.0005)
    through_ms = sorted(pair[1] for pair in pairs)
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(through_ms),
        through_ms[int(samples * 0.99)],
    )


def measure(running: RunningServer, upstream: tuple[str, int], seconds: float) -> dict[str, float]:
    pid = running.pid
    assert pid is not None
    os.sched_setaffinity(pid, {0})
    proxy = running.client().create("bench", f"{upstream[0]}:{upstream[1]}")
    direct_ms, proxied_ms, p99_ms = added_latency_ms(upstream, proxy.address)
    before = cpu_s(pid)
    rate = rate_per_s(proxy.address, seconds)
    busy_s = cpu_s(pid) - before
    connects = connects_per_s(proxy.address, seconds / 2)
    for stream in STREAMS:
        running.client().add_toxic("bench", "latency", {"latency": 5}, stream=stream)
    before = cpu_s(pid)
    slow_rate = rate_per_s(proxy.address, seconds, connections=128)
    slow_busy_s = cpu_s(pid) - before
    with connect(proxy.address) as sock:
        slow_ms = statistics.median(round_trip_ms(sock) for _ in range(50))
    return {
        "requests/s": rate,
        "CPU us/request": busy_s / (rate * seconds) * 1e6,
        "added p50 ms": proxied_ms - direct_ms,
        "proxied p99 ms": p99_ms,
        "connections/s": connects,
        "2 x 5 ms: requests/s": slow_rate,
        "2 x 5 ms: CPU us/request": slow_busy_s / (slow_rate * seconds) * 1e6,
        "2 x 5 ms: round trip p50 ms": slow_ms,
    }


def choices() -> dict[str, ServerChoice]:
    found = {"embedded": server.embedded_choice()}
    real = server.find_server()
    if real.kind == "binary":
        found[f"real {real.version}"] = real
    else:
        print(f"no real server to compare with: {real.why}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=echo, args=(there,), daemon=True)
    process.start()
    upstream = ("127.0.0.1", int(here.recv()))
    results: dict[str, list[dict[str, float]]] = {name: [] for name in choices()}
    try:
        # In turns, so that a busy minute of the machine hits both.
        for _ in range(args.rounds):
            for name, choice in choices().items():
                with tempfile.TemporaryDirectory() as folder:
                    running = server.launch(choice, log_path=Path(folder) / "log")
                    try:
                        results[name].append(measure(running, upstream, args.seconds))
                    finally:
                        running.stop()
    finally:
        process.kill()
        process.join()
    columns = list(next(iter(results.values()))[0])
    print("| server | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, rounds in results.items():
        values = (statistics.median(round_[column] for round_ in rounds) for column in columns)
        print(
            f"| {name} | "
            + " | ".join(f"{value:,.0f}" if value >= 100 else f"{value:.3f}" for value in values)
            + " |"
        )


if __name__ == "__main__":
    main()
