"""Recording plain Locust files (HttpUser, FastHttpUser, clients that fire Locust's event) as they
are: closed loop, so latency is reported and never gated.
"""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
import weakref
from typing import Any

import gevent
from gevent import GreenletExit, getcurrent
from locust.user.task import TaskSet

from stormgate.load.locust.places import Places
from stormgate.load.locust.tap import Tap, Ticket, user_of
from stormgate.load.record.counters import ClosedCounters
from stormgate.load.record.failures import LONGEST_URL, MOST_KINDS
from stormgate.load.record.recorder import CODE, Recorder
from stormgate.load.record.sink import Sink
from stormgate.load.record.writer import Clock, Writer
from stormgate.model import Event, Outcome

logger = logging.getLogger(__name__)

GRACE_S = 2.0
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_BLOCK_S = 0.25
_BY_NAME: tuple[tuple[str, Outcome], ...] = (
    # Our own gate at the socket: nothing left, and the target has nothing to answer for.
    ("packetrefused", Outcome.NOT_SENT),
    ("connecttimeout", Outcome.CONNECT_TIMEOUT),
    ("connectiontimeout", Outcome.CONNECT_TIMEOUT),
    ("timeout", Outcome.FIRST_BYTE_TIMEOUT),
    ("refused", Outcome.REFUSED),
    ("gaierror", Outcome.DNS),
    ("nameresolution", Outcome.DNS),
    ("ssl", Outcome.TLS),
    ("certificate", Outcome.TLS),
    ("reset", Outcome.RESET),
    ("brokenpipe", Outcome.RESET),
    ("connectionerror", Outcome.RESET),
    ("connectionclosed", Outcome.RESET),
    ("remotedisconnected", Outcome.RESET),
    ("httpparse", Outcome.MALFORMED),
    ("chunkedencoding", Outcome.MALFORMED),
)


def outcome_of(exception: BaseException | str | None, status: int) -> Outcome:
    """The outcome of a request as Locust reports it. Without an exception it went well, whatever
    its status: so Locust counts it, and so the user said (`response.success()`). Else by status,
    and by the names in the exception and what it wraps.
    """
    if not exception:
        return Outcome.OK
    if status >= 400:
        return Outcome.BAD_STATUS
    words = "" if isinstance(exception, BaseException) else str(exception)
    seen: BaseException | None = exception if isinstance(exception, BaseException) else None
    for _ in range(6):
        if seen is None:
            break
        words += f" {type(seen).__name__} {seen!r}"
        seen = seen.__cause__ or seen.__context__ or _original(seen)
    if status:
        # A whole answer came, and the user's own code called it wrong.
        return Outcome.WRONG_BODY
    folded = words.lower().replace(" ", "").replace("_", "")
    for word, outcome in _BY_NAME:
        if word in folded:
            return outcome
    return Outcome.RESET


def _original(error: BaseException) -> BaseException | None:
    """What FastHttpUser's client wraps when it has no tries left."""
    inner = getattr(error, "original", None)
    return inner if isinstance(inner, BaseException) else None


def whole(value: Any, bits: int, scale: float = 1.0) -> int:
    """`scale` times what a client of the user's reports, as an unsigned number of so many bits; 0
    for what is none.
    """
    try:
        number = float(value or 0) * scale
    except (TypeError, ValueError):
        return 0
    return max(0, min(int(number), 2**bits - 1)) if math.isfinite(number) else 0


