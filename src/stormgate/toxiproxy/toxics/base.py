"""What a toxic is: a frozen set of integer attributes, and a `Flow` per connection that decides
what happens to bytes.

A flow never waits, reads a clock or touches a socket: it is told the time and answers with a
`Step`. The embedded server's stages carry the steps out. So every toxic is tested by a table, and a
new one is a new file in this folder.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Step(NamedTuple):
    """What to do next, times in seconds of the loop's clock.

    `pieces` go out in order, each not before its time. `close_at` ends the output at that time,
    after all pieces; None leaves an earlier decision standing.
    """

    pieces: tuple[tuple[float, bytes], ...] = ()
    close_at: float | None = None


NOTHING = Step()


class Flow:
    """One toxic at work on one direction of one connection. The base passes everything on at
    once.
    """

    # How much may wait inside before the sender is held back.
    window_bytes: ClassVar[int] = 64 * 1024
    # Whether bytes may have been dropped: going on after that would hand the receiver a torn
    # stream.
    torn: bool = False

    def start(self, now: float) -> Step:
        """The connection opens, or the toxic is put on an open one."""
        return NOTHING

    def data(self, now: float, data: bytes) -> Step:
        """Bytes arrive; never empty, never after `end`."""
        return Step(((now, data),))

    def end(self, now: float) -> Step:
        """The sender has closed."""
        return Step(close_at=now)


@dataclass(frozen=True)
class ToxicType:
    """Base of the toxics; the fields of a subclass are its attributes, all integers with default
    0.
    """

    type: ClassVar[str]
    # Real Toxiproxy ends the connection when such a toxic is removed.
    closes_on_removal: ClassVar[bool] = False
    # The sockets of connections opened under it are set to reset (RST) when closed.
    resets: ClassVar[bool] = False

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        """A flow for one connection; `previous` is the one it replaces after an update of this
        toxic.
        """
        raise NotImplementedError

    @classmethod
    def attribute_names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def problems(cls, attributes: Mapping[str, int]) -> list[str]:
        """Why these attributes cannot work, beyond each being an integer that is not negative."""
        return []
