"""timeout: no data passes; after `timeout` ms without any the connection closes, with 0 never."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import NOTHING, Flow, Step, ToxicType


@dataclass(frozen=True)
class Timeout(ToxicType):
    """`timeout` in ms, counted anew from each piece of data, as in Toxiproxy."""

    type: ClassVar[str] = "timeout"
    closes_on_removal: ClassVar[bool] = True
    timeout: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _TimeoutFlow(self.timeout, previous is not None and previous.torn)


class _TimeoutFlow(Flow):
    def __init__(self, timeout_ms: int, torn: bool) -> None:
        self._timeout_ms = timeout_ms
        self.torn = torn

    def start(self, now: float) -> Step:
        return Step(close_at=now + self._timeout_ms / 1000) if self._timeout_ms > 0 else NOTHING

    def data(self, now: float, data: bytes) -> Step:
        self.torn = True
        return self.start(now)
