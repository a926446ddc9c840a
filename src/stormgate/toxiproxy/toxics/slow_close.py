"""slow_close: data passes, the end of the stream is held back by `delay` ms."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, Step, ToxicType


@dataclass(frozen=True)
class SlowClose(ToxicType):
    """`delay` in ms."""

    type: ClassVar[str] = "slow_close"
    delay: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _SlowCloseFlow(self.delay)


class _SlowCloseFlow(Flow):
    def __init__(self, delay_ms: int) -> None:
        self._delay_ms = delay_ms

    def end(self, now: float) -> Step:
        return Step(close_at=now + self._delay_ms / 1000)
