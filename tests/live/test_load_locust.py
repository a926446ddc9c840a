"""Stormgate's streams under the real `locust` command: evidence, statistics, workers that die, and
the end of a run.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pyarrow as pa
import pytest
from tests.live.load_engine import counts, server
from tests.live.load_locust import (
    FILE,
    distributed,
    end,
    free_port,
    locust,
    plan_env,
    population,
    problems,
    ready,
    timeline,
    wait_for,
)

from stormgate.evidence.read import Run
from stormgate.model import Steering
from stormgate.system.processes import spawn

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.live, pytest.mark.alone]

TASKS = """
from locust import tag, task
from stormgate.load import GeoUser, get, post

class Both(GeoUser):
    rate_per_s = 20
    @tag("read")
    @task(3)
    def read(self, session):
        yield get("/ok", name="read")
    @tag("write")
    @task
    def write(self, session):
        yield post("/ok", name="write", json={})
    """


SHAPE = (
    FILE
    + """
from locust import LoadTestShape

class Steps(LoadTestShape):
    # Each step lasts so long after the one before was seen to be reached: no step is too short on a busy machine.
    def __init__(self):
        super().__init__()
        self.steps, self.since = [10, 40, 5], None

    def tick(self):
        if self.since is None and self.get_current_user_count() == self.steps[0]:
            self.since = self.get_run_time()
        if self.since is not None and self.get_run_time() > self.since + 3:
            self.steps, self.since = self.steps[1:], None
        return (self.steps[0], 100) if self.steps else None
