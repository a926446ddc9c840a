"""GeoUsers under the real `locust` command: how they begin, what is refused, and the exit code."""

import time

import pytest
from tests.live.load_engine import counts, server
from tests.live.load_locust import (
    FILE,
    distributed,
    end,
    locust,
    problems,
    ready,
    timeline,
    wait_for,
)

from stormgate.evidence.read import Run
from stormgate.system.engine import has_core

pytestmark = [pytest.mark.live, pytest.mark.alone]

RAISES = """
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    rate_per_s = 10
    def flow(self, session):
        reply = yield get("/labels", name="home")
        yield get(f"/ok?token={reply.json()['token']}", name="item")
"""
LOGIN = """
from stormgate.load import GeoUser, get, post

class Reader(GeoUser):
    rate_per_s = 10
    def login(self, session):
        yield post("/503", name="log in", json={})
    def flow(self, session):
        yield get("/ok", name="home")
"""
DECLARED = """
from stormgate.load import GeoUser, choice, get, post, think

PAGE = choice("pages.csv", "page")

class Reader(GeoUser):
    rate_per_s = 10
    def login(self, session):
        yield get("/ok", name="log in")
        session.set_header("X-User", "u")
    steps = (
        get("/" + PAGE, name="open", expect=(200, 503), timeout_s=5),
        think(0, 0.02),
        post("/ok", name="write", json={"page": PAGE}, timeout_s=5),
    )
"""
OWN_CODE = (
    RAISES
    + """
from locust import events

@events.quitting.add_listener
def decide(environment, **_):
    environment.process_exit_code = 7
"""
)


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        (FILE, [], 0),
        (RAISES, [], 1),
        (LOGIN, [], 1),
        (RAISES, ["--exit-code-on-error", "0"], 0),
        (RAISES, ["--exit-code-on-error", "3"], 3),
        (OWN_CODE, [], 7),
        (RAISES, distributed(2), 1),
    ],
)
def test_locust_exits_as_it_does_for_its_own_failures(tmp_path, source, options, code):
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, "--headless", "-u", "4", *options, source=source) as (
            process,
            log,
        ),
    ):
        wait_for(process, log, lambda: ready(tmp_path))
        wait_for(process, log, lambda: sum(counts(url).values()) > 30)
        assert end(process, log) == code, log.read_text()
    run = Run(tmp_path / "run")
    raised = sum(row["flow_errors"] for row in run.generator)
    assert (raised > 0) == (source in (RAISES, OWN_CODE))


def test_streams_begin_at_once_unless_told_how_fast(tmp_path):
    begun = {}
    for name, options in (("at once", []), ("four a second", ["-r", "4"])):
        folder = tmp_path / name
        folder.mkdir()
        with (
            server(folder) as url,
            locust(folder, "-H", url, "--headless", "-u", "24", *options) as (process, log),
        ):
            wait_for(process, log, lambda folder=folder: ready(folder))
            end(process, log)
        rows = timeline(folder)
        at = {row["event"]: row["at_ns"] for row in rows}
        begun[name] = (at["load.ready"] - at["load.step"]) / 1e9
        assert next(row for row in rows if row["event"] == "load.ready")["users"] == 24
    # Six rounds of four, a second apart; one a second, as Locust does by itself, would be 23 s.
    assert begun["four a second"] > 4.5
    assert begun["at once"] < begun["four a second"]


def test_a_run_that_ends_while_users_are_made_leaves_no_half_begun_worker(tmp_path):
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, "--headless", "-u", "400", "-r", "40") as (process, log),
    ):
        wait_for(process, log, lambda: counts(url).get("/ok", 0) > 20)
        assert end(process, log) == 0, log.read_text()
        served = counts(url)
    run = Run(tmp_path / "run")
    assert not ready(tmp_path)
    assert [path.stem for path in run.sample_paths()] == ["worker-0"]
    assert len(run.samples()) == served["/ok"] + served["/labels"]
    assert problems(run.folder) == []


TASK_SET = """
from locust import TaskSet, task
from stormgate.load import GeoUser

class Browse(TaskSet):
    @task
    def look(self):
        self.client.get("/ok")

class Shopper(GeoUser):
    tasks = {Browse: 1}
"""


def test_a_task_set_sends_nothing_and_says_why(tmp_path):
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, "--headless", "-u", "1", source=TASK_SET) as (process, log),
    ):
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.returncode == 1
        assert counts(url) == {"/count": 1}  # this very question
    assert "Shopper: TaskSet Browse cannot run in a GeoUser" in log.read_text()
    assert not (tmp_path / "run").exists()


def asked_for(url):
    return {path: count for path, count in counts(url).items() if path != "/count"}


@pytest.mark.parametrize("engine", ["python", "core"])
def test_declared_steps_run_in_their_order_on_either_engine(tmp_path, engine):
    """Each is asked for as often as it has rows, and the last one no oftener than the first."""
    if engine == "core" and not has_core():
        pytest.skip("the compiled core is not built here")
    (tmp_path / "pages.csv").write_text("page\nlabels\n503\n")
    options = ["--headless", "-u", "4", "--seed", "7"]
    env = {"STORMGATE_ENGINE": engine}
    with (
        server(tmp_path) as url,
        locust(tmp_path, "-H", url, *options, source=DECLARED, env=env) as (process, log),
    ):
        wait_for(process, log, lambda: ready(tmp_path))
        wait_for(process, log, lambda: sum(counts(url).values()) > 60)
        assert end(process, log) == 0, log.read_text()
        rows = Run(tmp_path / "run").samples()
        rows = rows[rows["sent_ns"].notna()]
        deadline = time.monotonic() + 30
        while sum((asked := asked_for(url)).values()) < len(rows):
            assert time.monotonic() < deadline, (asked, len(rows))
            time.sleep(0.05)
    assert problems(tmp_path / "run") == []
    sent = rows["route"].value_counts().to_dict()
    assert asked == {
        "/labels": asked["/labels"],
        "/503": sent["open"] - asked["/labels"],
        "/ok": sent["write"] + sent["log in"],
    }
    assert asked["/labels"] > 0 < asked["/503"], "both rows of the file are drawn"
    assert 0 < sent["write"] <= sent["open"]
    assert set(rows[rows["status"] == 503]["outcome"]) == {"ok"}, "it is expected"
    assert sum(row["flow_errors"] for row in Run(tmp_path / "run").generator) == 0
