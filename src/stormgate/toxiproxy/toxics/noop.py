"""noop: does nothing; also what a toxic is on the connections its toxicity spares."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, ToxicType


@dataclass(frozen=True)
class Noop(ToxicType):
    type: ClassVar[str] = "noop"

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return Flow()
