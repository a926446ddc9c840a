"""The engine: one per worker, driven from gevent's hub by two watchers.

All sockets sit in an epoll of our own; its descriptor is readable when anything was answered, the
timer's when something is due. A wake-up handles what answered and starts what is due. At high rates
only the timer wakes: the kernel stamps what it receives, so answers can wait for the next tick.
There is no greenlet and no Locust event per request.
"""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stormgate.load.engine.attempt import FlowTask, nothing
from stormgate.load.engine.attempts import Exchange
from stormgate.load.engine.backpressure import STARTS_PER_TICK, Backpressure
from stormgate.load.engine.clock import clock
from stormgate.load.engine.flows import Flows, OnFlowError
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.stream import Stream
from stormgate.load.engine.timer import Timer
from stormgate.load.flow import Reply
from stormgate.load.http.connection import READY
from stormgate.load.record.recorder import Recorder
from stormgate.load.schedule.arrivals import Arrivals
from stormgate.load.schedule.queue import NEVER, WINDOW_NS, Agenda
from stormgate.load.schedule.surge import EVERYONE, Factors
from stormgate.model import Outcome

# Arrivals closer together than this are started by one wake-up. A wake-up costs as much as several
# requests, so this is what a high rate costs least with while the send lag stays under a
# millisecond.
_BATCH_NS = 700_000
_SLICE_NS = 4_000_000  # the hub's other greenlets run at least this often
_SWEEP_NS = 10_000_000
_TICKING_PER_S = 2_000
_READ = select.POLLIN
_EVENTS = 256
_LAST_STARTS_NS = 500_000_000
_DEAD_NS = 1_500_000_000  # a living engine wakes once a second at least


