"""The real `locust` command over a file, for tests of what Stormgate adds to it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from stormgate.evidence.check import check_run
from stormgate.model import Load, Plan, Population, Steering, Target, to_json
from stormgate.system.processes import spawn

FILE = """
from locust import constant, HttpUser, tag, task
from stormgate.load import GeoUser, get, post

class Reader(GeoUser):
    rate_per_s = 10
    def flow(self, session):
        reply = yield get("/ok", name="list", timeout_s=5)
        if reply.status == 200 and reply.json():
            yield get("/labels", name="open", timeout_s=5)
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def locust(tmp_path, *arguments, source=FILE, env=None, module="locust"):
    file = tmp_path / "mine.py"
    file.write_text(source)
    log = tmp_path / "locust.log"
    argv = [
        sys.executable,
        "-m",
        module,
        "-f",
        file,
        "--only-summary",
        "--evidence",
        tmp_path / "run",
        *arguments,
    ]
    process = spawn(
        list(map(str, argv)), env={**os.environ, **(env or {})}, log_path=log, cwd=tmp_path
    )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def distributed(workers):
    port = str(free_port())
    return [
        "--processes", str(workers), "--expect-workers-max-wait", "60", "--master-host", "127.0.0.1", "--master-port", port,  # noqa: E501
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
    ]  # fmt: skip


def timeline(tmp_path):
    path = tmp_path / "run" / "timeline.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(process, log, condition, within=90.0):
    deadline = time.monotonic() + within
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def ready(tmp_path):
    return any(row["event"] == "load.ready" for row in timeline(tmp_path))


def end(process, log):
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        pytest.fail(log.read_text())


def problems(run):
    return [p for p in check_run(run) if not p.startswith(("manifest.json", "plan.json"))]


def plan_env(
    tmp_path, populations, *, workers=1, users=20, rate=200.0, steering=None, allow=("127.0.0.0/8",)
):
    target = Target(
        name="t",
        populations=populations,
        allow=allow,
        observe={"served_by": "x-region"},
        steering=steering or Steering(),
    )
    plan = Plan(
        gate="t", seed=11, confidence=0.95, target=target, faults=(), objectives=(), warmup_s=1, steady_s=1, final_s=1,  # noqa: E501
        load=Load(locustfile="mine.py", rate_per_s=rate, users=users, workers=workers),
    ).sealed()  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(to_json(plan)))
    return {"STORMGATE_PLAN": str(path)}


def population(name, share, *urls, **more):
    links = {f"edge-{number}": url for number, url in enumerate(urls)}
    return Population(
        name=name, share=share, latitude=0, longitude=0, edges=tuple(links), links=links, **more
    )
