"""Users that pace themselves, under the real `locust`: every request they make is in the evidence,
as Locust counted it and as the user said it went.
"""

import json
import time

import pytest
from tests.live.load_engine import counts, server
from tests.live.load_locust import (
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

from stormgate.evidence.laws import RowLaws
from stormgate.evidence.read import Run
from stormgate.evidence.samples import Requests
from stormgate.judge.rules.accounts import unrecorded
from stormgate.judge.rules.closed import unreconciled

pytestmark = [pytest.mark.live, pytest.mark.alone]

# Two listeners that leave the task when a request failed: one before Locust's own, one after.
LEAVES = """
import gevent
from locust import FastHttpUser, HttpUser, User, constant_throughput, events, task
from locust.exception import RescheduleTask

@events.request.add_listener
def at_once(exception, **_):
    if exception:
        raise RescheduleTask()

@events.init.add_listener
def register(environment, **_):
    environment.events.request.add_listener(at_once)

class Plain(HttpUser):
    wait_time = constant_throughput(10)
    @task(2)
    def good(self):
        self.client.get("/ok", name="good")
    @task
    def refused(self):
        with self.client.get("/ok", name="no order", catch_response=True) as reply:
            reply.failure("no order id")
    @task
    def late(self):
        self.client.get("/never", name="late", timeout=0.1)

class Fast(FastHttpUser):
    wait_time = constant_throughput(10)
    @task
    def accepted(self):
        with self.client.get("/nosuch", name="gone is right", catch_response=True) as reply:
            reply.success()
    @task
    def broken(self):
        self.client.post("/503", name="broken", json={})
    @task
    def reset(self):
        self.client.get("/reset", name="reset")

class Own(User):
    wait_time = constant_throughput(10)
    @task
    def call(self):
        gevent.sleep(0.01)
        self.environment.events.request.fire(
            request_type="rpc", name="call", response_time=10.0, response_length=1, exception=None
        )
    @task
    def fail(self):
        with self.environment.events.request.measure("rpc", "fail"):
            raise ConnectionResetError("gone")
"""
SAID = {
    "good": {"ok"},
    "no order": {"wrong_body"},
    "late": {"first_byte_timeout"},
    "gone is right": {"ok"},
    "broken": {"bad_status"},
    "reset": {"reset"},
    "call": {"ok"},
    "fail": {"reset"},
}


def judged(run):
    """What the judge holds against the counts of a run."""
    stream = Requests(run.batches(), RowLaws())
    for _ in stream:
        pass
    laws = stream.laws
    return unrecorded(run.generator, laws.firsts) + unreconciled(
        run.generator, stream.rows, laws.failed
    )


def locusts_own(tmp_path):
    entries = [e for p in tmp_path.glob("own*.json") for e in json.loads(p.read_text())]
    return sum(e["num_requests"] for e in entries), sum(e["num_failures"] for e in entries)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_listener_of_the_users_cuts_a_request_off(tmp_path, workers):
    # The first workers' command knows nothing of Stormgate's entry, the others' file nothing of it.
    source, module = LEAVES, "stormgate.load"
    if workers == 1:
        source, module = f"import stormgate.load.locust.user\n{LEAVES}", "locust"
    options = ["--headless", "-u", "9", "-r", "9", "--json-file", tmp_path / "own"]
    options += distributed(workers) if workers > 1 else []
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, *options, source=source, module=module) as (process, log),
    ):
        wait_for(process, log, lambda: ready(tmp_path))
        wait_for(process, log, lambda: counts(url).get("/503", 0) >= 10)
        end(process, log)
        served = counts(url)
    run = Run(tmp_path / "run")
    samples = run.samples()
    assert problems(run.folder) == []
    outcomes = samples.groupby("route", observed=True)["outcome"].agg(set).to_dict()
    assert outcomes == SAID, log.read_text()
    # To the last one: what the server answered, what Locust counted, what the evidence holds.
    # (FastHttpUser's client asks again, unseen, when a connection is reset.)
    over_http = samples[~samples["route"].isin(["call", "fail", "reset"])]
    paths = ("/ok", "/never", "/nosuch", "/503")
    assert len(over_http) == sum(served[path] for path in paths)
    failed = int((samples["outcome"] != "ok").sum())
    assert locusts_own(tmp_path) == (len(samples), failed)
    assert judged(run) == []


