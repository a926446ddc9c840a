"""A toxic at work on a proxy, as its links see it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from stormgate.toxiproxy.toxics.base import Flow, ToxicType
from stormgate.toxiproxy.types import Stream


@dataclass(eq=False, slots=True)
class LiveToxic:
    """A toxic on a proxy. `kind` (its attributes) and `toxicity` change by an update; the rest
    never does.
    """

    name: str
    stream: Stream
    stream_text: str  # as the client wrote it; read back so
    toxicity: float
    kind: ToxicType

    def new_flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        """A connection's flow: the toxic's, or on the share that toxicity spares one that passes
        everything.
        """
        return self.kind.flow(rng, previous) if rng.random() < self.toxicity else Flow()