"""  # noqa: E501
)


def test_a_users_file_needs_nothing_else(tmp_path):
    with (
        server(tmp_path) as url,
        locust(
            tmp_path,
            "-H",
            url,
            "--headless",
            "-u",
            "20",
            "-r",
            "20",
            "-t",
            "4s",
            "--json-file",
            str(tmp_path / "s"),
        ) as (
            process,
            log,
        ),
    ):
        assert process.wait(timeout=90) == 0, log.read_text()
        served = counts(url)
    run = Run(tmp_path / "run")
    samples = run.samples()
    assert problems(run.folder) == []
    assert len(samples) == served["/ok"] + served["/labels"] > 300
    assert set(samples["population"]) == {"default"}
    assert sum(row["planned"] for row in run.generator) == len(samples)
    entries = json.loads(next(tmp_path.glob("s*.json")).read_text())
    assert sum(entry["num_requests"] for entry in entries) == len(samples)
    latency_ms = (samples["done_ns"] - samples["intended_ns"]) / 1e6
    assert max(entry["max_response_time"] for entry in entries) == pytest.approx(
        latency_ms.max(), abs=0.01
    )
    assert sum(entry["total_response_time"] for entry in entries) == pytest.approx(
        latency_ms.sum(), rel=0.001
    )
    assert [row["event"] for row in timeline(tmp_path)] == ["load.step", "load.ready", "load.end"]


def test_tasks_have_weights_and_tags(tmp_path):
    base = ["--headless", "-u", "10", "-r", "10", "-t", "3s"]
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, *base, source=TASKS) as (process, log),
    ):
        assert process.wait(timeout=90) == 0, log.read_text()
    names = Run(tmp_path / "run").samples()["route"].value_counts()
    assert 1.8 < names["read"] / names["write"] < 5
    other = tmp_path / "tagged"
    other.mkdir()
    with (
        server(tmp_path) as url,
        locust(other, "-H", url, *base, "--tags", "write", source=TASKS) as (process, log),
    ):
        assert process.wait(timeout=90) == 0, log.read_text()
    assert set(Run(other / "run").samples()["route"]) == {"write"}


def test_a_load_test_shape_ramps_streams_up_and_down(tmp_path):
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, "--headless", source=SHAPE) as (process, log),
    ):
        assert process.wait(timeout=120) == 0, log.read_text()
    run = Run(tmp_path / "run")
    assert problems(run.folder) == []
    streams = [row["streams"] for row in run.generator if not row["final"]]
    steps = [count for count, _ in itertools.groupby(streams) if count in (10, 40, 5)]
    assert steps == [10, 40, 5]
    # Whole seconds on a step plan its arrivals: 10 of each stream, each with one or two requests.
    for count in (10, 40, 5):
        rows = [
            now
            for before, now in itertools.pairwise(run.generator)
            if before["streams"] == now["streams"] == count
        ]
        planned_per_s = sum(row["planned"] for row in rows) / sum(row["window_s"] for row in rows)
        assert 0.6 < planned_per_s / (count * 10 * 2) < 1.4
    assert sum(row["planned"] for row in run.generator) == len(run.samples())


def test_two_workers_deal_one_plan_and_end_whole(tmp_path):
    with server(tmp_path) as url:
        people = (population("a", 0.7, url, labels={"shard": "eu"}), population("b", 0.3, url))
        env = plan_env(tmp_path, people, workers=2)
        with locust(tmp_path, "--headless", "-u", "20", "-r", "20", *distributed(2), env=env) as (
            process,
            log,
        ):
            wait_for(process, log, lambda: ready(tmp_path))
            time.sleep(3)
            assert end(process, log) == 0, log.read_text()
        served = counts(url)
    run = Run(tmp_path / "run")
    samples = run.samples()
    assert problems(run.folder) == []
    assert sorted(run.sample_files) == ["worker-0", "worker-1"]
    assert len(samples) == served["/ok"] + served["/labels"]
    assert 0.6 < (samples["population"] == "a").mean() < 0.8
    assert set(samples["shard"][samples["population"] == "a"]) == {"eu"}
    assert next(row for row in timeline(tmp_path) if row["event"] == "load.ready")["workers"] == 2
    streams = [row["streams"] for row in run.generator if not row["final"]]
    assert max(streams) == 10


def test_a_killed_worker_is_named_within_five_seconds(tmp_path):
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, "--headless", "-u", "20", "-r", "20", *distributed(2)) as (
            process,
            log,
        ),
    ):
        wait_for(process, log, lambda: ready(tmp_path))
        time.sleep(1.5)
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        killed_ns = time.monotonic_ns()
        os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
        wait_for(
            process,
            log,
            lambda: any(row["event"] == "load.lost" for row in timeline(tmp_path)),
            within=20,
        )
        time.sleep(1)
        end(process, log)
    lost = [row for row in timeline(tmp_path) if row["event"] == "load.lost"]
    assert len(lost) == 1
    assert 0 < lost[0]["at_ns"] - killed_ns < 5e9
    run = Run(tmp_path / "run")
    found = problems(run.folder)
    assert any(lost[0]["worker"] in problem and "no final row" in problem for problem in found)
    survivor = ({"worker-0", "worker-1"} - {lost[0]["worker"]}).pop()
    assert not any(survivor in problem for problem in found)
    # Up to its last block the dead worker's samples are there.
    with pa.OSFile(str(tmp_path / "run" / "samples" / f"{lost[0]['worker']}.arrow")) as source:
        assert pa.ipc.open_stream(source).schema.names[0] == "intended_ns"
    assert (
        sum(batch.num_rows for worker, batch in run.batches() if worker == lost[0]["worker"]) > 50
    )


SLOW = """
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    rate_per_s = 10
    def flow(self, session):
        yield get("/slow", name="slow", timeout_s=10)