HANGS = """
from locust import FastHttpUser, HttpUser, constant, task

class Plain(HttpUser):
    wait_time = constant(0)
    @task
    def slow(self):
        self.client.get("/slow", name="slow")
    def on_stop(self):
        self.client.get("/ok", name="log out")

class Fast(FastHttpUser):
    wait_time = constant(0)
    @task
    def never(self):
        self.client.get("/never", name="never")
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_under_way_at_the_end_is_waited_for_or_recorded_as_given_up(tmp_path, workers):
    options = ["--headless", "-u", "4", "-r", "4"]
    options += distributed(workers) if workers > 1 else []
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, *options, source=HANGS, module="stormgate.load") as (
            process,
            log,
        ),
    ):
        wait_for(process, log, lambda: ready(tmp_path))
        wait_for(process, log, lambda: counts(url).get("/slow", 0) >= 4)
        end(process, log)
        served = counts(url)
    run = Run(tmp_path / "run")
    counted = run.samples().groupby(["route", "outcome"], observed=True).size().to_dict()
    assert counted == {
        ("slow", "ok"): served["/slow"],
        ("never", "first_byte_timeout"): served["/never"],
        ("log out", "ok"): 2,
    }
    # What nobody but the client told of says what was wanted, and where, as all failures do.
    told = [row for row in timeline(tmp_path) if row["event"] == "load.failure"]
    assert {(r["route"], r["outcome"], r["status"], r["expected"], r["url"]) for r in told} == {
        ("never", "first_byte_timeout", 0, "an answer", f"{url}/never")
    }
    assert problems(run.folder) == judged(run) == []


RAISES = """
from locust import FastHttpUser, constant_throughput, task

class Shopper(FastHttpUser):
    wait_time = constant_throughput(20)
    @task
    def pay(self):
        self.client.get("/labels", name="pay").json()["token"]
    @task
    def look(self):
        with self.client.get("/ok", name="look", catch_response=True) as reply:
            reply.json()["no such key"]
"""


def test_a_task_that_raises_is_a_broken_workload_and_what_it_asked_is_missed(tmp_path):
    with (
        server(tmp_path) as url,
        locust(
            tmp_path, "-H", url, "--headless", "-u", "2", "-r", "2",
            source=RAISES, module="stormgate.load",
        ) as (process, log),
    ):  # fmt: skip
        wait_for(process, log, lambda: ready(tmp_path))
        wait_for(process, log, lambda: counts(url).get("/ok", 0) >= 10)
        assert end(process, log) == 1
        served = counts(url)
    run = Run(tmp_path / "run")
    assert set(run.samples()["route"]) == {"pay"}
    total = sum(row["flow_errors"] for row in run.generator)
    assert total == served["/ok"] + served["/labels"]
    told = [row for row in timeline(tmp_path) if row["event"] == "load.flow_error"]
    assert len(told) == 2
    assert any("KeyError: 'no such key'" in row["traceback"] for row in told)
    assert f"asked {served['/ok']:,} requests of which nobody said" in " ".join(judged(run))


BESIDE = """
from locust import HttpUser, constant_throughput, task
from stormgate.load import GeoUser, get

class Arriving(GeoUser):
    rate_per_s = 20
    def flow(self, session):
        yield get("/ok", name="arriving")

class Pacing(HttpUser):
    wait_time = constant_throughput(20)
    @task
    def ask(self):
        self.client.get("/labels", name="pacing")
"""


@pytest.mark.parametrize("by_message", [False, True])
def test_both_kinds_of_users_in_one_file_are_recorded(tmp_path, by_message):
    port = free_port()
    options = ["--headless", "-u", "6", "-r", "6"]
    if by_message:
        options += ["--master", "--expect-workers", "1", "--master-bind-host", "127.0.0.1"]
        options += ["--master-bind-port", port]
    worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with server(tmp_path) as one, server(tmp_path) as two:
        people = (population("a", 0.5, one, headers={"X-From": "a"}), population("b", 0.5, two))
        env = plan_env(tmp_path, people, users=6, rate=60)
        with locust(tmp_path, *options, source=BESIDE, env=env) as (process, log):
            if by_message:
                with locust(elsewhere, *worker, "--evidence-by-message", source=BESIDE, env=env):
                    wait_for(process, log, lambda: ready(tmp_path))
                    time.sleep(1)
                    end(process, log)
            else:
                wait_for(process, log, lambda: ready(tmp_path))
                wait_for(process, log, lambda: counts(two).get("/labels", 0) > 20)
                end(process, log)
        served = {"a": counts(one), "b": counts(two)}
    run = Run(tmp_path / "run")
    assert problems(run.folder) == judged(run) == []
    counted = run.samples().groupby(["route", "population"], observed=True).size().to_dict()
    assert counted == {
        (route, name): served[name][path]
        for route, path in (("arriving", "/ok"), ("pacing", "/labels"))
        for name in ("a", "b")
    }
    models = {row["worker"]: row["model"] for row in run.generator}
    assert models == {"worker-0": "open", "worker-0-closed": "closed"}
