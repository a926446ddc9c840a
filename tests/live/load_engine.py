"""The engine in this process's gevent hub, against a real server, without Locust."""

import contextlib
import json
import sys
import time
import urllib.request
from pathlib import Path

import gevent

from stormgate.load.engine.build import open_loop
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.steering import resolve
from stormgate.load.engine.stream import Session, Stream
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import Recorder
from stormgate.load.schedule.shares import stream_key
from stormgate.model import Population
from stormgate.net.allow import AllowList
from stormgate.system.engine import chosen_engine, has_core
from stormgate.system.processes import spawn

ENGINES = ("python", "core") if has_core() else ("python",)

SERVER = Path(__file__).with_name("load_server.py")


@contextlib.contextmanager
def server(tmp_path, *arguments):
    """The base URL of a running `load_server.py`."""
    log = tmp_path / f"server-{time.monotonic_ns()}.log"
    process = spawn([sys.executable, SERVER, *map(str, arguments)], log_path=log)
    try:
        deadline = time.monotonic() + 30
        while not (log.exists() and log.read_text().strip().isdigit()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{log.read_text().strip()}"
    finally:
        process.kill()
        process.wait()


def counts(url):
    with urllib.request.urlopen(url + "/count", timeout=10) as reply:
        return json.load(reply)


class Bench:
    """An engine for one population whose edges are `urls`."""

    def __init__(self, *urls, observe=None, context=None, proxy_source=None, **options):
        links = {f"edge-{number}": url for number, url in enumerate(urls)}
        self.population = Population(
            name="london",
            share=1,
            latitude=0,
            longitude=0,
            edges=tuple(links),
            links=links,
            proxy_source=proxy_source,
        )
        self.place = Pools(self.population, 0, links)
        for pool in self.place.pools.values():
            resolve(pool, AllowList(None))
            pool.tls = context if pool.origin.scheme == "https" else None
        self.recorder = Recorder("w", tuple(observe or ()))
        self.errors = []
        self.reasons, self.failures = Reasons(), FirstFailures()
        self.engine = open_loop(
            self.recorder,
            reasons=self.reasons,
            failures=self.failures,
            hub=gevent.get_hub(),
            observe=observe,
            on_flow_error=lambda *e: self.errors.append(e),
            **{"engine": chosen_engine(), **options},
        )
        self.streams = 0

    def stream(self, flow, *, rate=1000.0, poisson=True, login=None):
        self.streams += 1
        key = stream_key(3, "test", self.streams)
        session = Session(self.population, self.streams, key)
        stream = Stream(
            "test",
            self.place,
            session,
            key=key,
            rate_per_s=rate,
            poisson=poisson,
            begin=flow,
            login=login,
        )
        self.engine.add_stream(stream)
        return stream

    def play(self, flow, within=10.0):
        """Run one flow once, to its end; its rows and the return value of the flow."""
        state = {}

        def once(session):
            if "begun" in state:
                return
            state["begun"] = True
            try:
                state["value"] = yield from flow(session)
            finally:
                state["ended"] = True

        stream = self.stream(once)
        self.wait(lambda: "ended" in state, within)
        self.engine.remove_stream(stream)
        return self.rows(), state.get("value")

    def wait(self, condition, within=10.0):
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            gevent.sleep(0.005)

    def rows(self):
        return self.recorder.batch(self.recorder.take()).to_pylist()

    def finish(self, grace_s=2.0):
        """As a worker ends: no new arrivals, a grace, the rest recorded. All rows not yet taken."""
        self.engine.stop_arrivals()
        deadline = time.monotonic() + grace_s
        while self.engine.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.01)
        self.engine.end_in_flight()
        return self.rows()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.close()
