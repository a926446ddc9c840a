"""One Locust worker's engine with everything around it: streams in, evidence and statistics out."""

from __future__ import annotations

import gc
import logging
import math
import ssl
import time
from collections.abc import Callable
from typing import Any

import gevent
from locust.stats import RequestStats

from stormgate.load.engine import build, steering
from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.elsewhere import Beyond
from stormgate.load.engine.pool import Pool
from stormgate.load.engine.stream import Session, Stream, pick_flow
from stormgate.load.engine.transport.seam import LoadTransport
from stormgate.load.engine.watchdog import Watchdog
from stormgate.load.http.addresses import Addresses
from stormgate.load.http.tls import client_context
from stormgate.load.locust.deal import Seats, SharedDealer
from stormgate.load.locust.settings import Settings, SettingsError
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.operations import OperationLog
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import Recorder
from stormgate.load.record.sink import Sink
from stormgate.load.record.writer import Clock, Writer
from stormgate.load.schedule.shares import Dealer, stream_key
from stormgate.load.schedule.surge import Factors
from stormgate.model import Event
from stormgate.net.allow import NotAllowedError
from stormgate.system.engine import chosen_engine
from stormgate.system.limits import open_files, too_few_open_files

logger = logging.getLogger(__name__)

BLOCK_S = 0.25
BLOCK_ROWS = 2_500
_MIN_BLOCK_S = 0.02
ROW_S = 1.0
GRACE_S = 2.0
FLOW_ERROR = "load.flow_error"
_SPARE_DESCRIPTORS = 200
_FEWEST_CONNECTIONS = 56  # with what is spare, 256 files: below that something else is wrong


def connection_limit(open_files: int) -> int:
    """How many connections a process may hold that may open so many files. Raises SettingsError,
    with how to raise the limit, when that is none.
    """
    needed = _SPARE_DESCRIPTORS + _FEWEST_CONNECTIONS
    if trouble := too_few_open_files(open_files, needed, "a load worker"):
        raise SettingsError(trouble)
    return min(open_files - _SPARE_DESCRIPTORS, 20_000)