"""


def test_the_end_waits_for_what_is_in_flight_on_every_worker(tmp_path):
    """Locust's own end loses requests that are answered more than half a second after it (50 of 300
    when measured).
    """
    options = [
        "--headless",
        "-u",
        "20",
        "-r",
        "20",
        "-t",
        "4s",
        "--json-file",
        tmp_path / "s",
        *distributed(2),
    ]
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, *options, source=SLOW) as (process, log),
    ):
        assert process.wait(timeout=90) == 0, log.read_text()
        served = counts(url)["/slow"]
    run = Run(tmp_path / "run")
    samples = run.samples()
    assert problems(run.folder) == []
    assert set(samples["outcome"]) == {"ok"}
    entries = json.loads(next(tmp_path.glob("s*.json")).read_text())
    assert served == len(samples) == sum(entry["num_requests"] for entry in entries) > 300


def test_workers_without_the_folder_send_their_evidence_by_message(tmp_path):
    port = free_port()
    master = [
        "--master",
        "--headless",
        "-u",
        "20",
        "-r",
        "20",
        "--expect-workers",
        "2",
        "--master-bind-host",
        "127.0.0.1",
    ]
    worker = [
        "--worker",
        "--master-host",
        "127.0.0.1",
        "--master-port",
        port,
        "--evidence-by-message",
    ]
    with server(tmp_path) as url, contextlib.ExitStack() as stack:
        process, log = stack.enter_context(
            locust(tmp_path, "-H", url, *master, "--master-bind-port", port)
        )
        for number in range(2):
            elsewhere = tmp_path / f"machine-{number}"
            elsewhere.mkdir()
            stack.enter_context(locust(elsewhere, *worker))
        wait_for(process, log, lambda: ready(tmp_path))
        time.sleep(2.5)
        assert end(process, log) == 0, log.read_text()
        served = counts(url)
    assert not (tmp_path / "machine-0" / "run" / "samples").exists()
    run = Run(tmp_path / "run")
    samples = run.samples()
    assert problems(run.folder) == []
    assert sorted(run.sample_files) == ["worker-0", "worker-1"]
    assert len(samples) == served["/ok"] + served["/labels"] > 200
    # Here both clocks are one: what the pings measured must say so, within the error they state.
    assert all(abs(row["clock_offset_ns"]) <= row["clock_error_ms"] * 1e6 for row in run.generator)
    assert not list((tmp_path / "run").glob(".shared-*"))


CLOSED = """
from locust import FastHttpUser, HttpUser, constant_throughput, task

class Fast(FastHttpUser):
    wait_time = constant_throughput(5)
    @task
    def a(self):
        self.client.get("/ok", name="fast")
        self.client.post("/503", name="broken", json={})

class Plain(HttpUser):
    wait_time = constant_throughput(5)
    @task
    def a(self):
        self.client.get("/ok", name="plain")
