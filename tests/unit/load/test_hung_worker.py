"""A worker whose flow never lets go says so in the evidence and ends its Locust."""

import atexit
import functools
import gc
import logging
import os
import time

import gevent
import pytest

# Locust patches the interpreter for gevent on import, which this process's other tests must not
# notice; nor must the locust processes that they start be told not to.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from locust.env import Environment

from stormgate.load.locust import plugin
from stormgate.load.locust import worker as workers
from stormgate.load.locust.settings import settings_from_host
from stormgate.load.locust.user import GeoUser

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]

from stormgate.load.engine.watchdog import EXIT_CODE, Watchdog
from stormgate.load.record.sink import NoSink
from stormgate.load.record.writer import Clock


class Stuck(GeoUser):
    rate_per_s = 50

    def flow(self, session):
        while session is not None:
            pass
        yield


class KeptSink(NoSink):
    def __init__(self):
        self.events, self.rows = [], []

    def event(self, name, fields):
        self.events.append((name, fields))

    def generator(self, row):
        self.rows.append(row)


@pytest.fixture
def thresholds():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_is_lost_by_name_and_locust_ends(monkeypatch, caplog, thresholds):
    last_lines = []
    monkeypatch.setattr(atexit, "register", lambda _print, line, **_: last_lines.append(line))
    monkeypatch.setattr(workers, "Watchdog", functools.partial(Watchdog, hang_s=0.3))
    environment = Environment(user_classes=[Stuck], host="http://127.0.0.1:1")
    runner = environment.create_local_runner()
    sink = KeptSink()
    worker = workers.Worker(
        settings_from_host("http://127.0.0.1:1"),
        sink,
        environment.stats,
        name="worker-0",
        index=0,
        count=1,
        clock=Clock(),
        on_streams=lambda _count: None,
    )
    worker.on_hung = functools.partial(plugin._give_up, environment)
    with caplog.at_level(logging.CRITICAL):
        worker.join(Stuck(environment))
        deadline = time.monotonic() + 30
        while runner.state != "stopped" or environment.process_exit_code is None:
            assert time.monotonic() < deadline
            gevent.sleep(0.05)
    worker.finish()
    (lost,) = (fields for name, fields in sink.events if name == "load.lost")
    assert lost["worker"] == "worker-0"
    assert lost["why"].startswith(f"{__file__}:")
    assert "(flow) has held up its whole load worker" in lost["why"]
    (broke,) = (fields for name, fields in sink.events if name == "load.engine_error")
    assert "FlowHungError" in broke["traceback"]
    assert environment.process_exit_code == EXIT_CODE
    assert last_lines == [f"the load has ended: {lost['why']}"]
    assert lost["why"] in caplog.text
    assert sum(row["engine_errors"] for row in sink.rows) == 1  # any makes a run INCONCLUSIVE
    assert sink.rows[-1]["final"]
