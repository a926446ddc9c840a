"""The engine: one per worker. It merges streams into one plan and carries it out, a turn at a time.

    flow (the users' words) -> attempts (retry, redirect, steering) -> transport (bytes, sockets)

Each holds the one after it, and none calls back: what ended is handed up as the value of a call.
The engine turns them: what ended, what is due by the schedule, deadlines. It is woken by an alarm;
at high rates only by its ticks: the kernel stamps what it receives, so answers can wait for the
next one.
"""

from __future__ import annotations

from stormgate.load.engine.alarm import Alarm
from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.attempts import Attempts
from stormgate.load.engine.backpressure import STARTS_PER_TICK, Backpressure
from stormgate.load.engine.clock import MonotonicNs
from stormgate.load.engine.flows import Flows
from stormgate.load.engine.pool import Pool
from stormgate.load.engine.sandbox import Sandbox
from stormgate.load.engine.stream import Stream
from stormgate.load.engine.transport.seam import EVENTS_PER_TURN, LoadTransport
from stormgate.load.engine.watchdog import FlowHungError
from stormgate.load.flow import Reply
from stormgate.load.schedule.arrivals import Arrivals
from stormgate.load.schedule.queue import NEVER, WINDOW_NS, Agenda
from stormgate.load.schedule.surge import EVERYONE, Factors

# Arrivals closer together than this are started by one wake-up. A wake-up costs as much as several
# requests, so this is what a high rate costs least with while the send lag stays under a
# millisecond.
_BATCH_NS = 700_000
_SLICE_NS = 4_000_000  # the hub's other greenlets run at least this often
_SWEEP_NS = 10_000_000
_SWEEP_PER_CONNECTION_NS = 20_000
_TICKING_PER_S = 2_000
_BUSY_EVENTS = 64
_LAST_STARTS_NS = 500_000_000
_DEAD_NS = 1_500_000_000  # a living engine wakes once a second at least


