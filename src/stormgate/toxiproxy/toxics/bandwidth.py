"""bandwidth: at most `rate` KB/s (1 KB = 1000 bytes, as in Toxiproxy), in bursts of at most 100
ms.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, Step, ToxicType


@dataclass(frozen=True)
class BandwidthToxic(ToxicType):
    """`rate` in KB/s; 0 stalls for as long as it lasts."""

    type: ClassVar[str] = "bandwidth"
    rate: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _BandwidthFlow(self.rate)


class _BandwidthFlow(Flow):
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._free_at = 0.0

    def data(self, now: float, data: bytes) -> Step:
        if self._rate <= 0:
            self._free_at = math.inf
            return Step(((math.inf, data),))
        at = max(self._free_at, now)
        burst = self._rate * 100
        pieces = []
        for begin in range(0, len(data), burst):
            piece = data[begin : begin + burst]
            # A piece leaves when its last byte would have passed the wire.
            at += len(piece) / (self._rate * 1000)
            pieces.append((at, piece))
        self._free_at = at
        return Step(tuple(pieces))
