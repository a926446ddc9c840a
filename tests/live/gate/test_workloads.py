"""`stormgate gate` over Locust files of every kind, against a small server of its own: what breaks,
what follows a shape, what paces itself, and what is refused before anything starts.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.live.gate.bench import rows_of
from tests.live.load_engine import counts, server

from stormgate.evidence.read import Run

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]

TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {{name: small}}
spec:
  environment: test
  allow: [127.0.0.0/8]
  regions: [{{name: home, latitude: 52.37, longitude: 4.90}}]
  populations:
    - name: everyone
      share: 100%
      latitude: 52.37
      longitude: 4.90
      edges: [home]
      links: {{home: "{url}"}}
"""
GATE = """\
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {{name: small}}
spec:
  target: ../targets/small.yaml
  load: {{locustfile: ../loadtests/users.py, ratePerS: {rate}, users: {users}{more}}}
  seed: 1
  phases: {{warmup: 2s, steady: {steady}, final: 2s}}
  objectives:
    - {{name: availability, kind: availability, target: 98%, phases: [steady]}}
  validity: {{maxSendLagP99: 2s, maxCpu: 100%, minAchieved: {achieved}}}
"""


@dataclass
class Result:
    exit_code: int
    said: str
    reports: Path

    @property
    def folder(self) -> Path:
        return (self.reports / "latest").resolve()


