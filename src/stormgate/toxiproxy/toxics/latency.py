"""latency: every piece of data leaves `latency` ± `jitter` ms after it came, in order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, Step, ToxicType


@dataclass(frozen=True)
class LatencyToxic(ToxicType):
    """Attributes in ms. As in Toxiproxy the end of the stream is not delayed beyond the data before
    it.
    """

    type: ClassVar[str] = "latency"
    latency: int = 0
    jitter: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _LatencyFlow(self, rng)


class _LatencyFlow(Flow):
    # Toxiproxy buffers 1024 chunks of up to 32 KiB here: a link with delay is not a link with
    # little bandwidth.
    window_bytes = 1024 * 32 * 1024

    def __init__(self, toxic: LatencyToxic, rng: random.Random) -> None:
        self._toxic = toxic
        self._rng = rng
        self._last = 0.0

    def data(self, now: float, data: bytes) -> Step:
        delay_ms = self._toxic.latency
        if self._toxic.jitter > 0:
            delay_ms += self._rng.randrange(2 * self._toxic.jitter) - self._toxic.jitter
        # A piece with less jitter waits for the one before it: TCP does not reorder.
        self._last = max(self._last, now + delay_ms / 1000)
        return Step(((self._last, data),))