class ClosedWorker:
    """Writes the evidence of the users of a worker that pace themselves."""

    def __init__(
        self,
        environment: Any,
        sink: Sink,
        *,
        name: str,
        clock: Clock,
        places: Places | None = None,
    ) -> None:
        """`places`: where a plan's populations send their requests."""
        self.name = name
        self._environment = environment
        self._places = places or Places()
        self._recorder = Recorder(name)
        for population in self._places.populations:
            self._recorder.know(population.name, population.labels)
        self.counters = ClosedCounters()
        # Locust keeps its own statistics of these requests.
        self._writer = Writer(self._recorder, sink, None, model="closed", clock=clock)
        self._finished = False
        self._dropped: list[Ticket] = []
        self._hurt: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
        self._broken: set[str] = set()
        self._failures: set[tuple[str, Outcome, int]] = set()
        self._tap = Tap(environment, self)
        self._count_as_locust_does()
        environment.events.user_error._handlers.insert(0, self._on_user_error)
        self._greenlet = gevent.spawn(self._housekeeping)

    def _count_as_locust_does(self) -> None:
        """Follow Locust's own totals where they are kept; resets and reports clear them there."""
        stats, counters = self._environment.stats, self.counters
        log_request, log_error = stats.log_request, stats.log_error

        def requests(*args: Any, **kwargs: Any) -> Any:
            counters.locust_requests += 1
            return log_request(*args, **kwargs)

        def errors(*args: Any, **kwargs: Any) -> Any:
            counters.locust_failures += 1
            return log_error(*args, **kwargs)

        stats.log_request, stats.log_error = requests, errors

    # --- what the tap tells

    def place(self, user: Any) -> None:
        if not getattr(user, "is_stream", False):
            self._places.give(user)

    def dress(self, session: Any) -> None:
        self._places.dress(session)
        self._hurt[getcurrent()] = False  # a task that raises over this answer has not seen others

    def on_told(self, ticket: Ticket | None, meta: dict[str, Any]) -> None:
        method = str(meta.get("request_type", "")).upper()
        status = whole(getattr(meta.get("response"), "status_code", 0), 16)
        lasted_ns = whole(meta.get("response_time"), 62, 1e6)
        now = time.monotonic_ns()
        begin = ticket.began_ns if ticket is not None else now - lasted_ns
        outcome = outcome_of(meta.get("exception"), status)
        self.counters.reported += 1
        self._hurt[getcurrent()] = outcome is not Outcome.OK
        size = whole(meta.get("response_length"), 32)
        user = ticket.user if ticket is not None else user_of(getcurrent())
        if outcome is not Outcome.OK:
            self._note_failure(meta, outcome, status)
        done = min(now, begin + lasted_ns)
        self._row(user, str(meta.get("name")), method, begin, done, (size, status, outcome))

    def _note_failure(self, meta: dict[str, Any], outcome: Outcome, status: int) -> None:
        """Say once per kind what was wanted and where, as the engine does for its own."""
        key = (str(meta.get("name")), outcome, status)
        if key in self._failures or len(self._failures) >= MOST_KINDS:
            return
        self._failures.add(key)
        said = str(meta.get("exception"))[:LONGEST_URL]
        wanted = {Outcome.BAD_STATUS: "below 400", Outcome.WRONG_BODY: f"not {said!r}"}
        self._writer.event(
            Event.LOAD_FAILURE,
            route=key[0],
            outcome=outcome.value,
            status=status,
            expected=wanted.get(outcome, "an answer"),
            url=str(meta.get("url") or "").split("?", 1)[0][:LONGEST_URL],
        )

    def on_broken(self, ticket: Ticket, error: BaseException) -> None:
        """A client raised instead of reporting. A time limit or a broken connection is how the
        request went; a user that Locust ended has left; anything else is the user's own slip, of
        which nobody knows how it would have gone.
        """
        counters = self.counters
        now = time.monotonic_ns()
        if isinstance(error, GreenletExit):
            if now - ticket.began_ns < GRACE_S * 1e9:
                counters.cut += 1
                return
            outcome = Outcome.FIRST_BYTE_TIMEOUT
        elif isinstance(error, gevent.Timeout | OSError) and not isinstance(error, ValueError):
            outcome = outcome_of(error, 0)
        else:
            counters.unreported += 1
            return
        counters.given_up += 1
        self._hurt[ticket.greenlet] = True
        said = {"name": ticket.name, "url": ticket.url, "exception": error}
        self._note_failure(said, outcome, 0)
        method = ticket.method.upper()
        self._row(ticket.user, ticket.name, method, ticket.began_ns, now, (0, 0, outcome))

    def on_dropped(self, ticket: Ticket) -> None:
        self._dropped.append(ticket)

    def _row(
        self,
        user: Any,
        route: str,
        method: str,
        begin_ns: int,
        done_ns: int,
        answer: tuple[int, int, Outcome],
    ) -> None:
        recorder, counters = self._recorder, self.counters
        op = "read" if method in _READS else "write"
        name = route.encode(errors="replace").decode()
        code = recorder.series_code(self._places.of(user), name, method, op)
        size, status, outcome = answer
        number, sent_ns = counters.recorded, begin_ns
        if outcome is Outcome.NOT_SENT:
            counters.not_sent += 1
            sent_ns = -1
        recorder.rows.append(
            recorder.pack(begin_ns, sent_ns, done_ns, number, code, size, status, 1, CODE[outcome])
        )

    def _on_user_error(
        self, user_instance: Any, exception: BaseException, tb: Any, **_: Any
    ) -> None:
        # A task that raised looks at no answer any more, however long Locust keeps the traceback.
        for ticket in self._tap.undecided:
            if ticket.greenlet is getcurrent():
                self._tap.forget(ticket)
                self.counters.unreported += 1
        over_failure = self._hurt.get(getcurrent(), False)
        if over_failure:
            self.counters.flow_errors_over_failures += 1
        else:
            self.counters.flow_errors += 1
        user = user_instance.user if isinstance(user_instance, TaskSet) else user_instance
        frames = traceback.extract_tb(tb)
        place = f"{type(user).__name__} {over_failure} {type(exception)} {frames[-1:]}"
        if place not in self._broken and not self._finished:
            self._broken.add(place)
            text = "".join(traceback.format_exception(type(exception), exception, tb))
            self._writer.event(
                Event.LOAD_FLOW_ERROR,
                flow=type(user).__name__,
                traceback=text,
                over_failure=over_failure,
            )

    # --- evidence

    def _housekeeping(self) -> None:
        number = 0
        while True:
            gevent.sleep(_BLOCK_S)
            number += 1
            self._sort_dropped()
            self._writer.flush()
            if number % 4 == 0:
                self._writer.report(self._totals(), ([], 0), self._gauges())

    def _sort_dropped(self) -> None:
        """Answers that were thrown away unjudged: by a user that Locust ended meanwhile, or by one
        that goes on as if nothing had been asked.
        """
        dropped, self._dropped = self._dropped, []
        for ticket in dropped:
            if getattr(getattr(ticket.user, "greenlet", None) or ticket.greenlet, "dead", False):
                self.counters.cut += 1
            else:
                self.counters.unreported += 1

    def _totals(self) -> dict[str, int]:
        return self.counters.totals()

    def _gauges(self) -> dict[str, int]:
        counts = self._environment.runner.user_classes_count
        users = sum(
            counts.get(cls.__name__, 0)
            for cls in self._environment.user_classes
            if not getattr(cls, "is_stream", False)
        )
        return {
            "open_connections": 0,
            "in_flight": len(self._tap.in_flight) + len(self._tap.undecided),
            "streams": users,
        }

    # --- the end

    def settle(self) -> None:
        """What is under way may end within the grace; nothing new begins. Users that Locust gives
        time of its own (--stop-timeout) have that instead.
        """
        if not self._finished and not self._environment.stop_timeout:
            self._tap.settle(GRACE_S)
            gc.collect()  # what was thrown away unjudged is known before users are ended
            self._sort_dropped()

    def finish(self) -> None:
        """The last block and row, when all users have ended. Idempotent."""
        if self._finished:
            return
        for ticket in self._tap.in_flight:  # of greenlets that are no users: nobody ended them
            ticket.told = True
            self.on_broken(ticket, GreenletExit())
        self._dropped += self._tap.undecided
        self._sort_dropped()
        self._finished = True
        self._greenlet.kill()
        self._tap.close()
        self._environment.events.user_error.remove_listener(self._on_user_error)
        for name in ("log_request", "log_error"):
            vars(self._environment.stats).pop(name, None)
        self._writer.end(self._totals(), ([], 0), self._gauges() | {"in_flight": 0})
