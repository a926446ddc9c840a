"""A stage carries out one flow's decisions: it holds pieces until their time and ends the stream
when told to.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from stormgate.toxiproxy.toxics.base import Flow, Step


class StageSink(Protocol):
    """Where bytes go next: the following stage, or the socket."""

    def feed(self, data: bytes) -> None: ...

    def finish(self) -> None: ...


class Stage:
    """One toxic on one direction of one connection."""

    __slots__ = (
        "_close_at", "_loop", "_on_room", "_pending", "_timer", "_timer_at", "closed", "ended", "flow", "next",  # noqa: E501
        "pending_bytes",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, flow: Flow, on_room: Callable[[], None]
    ) -> None:
        """`on_room` is called whenever pieces have left, so that a sender held back can go on."""
        self._loop = loop
        self._on_room = on_room
        self._pending: deque[tuple[float, float, bytes]] = deque()  # (out at, came at, data)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._close_at: float | None = None
        self.flow = flow
        self.next: StageSink | None = None
        self.pending_bytes = 0
        self.ended = False
        self.closed = False

    def start(self) -> None:
        """Begin; `next` must be set."""
        now = self._loop.time()
        self._take(self.flow.start(now), now)

    def feed(self, data: bytes) -> None:
        if not self.closed:
            now = self._loop.time()
            self._take(self.flow.data(now, data), now)

    def finish(self) -> None:
        if not self.ended:
            self.ended = True
            now = self._loop.time()
            self._take(self.flow.end(now), now)

    def replace(self, flow: Flow) -> None:
        """Go on with another flow (the toxic was updated). What waits is not lost: its head leaves
        now, as in Toxiproxy.

        A stream that lost bytes to the old flow cannot go on under one that passes data: it is
        closed.
        """
        if self.closed:
            return
        if self.flow.torn and not flow.torn:
            self.close()
            return
        waiting = list(self._pending)
        self._drop_pending()
        self._close_at = None
        self.flow = flow
        now = self._loop.time()
        self._take(flow.start(now), now)
        for index, (_, came_at, data) in enumerate(waiting):
            if self.closed:
                return
            self._take(Step(((now, data),)) if index == 0 else flow.data(came_at, data), came_at)
        if self.ended:
            self._take(flow.end(now), now)

    def remove(self, *, close: bool) -> None:
        """The toxic is gone: everything that waits leaves now; then the stream ends (`close`, or
        the sender had).
        """
        waiting = list(self._pending)
        self._drop_pending()
        if not self.closed and self.next is not None:
            for _, _, data in waiting:
                self.next.feed(data)
            if close or self.ended:
                self.next.finish()
        self.closed = True

    def close(self) -> None:
        """End the output now; what waits is dropped."""
        self._drop_pending()
        if not self.closed:
            self.closed = True
            if self.next is not None:
                self.next.finish()

    def abandon(self) -> None:
        """The connection is gone: forget everything and tell nobody."""
        self._drop_pending()
        self.closed = True

    def _drop_pending(self) -> None:
        self._pending.clear()
        self.pending_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = math.inf

    def _take(self, step: Step, came_at: float) -> None:
        for at, data in step.pieces:
            self._pending.append((at, came_at, data))
            self.pending_bytes += len(data)
        if step.close_at is not None:
            self._close_at = step.close_at
        self._pump()

    def _pump(self) -> None:
        """Let out what is due, then set the timer for what is next."""
        now = self._loop.time()
        pending = self._pending
        assert self.next is not None  # noqa: S101 (wired before any byte flows)
        while pending and pending[0][0] <= now:
            data = pending.popleft()[2]
            self.pending_bytes -= len(data)
            self.next.feed(data)
            if self.closed:
                return
        if pending:
            self._wake_at(pending[0][0])
        elif self._close_at is not None:
            if self._close_at <= now:
                self.close()
            else:
                self._wake_at(self._close_at)

    def _wake_at(self, at: float) -> None:
        if math.isinf(at) or (self._timer is not None and self._timer_at <= at):
            return  # an earlier wake-up looks again
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._pump()
        self._on_room()
