"""limit_data: exactly `bytes` bytes pass, then the connection closes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, Step, ToxicType


@dataclass(frozen=True)
class LimitData(ToxicType):
    """`bytes` counts per connection and over updates; with 0 the first data closes it."""

    type: ClassVar[str] = "limit_data"
    bytes: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _LimitFlow(self.bytes, previous.passed if isinstance(previous, _LimitFlow) else 0)


class _LimitFlow(Flow):
    def __init__(self, limit: int, passed: int) -> None:
        self._limit = limit
        self.passed = passed

    def data(self, now: float, data: bytes) -> Step:
        part = data[: max(0, self._limit - self.passed)]
        self.passed += len(part)
        full = self.passed >= self._limit
        return Step(((now, part),) if part else (), now if full else None)