def gate(
    tmp_path: Path,
    url: str,
    users_file: str,
    *,
    rate: int = 100,
    users: int = 10,
    more: str = "",
    steady: str = "5s",
    achieved: str = "50%",
) -> Result:
    for name in ("targets", "loadtests", "slas"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "targets" / "small.yaml").write_text(TARGET.format(url=url))
    (tmp_path / "loadtests" / "users.py").write_text(users_file)
    text = GATE.format(rate=rate, users=users, more=more, steady=steady, achieved=achieved)
    (tmp_path / "slas" / "small.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "stormgate.cli", "gate", "slas/small.yaml", "--no-check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return Result(done.returncode, done.stdout + done.stderr, tmp_path / "reports")


CRASH = """\
from stormgate.load import GeoUser, get, post

class Reader(GeoUser):
    def flow(self, session):
        reply = yield get("/labels", name="home", timeout_s=2)
        session.order = reply.json()["order"]
        yield post("/ok", name="create", json={"order": session.order}, timeout_s=2)
"""


def test_a_flow_that_raises_over_good_answers_decides_nothing(tmp_path):
    with server(tmp_path) as url:
        result = gate(tmp_path, url, CRASH)
        served = counts(url)
    assert served["/labels"] > 100
    assert "/ok" not in served
    assert result.exit_code == 3, result.said
    run = Run(result.folder)
    assert set(run.samples()["outcome"]) == {"ok"}
    folder = result.folder
    reports = {
        "console": result.said,
        "summary": (folder / "summary.md").read_text(),
        "junit": (folder / "junit.xml").read_text(),
        "html": (folder / "report.html").read_text(),
    }
    for name, text in reports.items():
        flat = " ".join(text.split())
        for word in ("workload", "Reader: ", "JSONDecodeError", "users.py", "line 6"):
            assert word in flat, (name, word, flat[:3000])


SHAPE = """\
from locust import LoadTestShape
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    def flow(self, session):
        yield get("/ok", name="home", timeout_s=2)

class Ramp(LoadTestShape):
    def tick(self):
        return (10, 10) if self.get_run_time() < 6 else (40, 40)
"""


# One process takes the same path without the splitting; test_load_locust plays a shape there too.
@pytest.mark.parametrize("more", [pytest.param("", marks=pytest.mark.slow), ", workers: 2"])
def test_a_shape_is_held_to_its_schedule_and_ends_whole(tmp_path, more):
    with server(tmp_path) as url:
        result = gate(tmp_path, url, SHAPE, more=more, steady="12s", achieved="80%")
        served = counts(url)
    assert result.exit_code == 0, result.said
    run = Run(result.folder)
    assert run.plan is not None
    assert run.plan.load.shape == "Ramp"
    assert run.plan.load.schedule[-1][1] == 40
    assert len(run.samples()) == served["/ok"]
    last = {row["worker"]: row["final"] for row in run.generator}
    assert set(last.values()) == {True}
    assert len(last) == (2 if more else 1)
    orders = [row["users"] for row in run.timeline if "spawn_rate" in row]
    assert orders == [10, 40]


PACED = """\
from locust import FastHttpUser, HttpUser, constant_throughput, task

class Plain(HttpUser):
    wait_time = constant_throughput(10)
    @task
    def home(self):
        self.client.get("/ok", name="home")

class Fast(FastHttpUser):
    wait_time = constant_throughput(10)
    host = "http://192.0.2.1"
    @task
    def item(self):
        self.client.get("/labels", name="item")
"""


def test_users_of_their_own_pace_dial_the_targets_link(tmp_path):
    with server(tmp_path) as url:
        result = gate(tmp_path, url, PACED)
        served = counts(url)
    assert result.exit_code == 0, result.said
    samples = Run(result.folder).samples()
    assert set(samples["population"]) == {"everyone"}
    counted = samples.groupby("route", observed=True).size().to_dict()
    assert counted == {"home": served["/ok"], "item": served["/labels"]}


WEIGHTS = """\
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    rate_per_s = 30
    def flow(self, session):
        yield get("/ok", name="read", timeout_s=2)

class Seldom(GeoUser):
    rate_per_s = 10
    def flow(self, session):
        yield get("/labels", name="seldom", timeout_s=2)
"""


def test_the_gates_rate_decides_and_a_class_own_rate_is_its_weight(tmp_path):
    with server(tmp_path) as url:
        result = gate(tmp_path, url, WEIGHTS, rate=80, achieved="90%")
        served = counts(url)
    assert result.exit_code == 0, result.said
    phases = [row for row in rows_of(result.folder / "timeline.ndjson") if "phase" in row]
    began, ended = (row["at_ns"] for row in phases if row["phase"] == "steady")
    samples = Run(result.folder).samples()
    steady = samples[(samples["intended_ns"] >= began) & (samples["intended_ns"] < ended)]
    assert len(steady) / ((ended - began) / 1e9) == pytest.approx(80, rel=0.2)
    assert served["/ok"] / served["/labels"] == pytest.approx(3, rel=0.35)


TASK_SET = """\
from locust import TaskSet, task
from stormgate.load import GeoUser

class Browse(TaskSet):
    @task
    def look(self):
        pass

class Shopper(GeoUser):
    tasks = {Browse: 1}
"""
IMPORTS = "import os\nimport no_such_module_of_anybody\n"
ENDS = SHAPE.replace("(40, 40)", "None")


@pytest.mark.parametrize(
    ("users_file", "options", "told"),
    [
        (TASK_SET, {}, "users.py:9: TypeError: Shopper: TaskSet Browse cannot run in a GeoUser"),
        (IMPORTS, {}, "users.py:2: ModuleNotFoundError: No module named 'no_such_module_of"),
        (CRASH, {"more": ", tags: [nosuch]"}, "small.yaml:6: no task of "),
        (CRASH, {"more": ", workers: 8", "users": 5}, "small.yaml:6: 8 workers for 5 users"),
        (ENDS, {}, "small.yaml:6: shape Ramp ends after 6 s, the phases take at least 9 s"),
    ],
)
def test_what_cannot_work_is_refused_at_its_line_before_anything_starts(
    tmp_path, users_file, options, told
):
    with server(tmp_path) as url:
        result = gate(tmp_path, url, users_file, **options)
        assert counts(url) == {"/count": 1}  # this very question
    assert result.exit_code == 2
    assert told in result.said
    assert not result.reports.exists()
