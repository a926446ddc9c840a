"""Recording plain Locust files (HttpUser, FastHttpUser, ...) as they are: closed loop, so latency
is reported and never gated.
"""

from __future__ import annotations

import time
from typing import Any

import gevent

from stormgate.load.locust.settings import DEFAULT_POPULATION
from stormgate.load.record.counters import Counters
from stormgate.load.record.recorder import CODE, Recorder
from stormgate.load.record.sink import Sink
from stormgate.load.record.writer import Clock, Writer
from stormgate.model import Outcome

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
    """The outcome of a request as Locust reports it: by status, else by the names in its exception
    and what it wraps.
    """
    if exception is None:
        return Outcome.OK if status < 400 else Outcome.BAD_STATUS
    if status >= 400:
        return Outcome.BAD_STATUS
    words = "" if isinstance(exception, BaseException) else str(exception)
    seen: BaseException | None = exception if isinstance(exception, BaseException) else None
    for _ in range(6):
        if seen is None:
            break
        words += f" {type(seen).__name__} {seen!r}"
        seen = seen.__cause__ or seen.__context__
    folded = words.lower().replace(" ", "").replace("_", "")
    for word, outcome in _BY_NAME:
        if word in folded:
            return outcome
    # A whole answer came, and the user's own code called it wrong.
    return Outcome.WRONG_BODY if status else Outcome.RESET


class ClosedWorker:
    """Writes the evidence of a worker whose users pace themselves."""

    def __init__(self, environment: Any, sink: Sink, *, name: str, clock: Clock) -> None:
        self.name = name
        self._environment = environment
        self._recorder = Recorder(name)
        self._counters = Counters()
        # Locust keeps its own statistics of these requests.
        self._writer = Writer(self._recorder, sink, None, model="closed", clock=clock)
        self._finished = False
        environment.events.request.add_listener(self._on_request)
        self._greenlet = gevent.spawn(self._housekeeping)

    def _on_request(
        self,
        request_type: str,
        name: str,
        response_time: float | None,
        response_length: int | None,
        response: Any = None,
        exception: Any = None,
        **_: Any,
    ) -> None:
        done = time.monotonic_ns()
        begin = done - int((response_time or 0) * 1e6)
        status = int(getattr(response, "status_code", 0) or 0)
        method = str(request_type).upper()
        recorder, counters = self._recorder, self._counters
        code = recorder.series_code(
            DEFAULT_POPULATION, str(name), method, "read" if method in _READS else "write"
        )
        counters.completed += 1
        outcome = CODE[outcome_of(exception, status)]
        recorder.rows.append(
            recorder.pack(
                begin,
                begin,
                done,
                counters.completed,
                code,
                int(response_length or 0),
                status,
                1,
                outcome,
            )
        )

    def _housekeeping(self) -> None:
        number = 0
        while True:
            gevent.sleep(_BLOCK_S)
            number += 1
            self._writer.flush()
            if number % 4 == 0:
                self._writer.report(self._totals(), ([], 0), self._gauges())

    def _totals(self) -> dict[str, int]:
        return self._counters.totals(self._counters.completed)

    def _gauges(self) -> dict[str, int]:
        return {
            "open_connections": 0,
            "in_flight": 0,
            "streams": self._environment.runner.user_count,
        }

    def finish(self) -> None:
        """The last block and row. Idempotent."""
        if not self._finished:
            self._finished = True
            self._greenlet.kill()
            self._environment.events.request.remove_listener(self._on_request)
            self._writer.end(self._totals(), ([], 0), self._gauges())
