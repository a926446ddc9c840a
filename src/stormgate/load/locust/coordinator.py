"""What only the master (or a lone local runner) can say: the load is whole, a worker was lost, all
have ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent
from locust.rpc import Message
from locust.runners import MasterRunner

from stormgate.evidence.write import SURGE as SURGE_FILE
from stormgate.evidence.write import Timeline
from stormgate.load.locust.lost import why_lost
from stormgate.load.record.relay import ClockMeter, answer_pings
from stormgate.load.schedule.surge import Factors, Orders
from stormgate.model import Event

logger = logging.getLogger(__name__)

HELLO = "stormgate.hello"
STREAMS = "stormgate.streams"
FINISH = "stormgate.finish"
FINISHED = "stormgate.finished"
_POLL_S = 0.05
SURGE = "stormgate.surge"
BARRIER_S = 6.0
_POLL_S = 0.25


class Conductor:
    """Follows a run from the runner that starts it. Without a folder it only keeps the barrier at
    the end.
    """

    def __init__(self, environment: Any, folder: Path | None) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._timeline: Timeline | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._timeline = Timeline(folder)
        self._workers: dict[str, dict[str, Any]] = {}
        self._beats: dict[str, float] = {}
        self._lost: set[str] = set()
        self._ended: dict[str, Mapping[str, Any]] = {}
        self._streams: dict[str, int] = {}
        self._spawned: int | None = None
        self._ready_users = 0
        self._running = False
        self.surge: Factors = {}  # what stands of the orders for more load
        self._announce_orders()
        environment.events.test_start.add_listener(self._on_start)
        environment.events.spawning_complete.add_listener(self._on_spawned)
        environment.events.test_stop.add_listener(self._on_stop)

    def lead(self) -> None:
        """Also watch workers: for a master."""
        self._runner.register_message(HELLO, self._on_hello)
        self._runner.register_message(FINISHED, self._on_finished)
        self._runner.register_message(
            STREAMS, lambda msg, **_: self.streams(msg.node_id, msg.data["streams"])
        )
        answer_pings(self._runner)
        events = self._environment.events
        events.heartbeat_sent.add_listener(self._on_beat)
        events.test_stopping.add_listener(self._on_stopping)
        gevent.spawn(self._watch)

    def pass_on_surges(self, folder: Path, to_local: Callable[[Factors], None]) -> None:
        """Follow the run folder's orders for more load and hand them to the workers, or to the one
        that is this process.
        """

        def tell(factors: Factors) -> None:
            self.surge = factors
            if isinstance(self._runner, MasterRunner):
                self._runner.send_message(SURGE, dict(factors))
            else:
                to_local(factors)

        gevent.spawn(_follow, Orders(folder / SURGE_FILE), tell)

    def write(self, event: Event, **fields: Any) -> None:
        if self._timeline is not None:
            self._timeline.write(event, **fields)

    def _on_start(self, **_: Any) -> None:
        self._running = True
        self._ended = {}
        self._streams = {}
        self._spawned = None
        self._ready_users = 0

    def _announce_orders(self) -> None:
        """Each order for so many users is in the timeline before it is carried out; a shape gives
        many.
        """
        start = self._runner.start

        def ordered(user_count: int, spawn_rate: float, *args: Any, **kwargs: Any) -> Any:
            self.write(Event.LOAD_STEP, users=user_count, spawn_rate=spawn_rate)
            return start(user_count, spawn_rate, *args, **kwargs)

        self._runner.start = ordered

    def _on_spawned(self, user_count: int, **_: Any) -> None:
        self._spawned = user_count
        self._tell_ready()

    def streams(self, client: str, count: int) -> None:
        """A worker says how many streams have begun (logged in)."""
        self._streams[client] = count
        self._tell_ready()

    def _tell_ready(self) -> None:
        """The load is ready when Locust has made all its users and those that are streams have
        begun. Users of their own pace begin when they are made.
        """
        users, begun = self._spawned, sum(self._streams.values())
        wanted = sum(
            self._runner.target_user_classes_count.get(cls.__name__, 0)
            for cls in self._environment.user_classes
            if getattr(cls, "is_stream", False)
        )
        if self._running and users is not None and users != self._ready_users and begun == wanted:
            self._ready_users = users
            workers = len(self._streams) or max(1, len(self._workers) - len(self._lost))
            self.write(Event.LOAD_READY, users=users, workers=workers)

    def _on_stop(self, **_: Any) -> None:
        if self._running:
            self._running = False
            self.write(Event.LOAD_END)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        self._workers[msg.node_id] = msg.data
        self._beats[msg.node_id] = time.monotonic()
        if self.surge:
            self._runner.send_message(SURGE, dict(self.surge), msg.node_id)

    def _on_beat(self, client_id: str, **_: Any) -> None:
        self._beats[client_id] = time.monotonic()

    def _on_finished(self, msg: Any, **_: Any) -> None:
        self._ended[msg.node_id] = msg.data

    def _watch(self) -> None:
        host = os.uname().nodename
        while True:
            gevent.sleep(_POLL_S)
            now = time.monotonic()
            for client, worker in self._workers.items():
                if self._running and client not in self._lost and client not in self._ended:
                    why = why_lost(worker, now, self._beats.get(client, now), host=host)
                    if why is not None:
                        self._lose(client, why)

    def _lose(self, client: str, why: str) -> None:
        self._lost.add(client)
        for name in self._workers[client]["names"]:
            logger.error("load worker %s is lost: %s", name, why)
            self.write(Event.LOAD_LOST, worker=name, why=why)

    def _on_stopping(self, **_: Any) -> None:
        """Wait for each worker's word: Locust's own quit waits half a second for final reports,
        however long they take.
        """
        waited_for = [client for client in self._workers if client not in self._lost]
        for client in waited_for:
            with contextlib.suppress(
                Exception
            ):  # a worker that cannot be reached is found missing below
                self._runner.send_message(FINISH, None, client)
        barrier_s = BARRIER_S + (self._environment.stop_timeout or 0.0)
        deadline = time.monotonic() + barrier_s
        while time.monotonic() < deadline and any(
            c not in self._ended and c not in self._lost for c in waited_for
        ):
            gevent.sleep(0.02)
        for client in waited_for:
            if client not in self._ended and client not in self._lost:
                self._lose(client, f"no final report within {barrier_s:g} s")


class Follower:
    """A worker's side of the same talk."""

    def __init__(
        self, environment: Any, finish: Callable[[], None], surge: Callable[[Factors], None]
    ) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._finish = finish
        self._runner.register_message(SURGE, lambda msg, **_: surge(msg.data))
        self._runner.register_message(FINISH, self._on_finish, concurrent=True)
        self.names: Counter[str] = Counter()  # how often each has written
        self.by_message = False
        self.meter = ClockMeter(self._runner)
        gevent.spawn(self.meter.begin)

    def hello(self, names: list[str]) -> None:
        """Tell the master who this is; call when the names of what it writes are known."""
        self._runner.send_message(
            HELLO, {"names": names, "pid": os.getpid(), "host": os.uname().nodename}
        )

    def streams(self, count: int) -> None:
        self._runner.send_message(STREAMS, {"streams": count})

    def _on_finish(self, **_: Any) -> None:
        users = {"user_classes_count": self._runner.user_classes_count}
        users["user_count"] = self._runner.user_count
        self._finish()
        # before FINISHED, so that the master's statistics are whole when the barrier opens. Users
        # of their own pace have ended by now; Locust's reports name those there were.
        data: dict[str, Any] = {}
        self._environment.events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.client.send(Message("stats", data | users, self._runner.client_id))
        self._runner.send_message(FINISHED, {})


def _follow(orders: Orders, tell: Callable[[Factors], None]) -> None:
    """Tell what stands of the orders for more load whenever that changes, for ever."""
    told: Factors = {}
    while True:
        gevent.sleep(_POLL_S)
        factors = orders.standing(time.monotonic_ns())
        if factors != told:
            told = factors
            tell(factors)
