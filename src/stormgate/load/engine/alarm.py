"""Who wakes the engine: gevent's hub, by a descriptor with answers and a timer of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from stormgate.load.engine.timer import Timer


class Alarm(Protocol):
    """Calls the engine when something is to be done."""

    def start(self, wake: Callable[[], None]) -> None:
        """Call `wake` from now on, whenever it is time or anything was answered."""

    def set(self, at_ns: int) -> None:
        """The next time is `at_ns` (CLOCK_MONOTONIC); answers wake at once."""

    def tick(self, interval_ns: int) -> None:
        """It is time every `interval_ns`, and answers wait until then."""

    def interrupted(self, error: KeyboardInterrupt) -> None:
        """Somebody wants this process to end: pass it on."""

    def close(self) -> None:
        """Never wake again."""


class HubAlarm:
    """Two watchers in gevent's hub: `fd` is readable when anything was answered, the timer's when
    something is due. There is no greenlet and no Locust event per request.
    """

    def __init__(self, hub: Any, fd: int) -> None:
        self._hub = hub
        self._timer = Timer()
        self._ticking = False
        self._answers = hub.loop.io(fd, 1)
        self._ticks = hub.loop.io(self._timer.fd, 1)

    def start(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._answers.start(wake)
        self._ticks.start(self._on_timer)

    def _on_timer(self) -> None:
        self._timer.acknowledge()
        self._wake()

    def set(self, at_ns: int) -> None:
        if self._ticking:
            self._ticking = False
            self._answers.start(self._wake)
        self._timer.set(at_ns)

    def tick(self, interval_ns: int) -> None:
        if not self._ticking:
            self._ticking = True
            self._answers.stop()
            self._timer.tick(interval_ns)

    def interrupted(self, error: KeyboardInterrupt) -> None:
        self._hub.handle_error(None, KeyboardInterrupt, error, error.__traceback__)

    def close(self) -> None:
        for watcher in (self._answers, self._ticks):
            watcher.stop()
            watcher.close()
        self._timer.close()