class Worker:
    """Streams of one process. `index` of `count` workers decides which positions of the deal are
    its own.
    """

    def __init__(  # noqa: PLR0913 - what a process is given once
        self,
        settings: Settings,
        sink: Sink,
        stats: RequestStats,
        *,
        name: str,
        index: int,
        count: int,
        clock: Clock,
        on_streams: Callable[[int], None],
        seats: Seats | None = None,
    ) -> None:
        """`on_streams` is told how many streams have begun whenever that changed. `seats`: a master
        says which streams are this worker's; without one the deal is its own.

        Raises SettingsError, EngineError, NotAllowedError or OSError (a host that does not resolve)
        before anything is sent.
        """
        connections = connection_limit(open_files())
        self.name = name
        self._settings = settings
        self._index, self._count = index, max(count, index + 1)
        self._scale = settings.scale
        self._dealers: dict[tuple[str, str | None], Dealer | SharedDealer] = {}
        self._seats = seats
        self._finished = False
        self.surging: Factors = {}
        self._on_streams = on_streams
        # Told the flow and the traceback of each place where one raises.
        self.on_flow_error: Callable[[str, str], None] = lambda _flow, _text: None
        # Told where users' code had held up everything, after which this worker is of no use.
        self.on_hung: Callable[[str], None] = lambda _why: None
        self._streams = 0
        self._is_lost = False
        self.places = settings.places()
        self._allow = settings.allow_list()
        self._context: ssl.SSLContext | None = None
        self._resolve_all()
        self.recorder = Recorder(name, tuple(settings.observe))
        for population in settings.populations:
            self.recorder.know(population.name, population.labels)
        self.log = OperationLog(self.recorder)
        self._writer = Writer(self.recorder, sink, stats, model="open", clock=clock, log=self.log)
        self.engine = build.open_loop(
            self.recorder,
            hub=gevent.get_hub(),
            reasons=Reasons(self._on_reason),
            failures=FirstFailures(self._on_failure),
            elsewhere=self._elsewhere,
            max_connections=connections,
            observe=settings.observe,
            engine=chosen_engine(settings.engine),
            on_flow_error=self._on_flow_error,
            on_engine_error=self._on_engine_error,
        )
        # What is alive now stays alive: keeping it out of collections keeps their pauses out of the
        # send lag.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self._watchdog = Watchdog(lambda: self.engine.beat_ns)
        self._greenlets = [gevent.spawn(self._housekeeping), *self._steering()]

    # --- streams

    def join(self, user: Any) -> Stream:
        """A Locust user becomes a stream. Raises SettingsError for a population, rate or arrival
        that does not exist.
        """
        cls = type(user)
        pinned = cls.population
        dealer = self._dealers.get((cls.__name__, pinned))
        if dealer is None:
            if pinned is not None and pinned not in self.places:
                raise SettingsError(
                    f"{cls.__name__}.population {pinned!r} is not one of "
                    f"{', '.join(sorted(self.places))}"
                )
            shares = {pinned: 1.0} if pinned is not None else self._settings.shares
            if self._seats is not None:
                dealer = SharedDealer(shares, cls.__name__, self._seats)
            else:
                dealer = Dealer(shares, index=self._index, count=self._count)
            self._dealers[cls.__name__, pinned] = dealer
        if cls.arrival not in ("poisson", "constant"):
            raise SettingsError(
                f"{cls.__name__}.arrival is {cls.arrival!r}: it must be 'poisson' or 'constant'"
            )
        position, name = dealer.take()
        place = self.places[name]
        key = stream_key(self._settings.seed, cls.__name__, position)
        if not cls.tasks:
            raise SettingsError(
                f"{cls.__name__} has no flow(self, session), or --tags left none of its tasks"
            )
        session = Session(place.model, position, key, cookies=cls.cookies)
        session.notes_into(self.log, name, place.model.labels)
        stream = Stream(
            cls.__name__,
            place,
            session,
            key=key,
            rate_per_s=float(cls.rate_per_s or 1.0) * self._scale,
            poisson=cls.arrival == "poisson",
            begin=pick_flow(cls.tasks, user, key),
            login=user.login if cls.has_login() else None,
            login_retry_s=cls.login_retry_s,
        )
        user.stormgate_place = (dealer, position)
        self.engine.add_stream(stream)
        return stream

    def leave(self, user: Any, stream: Stream) -> None:
        self.engine.remove_stream(stream)
        dealer, position = user.stormgate_place
        if not self._finished:  # at the end all of them go
            dealer.give_back(position)

    def surge(self, factors: Factors) -> None:
        """What stands of the orders for more load (stormgate.load.schedule.surge)."""
        self.surging = factors
        self.engine.surge(factors)
        self._writer.event(Event.LOAD_STEP, surge=dict(factors))

    # --- evidence

    def _housekeeping(self) -> None:
        row_due, pause_s = time.monotonic() + ROW_S, BLOCK_S
        while True:
            begin = time.monotonic()
            gevent.sleep(pause_s)
            rows = self._writer.flush()
            now = time.monotonic()
            # Nothing is sent while a block is made: at high rates they come more often rather than
            # larger.
            pause_s = min(BLOCK_S, max(_MIN_BLOCK_S, BLOCK_ROWS * (now - begin) / max(rows, 1)))
            self._tell_streams()
            self._watch_engine()
            if now >= row_due:
                row_due += ROW_S * max(1, math.ceil((now - row_due) / ROW_S))
                self._writer.report(
                    self.engine.totals(), self.engine.counters.take_lags(), self._gauges()
                )

    def _tell_streams(self) -> None:
        # One that could not log in has had its turn: nobody need wait for it any longer.
        streams = len(self.engine.arrivals.streams) + len(self.engine.locked_out)
        if streams != self._streams:
            self._streams = streams
            self._on_streams(streams)

    def _watch_engine(self) -> None:
        """Say it when the engine has stopped although this process runs: its load is lost."""
        why = self._watchdog.why
        if why is not None and not self._is_lost:
            self._is_lost = True
            logger.critical("the load of %s has ended: %s", self.name, why)
            self._writer.event(Event.LOAD_LOST, why=why)
            self.on_hung(why)
        if self._is_lost or not self.engine.is_dead(time.monotonic_ns()):
            return
        gevent.sleep(0.1)  # this process may have been held up as a whole: then the engine goes on
        if self.engine.is_dead(time.monotonic_ns()):
            self._is_lost = True
            logger.critical("the engine of %s has stopped", self.name)
            self._writer.event(Event.LOAD_LOST, why="its engine has stopped")

    def _gauges(self) -> dict[str, int]:
        engine = self.engine
        return {
            "open_connections": engine.transport.open_connections,
            "in_flight": engine.in_flight,
            "waiting": engine.transport.waiting(),
            "streams": len(engine.arrivals.streams),
            "locked_out": len(engine.locked_out) + engine.left_out,
        }

    def _on_flow_error(self, flow: str, text: str, over_failure: bool) -> None:
        logger.error("flow of %s raised (reported once per place):\n%s", flow, text)
        self._writer.event(FLOW_ERROR, flow=flow, traceback=text, over_failure=over_failure)
        self.on_flow_error(flow, text)

    def _on_failure(self, fields: dict[str, Any]) -> None:
        self._writer.event(Event.LOAD_FAILURE, **fields)

    def _on_reason(self, kind: str, place: str, why: str) -> None:
        logger.warning("%s at %s (said once per place): %s", kind, place, why)
        self._writer.event(Event.LOAD_REASON, kind=kind, place=place, why=why)

    def _on_engine_error(self, text: str) -> None:
        logger.critical("the engine failed (reported once per place):\n%s", text)
        self._writer.event(Event.LOAD_ENGINE_ERROR, traceback=text)

    # --- where requests go

    def _hosts(self) -> list[str]:
        return [pool.origin.host for place in self.places.values() for pool in place.pools.values()]

    def _elsewhere(self, transport: LoadTransport[FlowTask], reasons: Reasons) -> Beyond:
        urls = None if self._settings.allow is not None else self._hosts()
        return Beyond(transport.resolved, reasons, self._allow, urls, self._tls_context)

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = client_context()
        return self._context

    def _resolve_all(self) -> None:
        for place in self.places.values():
            for pool in place.pools.values():
                try:
                    steering.resolve(pool, self._allow)
                except OSError as error:
                    # Not the end: its requests are recorded as `dns`, as a user would see it.
                    logger.warning("%s does not resolve: %s", pool.origin.host, error)
                if pool.origin.scheme == "https":
                    pool.tls = self._tls_context()

    def _steering(self) -> list[gevent.Greenlet]:
        mode, url, interval_s = (
            self._settings.steering.mode,
            self._settings.steering.url,
            self._settings.steering.interval_ms / 1e3,
        )
        if mode == "table":
            if not url:
                raise SettingsError("steering by table needs the table's url")
            return [
                gevent.spawn(
                    steering.follow_table,
                    url,
                    interval_s,
                    self.places,
                    self._allow,
                    self._on_steered,
                    self._on_steering_error,
                )
            ]
        if mode == "dns":
            return [gevent.spawn(self._follow_dns, interval_s)]
        return []

    def _on_steered(self, version: Any, moved: dict[str, str], left: list[Pool]) -> None:
        for pool in left:
            self.engine.drop_idle(pool)
        self._writer.event(Event.LOAD_STEP, steering=moved, version=version)

    def _on_steering_error(self, why: str) -> None:
        self._writer.event(Event.LOAD_STEP, steering_error=why)

    def _follow_dns(self, interval_s: float) -> None:
        while True:
            gevent.sleep(interval_s)
            for place in self.places.values():
                for pool in list(place.pools.values()):
                    try:
                        changed = steering.resolve(pool, self._allow)
                    except NotAllowedError as error:
                        pool.addresses = Addresses()
                        self._on_steering_error(str(error))
                    except OSError:
                        continue
                    else:
                        if changed:
                            self._on_steered(
                                None, {place.name: f"{pool.edge} {pool.addresses}"}, [pool]
                            )

    # --- the end

    def finish(self, grace_s: float = GRACE_S) -> None:
        """End the load: no new arrivals, what is in flight has `grace_s`, then the last block and
        the final row. Idempotent.
        """
        if self._finished:
            return
        self._finished = True
        self._watchdog.close()
        self.engine.stop_arrivals()
        deadline = time.monotonic() + grace_s
        while self.engine.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.01)
        gevent.killall(self._greenlets)
        self.engine.end_in_flight()
        self._writer.end(self.engine.totals(), self.engine.counters.take_lags(), self._gauges())
        self.engine.close()
        gc.unfreeze()
