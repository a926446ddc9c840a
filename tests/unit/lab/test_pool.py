"""A pool of real instances: they come with the load, go without it, and die with their pool."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stormgate.lab.design import prices
from stormgate.lab.design.autoscaling import Scaling
from stormgate.lab.design.settings import LabSettings
from stormgate.system import processes

MOST_S = 60.0
START = (
    "import sys; from stormgate.lab.services import serving; "
    "from stormgate.lab.services.scaling import pool; serving.main(pool.start, sys.argv[1])"
)
# So little that a request or two a second, on whatever machine, are more than 70 % of it.
SCALING = Scaling(least=1, most=2, capacity_per_s=2.0, cool_s=0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Pool:
    """Its process, and what it answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=MOST_S) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def instances(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("/instances")[2])
        return found


def wait(until: Callable[[], Any]) -> Any:
    end = time.monotonic() + MOST_S
    while time.monotonic() < end:
        try:
            if found := until():
                return found
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("not in time")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    port, nobody = free_port(), {"host": "127.0.0.1", "port": free_port()}
    settings = {**LabSettings().to_json(), "instance_start_s": 0.1, "drain_s": 0.0}
    config = {
        "name": "pool",
        "port": port,
        "region": "here",
        "settings": settings,
        "shards": [],
        "cache": nobody,
        "steward": nobody,
        "scaling": SCALING.to_json(),
    }
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(config))
    process = subprocess.Popen([sys.executable, "-c", START, str(path)])
    try:
        yield Pool(process, port)
    finally:
        process.kill()
        process.wait()


def test_instances_come_with_the_load_and_go_without_it(pool: Pool) -> None:
    wait(lambda: pool.instances()["ready"] == 1)
    assert pool.ask("/healthz")[0] == 200
    costs: list[float] = []

    def two() -> bool:
        status, headers, _ = pool.ask("/profile", **{"x-chenu-user": "eu-1"})
        assert status in (400, 503), "there is no shard here, and many wait"
        costs.append(float(headers["x-chenu-cost"]))
        return bool(pool.instances()["ready"] == 2)

    began_s = time.monotonic()
    wait(two)
    lasted_s = time.monotonic() - began_s
    one_usd = SCALING.capacity_per_s * prices.CAPACITY_USD
    # The first answer brings what had come due before it.
    assert sum(costs[1:]) >= len(costs[1:]) * prices.REQUEST_USD
    assert sum(costs[1:]) <= len(costs) * prices.REQUEST_USD + lasted_s * 2 * one_usd
    many = pool.instances()["pids"]
    assert len(set(many)) == 2
    wait(lambda: pool.instances()["pids"] == many[:1])
    wait(lambda: processes.pid_start_ticks(many[1]) is None)


def test_instances_die_with_their_pool_and_one_that_dies_is_made_up_for(pool: Pool) -> None:
    wait(lambda: pool.instances()["ready"] == 1)
    (first,) = pool.instances()["pids"]
    processes.signal_if_same(first, processes.pid_start_ticks(first) or 0, signal.SIGKILL)
    (second,) = wait(lambda: first not in (pids := pool.instances()["pids"]) and pids)
    wait(lambda: pool.instances()["ready"] == 1)
    pool.process.kill()
    pool.process.wait()
    wait(lambda: processes.pid_start_ticks(second) is None)
