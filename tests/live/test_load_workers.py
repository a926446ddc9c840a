"""A worker that joins a running test takes streams over; no two run the same one."""

import itertools
import os
import sys

import pytest
from tests.live.load_engine import server
from tests.live.test_load_locust import end, free_port, locust, ready, wait_for

from stormgate.evidence.read import Run
from stormgate.system.processes import spawn

pytestmark = [pytest.mark.live, pytest.mark.alone]

FILE = """
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    rate_per_s = 10
    def flow(self, session):
        yield get("/ok", name=f"stream {session.stream}", timeout_s=5)
"""
USERS = 10


def test_a_worker_that_joins_late_takes_streams_over(tmp_path):
    port = str(free_port())
    there = ["--master-host", "127.0.0.1", "--master-port", port]
    master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    more = ["--headless", "-u", str(USERS), "-r", "100", "--expect-workers", "1"]

    def worker(name):
        argv = [sys.executable, "-m", "locust", "-f", tmp_path / "mine.py", "--worker", *there,
                "--evidence", tmp_path / "run"]  # fmt: skip
        return spawn(
            list(map(str, argv)),
            env=dict(os.environ),
            log_path=tmp_path / f"{name}.log",
            cwd=tmp_path,
        )

    def both_record():
        files = list((tmp_path / "run" / "samples").glob("*.arrow"))
        return len(files) == 2 and all(file.stat().st_size > 20_000 for file in files)

    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, *master, *more, source=FILE) as (process, log),
    ):
        workers = [worker("first")]
        try:
            wait_for(process, log, lambda: ready(tmp_path))
            workers.append(worker("second"))
            wait_for(process, log, both_record)
            assert end(process, log) == 0, log.read_text()
        finally:
            for one in workers:
                one.kill()
                one.wait()
    rows = Run(tmp_path / "run").samples()
    spans = rows.groupby(["route", "worker"], observed=True)["intended_ns"].agg(["min", "max"])
    assert {route for route, _ in spans.index} == {f"stream {n}" for n in range(USERS)}
    moved = 0
    for _, mine in spans.groupby(level="route"):
        turns = sorted(map(tuple, mine.to_numpy().tolist()))
        moved += len(turns) > 1
        for (_, before), (after, _) in itertools.pairwise(turns):
            assert before < after, spans
    assert moved >= USERS // 2 - 1