class Engine:
    """Merges streams into one open-loop plan and carries it out (`build.open_loop` puts one
    together).

    `max_late_ns`: an arrival that could not be started this long after its time is recorded as
    `not_sent`.
    """

    def __init__(
        self,
        flows: Flows,
        attempts: Attempts,
        transport: LoadTransport[FlowTask],
        alarm: Alarm,
        sandbox: Sandbox,
        *,
        clock: MonotonicNs,
        max_connections: int,
        max_late_ns: int,
    ) -> None:
        self.flows = flows
        self.attempts = attempts
        self.transport = transport
        self.sandbox = sandbox
        self.counters = attempts.counters
        self.arrivals = Arrivals()
        self.agenda: Agenda[Stream] = Agenda(self.arrivals)
        self.pressure = Backpressure()
        self.locked_out: set[Stream] = set()
        self.left_out = 0  # streams that went without ever having logged in
        self.stopping = False
        self._alarm = alarm
        self._clock = clock
        self._max_connections = max_connections
        self._max_late_ns = max_late_ns
        self._surge: dict[str, float] = {}
        self._sweep_ns = 0
        self._expected_ns = 0
        self._beat_ns = clock()
        alarm.start(self.wake)

    @property
    def planned(self) -> int:
        """Requests whose intended start has come."""
        return self.attempts.planned - self.transport.ahead()

    @property
    def in_flight(self) -> int:
        """Requests submitted and not ended."""
        return self.attempts.in_flight

    def totals(self) -> dict[str, int]:
        """Cumulative counts for generator truth."""
        return self.counters.totals(self.planned)

    def drop_idle(self, pool: Pool) -> None:
        """Close a pool's idle connections: its users go elsewhere now."""
        self.transport.drop_idle(pool)

    # --- streams

    def add_stream(self, stream: Stream) -> None:
        """Begin a stream: its login first, if it has one, somewhere within its first gap; then its
        arrivals.
        """
        now = self._clock()
        if stream.login is None:
            self._begin_arrivals(stream, now)
            return
        delay = stream.session.random.random() * min(1.0, 1 / stream.rate_per_s)
        self.flows.log_in_at(now + int(delay * 1e9), stream)
        self._arm(now)

    def _take_logins(self) -> None:
        """What comes after logins that have ended."""
        while self.flows.logins:
            stream, succeeded = self.flows.logins.popleft()
            stream.logged_in = succeeded
            if succeeded:
                self.locked_out.discard(stream)
                self._begin_arrivals(stream, self._clock())
            elif stream.alive and not self.stopping:
                self.locked_out.add(stream)
                if stream.login_retry_s is not None:
                    retry_ns = self._clock() + int(stream.login_retry_s * 1e9)
                    self.flows.log_in_at(retry_ns, stream)

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

    def wake(self) -> None:
        """One wake-up. Nothing escapes it: gevent would stop the watcher, and all load with it."""
        try:
            self._work()
        except FlowHungError as error:
            self._halt(error)
        except BaseException as error:
            self.sandbox.slipped(error)
            self._arm(self._clock())
        if self.sandbox.interrupt is not None:
            interrupt, self.sandbox.interrupt = self.sandbox.interrupt, None
            self._alarm.interrupted(interrupt)

    def _halt(self, error: FlowHungError) -> None:
        """Users' code has held up everything, and would again: none of it is called any more."""
        self.sandbox.is_hung = True
        self.sandbox.slipped(error)
        self.stopping = self.attempts.stopping = self.flows.stopping = True
        self.agenda.clear()
        self._beat_ns = self._clock()

    @property
    def beat_ns(self) -> int:
        """When it last had worked."""
        return self._beat_ns

    def is_dead(self, now: int) -> bool:
        """Whether the engine has not woken for longer than a living one sleeps."""
        return now - self._beat_ns > _DEAD_NS

    def _work(self) -> None:
        clock = self._clock
        begin = clock()
        if self._expected_ns and begin > self._expected_ns:
            self.counters.loop_lag_ns = max(self.counters.loop_lag_ns, begin - self._expected_ns)
        while True:
            events = self.transport.turn()
            self._carry_on()
            now = clock()
            started = self._start_due(now, self.transport.lead_ns)
            if now >= self._sweep_ns and events < EVENTS_PER_TURN:
                # not while answers are unread: what came in time is not late because we are
                self._sweep(now)
            if self.transport.ended:
                self._carry_on()
            busy = events >= _BUSY_EVENTS or started >= STARTS_PER_TICK
            if not busy or now - begin > _SLICE_NS:
                break
        self.transport.flush()
        self._beat_ns = now = clock()
        self.pressure.worked(begin, now)
        self._arm(now)

    def _carry_on(self) -> None:
        """Go on with the flows whose request has ended."""
        settled = self.attempts.settle()
        resume = self.flows.resume
        while settled:
            task, reply = settled.popleft()
            try:
                if isinstance(reply, Reply):
                    resume(task, reply, reply.done_ns)
                else:
                    self.flows.give_up(task, reply)
            except BaseException as error:
                self.sandbox.slipped(error)
        if self.flows.logins:
            self._take_logins()

    def _arm(self, now: int) -> None:
        """Set the alarm to what is next, at least a batch away. At high rates it just ticks, which
        saves a call each time.
        """
        transport = self.transport
        if self.arrivals.rate_per_s > _TICKING_PER_S and not transport.batches:
            self._expected_ns = now + _BATCH_NS
            self._alarm.tick(_BATCH_NS)
            return
        at_ns = min(self.agenda.next_ns, self.flows.next_ns) - transport.lead_ns // 2
        at_ns = min(at_ns, transport.due_ns)
        if self.in_flight:
            at_ns = min(at_ns, self._sweep_ns)
        if self.transport.ended:
            at_ns = now
        self._expected_ns = at_ns = max(min(at_ns, now + 1_000_000_000), now + _BATCH_NS)
        self._alarm.set(at_ns)

    def _start_due(self, now: int, lead_ns: int = 0) -> int:
        """Start what is due within `lead_ns`, no more than a few before the answers are looked at
        again; returns how much was started.
        """
        until_ns = now + lead_ns
        started = self.flows.wake(until_ns, STARTS_PER_TICK)
        agenda = self.agenda
        first_ns = agenda.times[agenda.next]
        if first_ns == NEVER and agenda.more(until_ns):
            first_ns = agenda.times[agenda.next]
        if until_ns >= first_ns:
            allowance = (
                self.pressure.may_open(now)
                if self.pressure.judge(now - first_ns)
                else self._max_connections
            )
            # A whole window at once: dropping must cost next to nothing just when there is no time.
            while agenda.is_due(now - self._max_late_ns - 1):
                self._drop(now - self._max_late_ns + WINDOW_NS, now)
            started += self._start_arrivals(until_ns, allowance)
        return started

    def _start_arrivals(self, until_ns: int, allowance: int) -> int:
        agenda = self.agenda
        transport = self.transport
        transport.open_allowance = allowance
        saturated = self.pressure.saturated
        count = 0
        while count < STARTS_PER_TICK:
            # A flow may add or remove streams, so the agenda is looked at anew each time.
            index = agenda.next
            at_ns = agenda.times[index]
            if at_ns > until_ns:
                if at_ns == NEVER and agenda.more(until_ns):
                    continue
                break
            stream = agenda.due[index]
            if saturated and not (
                transport.open_allowance > 0 or transport.has_idle(stream.place.current)
            ):
                break
            agenda.next = index + 1
            count += 1
            if stream.alive:
                self.flows.begin(stream, at_ns)
        return count

    def _drop(self, before_ns: int, now: int) -> None:
        """Record arrivals that are too late to start as not sent."""
        times, series = self.agenda.drop(before_ns, self.attempts.unsent_series)
        if len(times):
            self.attempts.add_unsent(times, series, now)

    def _sweep(self, now: int) -> None:
        pause_ns = _SWEEP_PER_CONNECTION_NS * self.transport.open_connections
        self._sweep_ns = now + max(_SWEEP_NS, pause_ns)
        if self.in_flight:
            self.transport.sweep(now)

    # --- the end

    def stop_arrivals(self) -> None:
        """No new arrivals and no further steps of flows; what is late is recorded as not sent, what
        is in flight runs out.
        """
        now = self._clock()
        # Locust takes a while to say that it stops; what came due meanwhile is still sent.
        try:
            while (
                not self.is_dead(now)
                and self._start_due(now)
                and not self.pressure.saturated
                and self._clock() - now < _LAST_STARTS_NS  # some only pause
            ):
                pass
        except FlowHungError as error:
            self._halt(error)
        except BaseException as error:
            self.sandbox.slipped(error)
        self.stopping = self.attempts.stopping = True
        self.flows.stop()
        while self.agenda.is_due(now):
            self._drop(now, now)
        self.agenda.clear()
        for stream in list(self.arrivals.streams):
            self.remove_stream(stream)
        self.transport.flush()
        self.transport.withdraw()
        self._last_words()

    def end_in_flight(self) -> None:
        """Record what is still in flight as the time-out it would become; close everything."""
        self.transport.end()
        self._last_words()

    def _last_words(self) -> None:
        try:
            self._carry_on()
        except FlowHungError as error:
            self._halt(error)
            self._carry_on()  # without users' code

    def close(self) -> None:
        """Let go of the alarm and all sockets."""
        self._alarm.close()
        self.transport.close()