"""


def test_a_plain_locust_file_is_recorded_as_closed_loop(tmp_path):
    file = tmp_path / "plain.py"
    file.write_text(CLOSED)
    argv = [
        sys.executable,
        "-m",
        "stormgate.load",
        "-f",
        file,
        "--headless",
        "-u",
        "6",
        "-r",
        "6",
        "-t",
        "4s",
        "--only-summary",
    ]
    with server(tmp_path) as url:
        env = {**os.environ, "STORMGATE_EVIDENCE": str(tmp_path / "run")}
        done = subprocess.run(
            [*map(str, argv), "-H", url],
            env=env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        served = counts(url)
    run = Run(tmp_path / "run")
    samples = run.samples()
    assert problems(run.folder) == [], done.stderr
    assert {row["model"] for row in run.generator} == {"closed"}
    # Locust kills its own users in mid-request at the end: what they were asking then is not
    # reported by anyone.
    assert 40 < len(samples) <= served["/ok"] + served["/503"] <= len(samples) + 6
    outcomes = samples.groupby("route", observed=True)["outcome"].agg(set)
    assert outcomes.to_dict() == {"fast": {"ok"}, "plain": {"ok"}, "broken": {"bad_status"}}
    assert set(samples["op"][samples["route"] == "broken"]) == {"write"}


def test_the_plan_steers_by_table_and_a_refused_host_gets_no_packet(tmp_path):
    table = tmp_path / "www"
    table.mkdir()
    port = free_port()
    (table / "t.json").write_text(
        json.dumps({"version": 1, "populations": {"a": ["edge-0", "edge-1"]}})
    )
    web = spawn(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(table)]
    )
    try:
        with server(tmp_path) as one, server(tmp_path) as two:
            steering = Steering(
                mode="table", url=f"http://127.0.0.1:{port}/t.json", interval_ms=100
            )
            env = plan_env(tmp_path, (population("a", 1, one, two),), steering=steering)
            with locust(tmp_path, "--headless", "-u", "20", "-r", "20", env=env) as (process, log):
                wait_for(process, log, lambda: ready(tmp_path))
                wait_for(process, log, lambda: counts(one).get("/ok", 0) > 50)
                assert "/ok" not in counts(two)
                (table / "t.json").write_text(
                    json.dumps({"version": 2, "populations": {"a": ["edge-1"]}})
                )
                wait_for(process, log, lambda: counts(two).get("/ok", 0) > 50)
                left = counts(one)["/ok"]
                time.sleep(0.5)
                assert counts(one)["/ok"] == left
                end(process, log)
    finally:
        web.kill()
        web.wait()
    moves = [
        row for row in timeline(tmp_path) if row["event"] == "load.step" and row.get("steering")
    ]
    assert [(row["steering"], row["version"]) for row in moves] == [({"a": "edge-1"}, 2)]
    # Nobody's request failed; a busy machine may have held the generator up.
    assert set(Run(tmp_path / "run").samples()["outcome"]) - {"not_sent"} == {"ok"}


def test_a_host_outside_the_allow_list_is_refused_before_a_packet_leaves(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        env = plan_env(tmp_path, (population("a", 1, url),), allow=("192.0.2.0/24",))
        with locust(tmp_path, "--headless", "-u", "1", env=env) as (process, log):
            assert process.wait(timeout=60) == 2
            assert (
                "127.0.0.1) is not in the target's allow list: nothing was sent" in log.read_text()
            )
        with pytest.raises(TimeoutError):
            listener.accept()


def test_too_few_open_files_are_named_before_anything_is_sent(tmp_path):
    def under_64(command):
        return subprocess.run(
            ["sh", "-c", f"ulimit -n 64; exec {command}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    (tmp_path / "few.py").write_text(FILE)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
        load = under_64(
            f"{sys.executable} -m locust -f {tmp_path}/few.py -H {host} --headless -u 1 -t 5s"
        )
        with pytest.raises(TimeoutError):
            listener.accept()
    document = ROOT / "slas" / "chenu-release.yaml"
    gate = under_64(f"{sys.executable} -m stormgate.cli gate {document} --reports {tmp_path}/r")
    for ended in (load, gate):
        assert ended.returncode == 2
        assert "64 files at once (ulimit -n)" in ended.stderr
    assert not (tmp_path / "r").exists()


def test_the_web_ui_starts_stops_and_starts_again(tmp_path):
    port = free_port()
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, "--web-host", "127.0.0.1", "--web-port", str(port)) as (
            process,
            log,
        ),
    ):
        base = f"http://127.0.0.1:{port}"

        def call(path, **form):
            data = urllib.parse.urlencode(form).encode() if form else None
            try:
                with urllib.request.urlopen(base + path, data, timeout=10) as reply:
                    return json.load(reply)
            except OSError:
                return {}

        for _ in range(2):
            wait_for(
                process,
                log,
                lambda: call("/swarm", user_count=10, spawn_rate=10, host=url).get("success"),
            )
            wait_for(process, log, lambda: call("/stats/requests").get("total_rps", 0) > 20)
            stats = {entry["name"]: entry for entry in call("/stats/requests")["stats"]}
            assert {"list", "open", "Aggregated"} <= stats.keys()
            call("/stop", now="1")
            wait_for(process, log, lambda: call("/stats/requests").get("state") == "stopped")
        end(process, log)
    run = Run(tmp_path / "run")
    assert sorted(path.stem for path in run.sample_paths()) == ["worker-0", "worker-0-2"]
    assert problems(run.folder) == []