class Engine(Exchange):
    """Merges streams into one open-loop plan and carries it out.

    `max_late_ns`: an arrival that could not be started this long after its time is recorded as
    `not_sent`. `on_flow_error` is called with a flow's name and traceback the first time that flow
    raises at that place, `on_engine_error` with the traceback of what escaped everything: the
    engine's own failure, which it outlives. `hub` is gevent's; the engine runs whenever it does.
    """

    def __init__(
        self,
        recorder: Recorder,
        places: Iterable[Pools],
        *,
        hub: Any,
        max_connections: int = 10_000,
        max_late_ns: int = 1_000_000_000,
        observe: Mapping[str, str] | None = None,
        on_flow_error: OnFlowError | None = None,
        on_engine_error: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            recorder,
            places,
            max_connections=max_connections,
            observe=observe or {},
            on_flow_error=on_flow_error,
            on_engine_error=on_engine_error,
        )
        self.flows = Flows(
            self.sandbox,
            prepare=self.prepare,
            submit=self.submit,
            wake_later=self._wake_later,
            on_login=self._on_login,
        )
        self._hub = hub
        self.arrivals = Arrivals()
        self.pressure = Backpressure()
        self._max_late_ns = max_late_ns
        self.locked_out: set[Stream] = set()
        self.left_out = 0  # streams that went without ever having logged in
        self.agenda = Agenda(self.arrivals)
        self._surge: dict[str, float] = {}
        self._waking: list[tuple[int, int, FlowTask]] = []
        self._order = itertools.count()
        self._sweep_ns = 0
        self._expected_ns = 0
        self._beat_ns = clock()
        self.timer = Timer()
        self._ticking = False
        self._answers = hub.loop.io(self.epoll.fileno(), 1)
        self._answers.start(self._wake)
        self._ticks = hub.loop.io(self.timer.fd, 1)
        self._ticks.start(self._on_timer)

    # --- streams

    def add_stream(self, stream: Stream) -> None:
        """Begin a stream: its login first, if it has one, somewhere within its first gap; then its
        arrivals.
        """
        now = clock()
        if stream.login is None:
            self._begin_arrivals(stream, now)
            return
        delay = stream.session.random.random() * min(1.0, 1 / stream.rate_per_s)
        self._log_in_at(now + int(delay * 1e9), stream)
        self._arm(now)

    def _log_in_at(self, at_ns: int, stream: Stream) -> None:
        task = FlowTask(nothing(), stream, at_ns)  # the login itself is made when its time comes
        task.is_login = True
        task.number = 0
        self._wake_later(at_ns, task)

    def _on_login(self, stream: Stream, succeeded: bool) -> None:
        stream.logged_in = succeeded
        if succeeded:
            self.locked_out.discard(stream)
            self._begin_arrivals(stream, clock())
        elif stream.alive and not self.stopping:
            self.locked_out.add(stream)
            if stream.login_retry_s is not None:
                self._log_in_at(clock() + int(stream.login_retry_s * 1e9), stream)

    def _begin_arrivals(self, stream: Stream, now: int) -> None:
        if not stream.alive or self.stopping:
            return
        self.arrivals.add(
            stream,
            stream.key,
            stream.rate_per_s,
            poisson=stream.poisson,
            begin_ns=now,
            factor=self._surge_of(stream),
        )
        self.agenda.begin(now)
        self.agenda.join(stream)
        self._arm(now)

    def remove_stream(self, stream: Stream) -> None:
        """End a stream's arrivals now; its flows in progress run out."""
        stream.alive = False
        self.left_out += stream in self.locked_out
        self.locked_out.discard(stream)
        self.arrivals.remove(stream)

    def surge(self, factors: Factors) -> None:
        """From the next window on, within 0.1 s, populations arrive so many times as often; "" is
        everyone.
        """
        self._surge = dict(factors)
        self.arrivals.rescale(self._surge_of)

    def _surge_of(self, stream: Stream) -> float:
        surge = self._surge
        return surge.get(EVERYONE, 1.0) * surge.get(stream.place.name, 1.0) if surge else 1.0

    # --- the wake-up

    def _on_timer(self) -> None:
        self.timer.acknowledge()
        self._wake()

    def _wake(self) -> None:
        """One wake-up. Nothing escapes it: gevent would stop the watcher, and all load with it."""
        try:
            self._work()
        except BaseException as error:
            self.sandbox.slipped(error)
            self._arm(clock())
        if self.sandbox.interrupt is not None:
            interrupt, self.sandbox.interrupt = self.sandbox.interrupt, None
            self._hub.handle_error(None, KeyboardInterrupt, interrupt, interrupt.__traceback__)

    def is_dead(self, now: int) -> bool:
        """Whether the engine has not woken for longer than a living one sleeps."""
        return now - self._beat_ns > _DEAD_NS

    def _work(self) -> None:
        begin = clock()
        if self._expected_ns and begin > self._expected_ns:
            self.counters.loop_lag_ns = max(self.counters.loop_lag_ns, begin - self._expected_ns)
        connections = self.connections
        poll = self.epoll.poll
        on_readable = self.on_readable
        while True:
            self.tick += 1
            self.clock.set()
            events = poll(0, _EVENTS)
            for fd, event in events:
                connection = connections.get(fd)
                if connection is None:
                    continue  # closed earlier in this batch
                try:
                    if event == _READ and connection.state == READY:
                        on_readable(connection)
                    else:
                        self.on_event(connection, event)
                except BaseException as error:
                    self.sandbox.slipped(error)
                    self.abandon(connection)
            started = self._start_due(now := clock())
            if now >= self._sweep_ns and len(events) < _EVENTS:
                # not while answers are unread: what came in time is not late because we are
                self._sweep(now)
            while self.deferred:
                task, outcome = self.deferred.popleft()
                self.ended_without_reply(task, outcome)
            if (len(events) < 64 and started < STARTS_PER_TICK) or now - begin > _SLICE_NS:
                break
        self._beat_ns = now = clock()
        self.pressure.worked(begin, now)
        self._arm(now)

    def _arm(self, now: int) -> None:
        """Set the timer to what is next, at least a batch away. At high rates it just ticks, which
        saves a call each time.
        """
        if self.arrivals.rate_per_s > _TICKING_PER_S:
            self._expected_ns = now + _BATCH_NS
            if not self._ticking:
                self._ticking = True
                self._answers.stop()
                self.timer.tick(_BATCH_NS)
            return
        if self._ticking:
            self._ticking = False
            self._answers.start(self._wake)
        at_ns = self.agenda.next_ns
        if self._waking:
            at_ns = min(at_ns, self._waking[0][0])
        if self.in_flight:
            at_ns = min(at_ns, self._sweep_ns)
        self._expected_ns = at_ns = max(min(at_ns, now + 1_000_000_000), now + _BATCH_NS)
        self.timer.set(at_ns)

    def _start_due(self, now: int) -> int:
        """Start what is due, no more than a few before the answers are looked at again; returns how
        much was started.
        """
        started = 0
        # No more than a few: flows that only pause, for no time at all, would never let go.
        while self._waking and self._waking[0][0] <= now and started < STARTS_PER_TICK:
            at_ns, _, task = heapq.heappop(self._waking)
            if task.is_login and task.number == 0:
                task.number = -1
                if task.stream.alive:
                    self.flows.begin_login(task, at_ns)
            else:
                self.flows.resume(task, None, at_ns)
            started += 1
        agenda = self.agenda
        first_ns = agenda.times[agenda.next]
        if first_ns == NEVER and agenda.more(now):
            first_ns = agenda.times[agenda.next]
        if now >= first_ns:
            allowance = (
                self.pressure.may_open(now)
                if self.pressure.judge(now - first_ns)
                else STARTS_PER_TICK
            )
            if now - first_ns > self._max_late_ns:
                # A whole window at once: dropping must cost next to nothing just when there is no
                # time.
                self._drop(now - self._max_late_ns + WINDOW_NS, now)
            started += self._start_arrivals(now, allowance)
        return started

    def _start_arrivals(self, now: int, allowance: int) -> int:
        agenda = self.agenda
        self.open_allowance = allowance
        saturated = self.pressure.saturated
        count = 0
        while count < STARTS_PER_TICK:
            # A flow may add or remove streams, so the agenda is looked at anew each time.
            index = agenda.next
            at_ns = agenda.times[index]
            if at_ns > now:
                if at_ns == NEVER and agenda.more(now):
                    continue
                break
            stream = agenda.due[index]
            if saturated and self.open_allowance <= 0 and not stream.place.current.idle:
                break
            agenda.next = index + 1
            count += 1
            if stream.alive:
                self.flows.begin(stream, at_ns)
        if not saturated:
            self.open_allowance = self.max_connections
        return count

    def _drop(self, before_ns: int, now: int) -> None:
        """Record arrivals that are too late to start as not sent."""
        times, series = self.agenda.drop(before_ns, self._unsent_series)
        if not len(times):
            return
        self.recorder.add_unsent(times, series, self._next_request + 1, now)
        self._next_request += len(times)
        self.counters.completed += len(times)
        self.counters.not_sent += len(times)

    def _unsent_series(self, stream: Stream) -> int:
        return self.recorder.series_code(stream.place.name, stream.name, "GET", "read")

    # --- flows

    def after(self, task: FlowTask, reply: Reply) -> None:
        """A request ended: its flow goes on."""
        self.flows.resume(task, reply, reply.done_ns)

    def give_up(self, task: FlowTask, error: Exception) -> None:
        self.flows.give_up(task, error)

    def _wake_later(self, at_ns: int, task: FlowTask) -> None:
        heapq.heappush(self._waking, (at_ns, next(self._order), task))

    # --- deadlines and the end

    def totals(self) -> dict[str, int]:
        """Cumulative counts for generator truth."""
        return self.counters.totals(self.planned)

    def _sweep(self, now: int) -> None:
        self._sweep_ns = now + max(_SWEEP_NS, 20_000 * len(self.connections))
        if not self.in_flight:
            return
        self.sweep(now)
        for place in self.places:
            for pool in place.pools.values():
                waiting = pool.waiting
                while waiting and now - waiting[0].started_ns > waiting[0].timeout_ns:
                    self.unserved(waiting.popleft(), pool)

    def stop_arrivals(self) -> None:
        """No new arrivals and no further steps of flows; what is late is recorded as not sent, what
        is in flight runs out.
        """
        now = clock()
        # Locust takes a while to say that it stops; what came due meanwhile is still sent.
        try:
            while (
                not self.is_dead(now)
                and self._start_due(now)
                and not self.pressure.saturated
                and clock() - now < _LAST_STARTS_NS  # flows that only pause would never let go
            ):
                pass
        except BaseException as error:
            self.sandbox.slipped(error)
        self.stopping = self.flows.stopping = True
        while self.agenda.times[self.agenda.next] <= now:
            self._drop(now, now)
        self.agenda.clear()
        for _, _, task in self._waking:
            self.flows.close(task)
        self._waking.clear()
        for stream in list(self.arrivals.streams):
            self.remove_stream(stream)
        for place in self.places:
            for pool in place.pools.values():
                while pool.waiting:
                    self.ended_without_reply(pool.waiting.popleft(), Outcome.NOT_SENT)

    def end_in_flight(self) -> None:
        """Record what is still in flight as the time-out it would become; close everything."""
        taken: set[int] = set()
        try:
            taken = self.last_look()
        except BaseException as error:
            self.sandbox.slipped(error)
        self.end_all(taken)

    def close(self) -> None:
        """Let go of the hub, the timer and all sockets."""
        for watcher in (self._answers, self._ticks):
            watcher.stop()
            watcher.close()
        self.close_all()
        self.timer.close()
        self.epoll.close()
