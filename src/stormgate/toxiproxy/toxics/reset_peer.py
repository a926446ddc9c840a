"""reset_peer: the first data (or end) is swallowed, and `timeout` ms later both sides are closed
with a reset.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, Step, ToxicType


@dataclass(frozen=True)
class ResetPeer(ToxicType):
    """`timeout` in ms. As in Toxiproxy only connections opened under it see RST; open ones see a
    plain end.
    """

    type: ClassVar[str] = "reset_peer"
    resets: ClassVar[bool] = True
    timeout: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _ResetFlow(self.timeout, previous if isinstance(previous, _ResetFlow) else None)


class _ResetFlow(Flow):
    def __init__(self, timeout_ms: int, previous: _ResetFlow | None) -> None:
        self._timeout_ms = timeout_ms
        # An update does not call back a reset that is under way.
        self._close_at: float | None = previous._close_at if previous else None
        self.torn = previous.torn if previous else False

    def start(self, now: float) -> Step:
        return Step(close_at=self._close_at)

    def data(self, now: float, data: bytes) -> Step:
        self.torn = True
        return self.end(now)

    def end(self, now: float) -> Step:
        if self._close_at is None:
            self._close_at = now + self._timeout_ms / 1000
        return Step(close_at=self._close_at)
