"""The seam between requests and sockets: ready bytes in, how each attempt ended out.

What stands here is all that the engine knows of whoever moves its bytes, and all that a transport
knows of whoever asks: no flow, no user, no retry, no redirect, no steering, no sample.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeVar

from stormgate.load.engine.pool import Pool
from stormgate.load.record.counters import TransportCounts
from stormgate.model import Outcome

EVENTS_PER_TURN = 256
NEVER = (1 << 63) - 1  # a time that does not come


class Asked(Protocol):
    """What a transport knows of a request beside its bytes."""

    @property
    def is_head(self) -> bool:
        """Whether its answer ends with the headers, whatever length they announce."""

    @property
    def name(self) -> str:
        """What it is called where somebody is told of it."""


class LoadAttempt(Protocol):
    """One attempt at a request, lent to a transport from `submit` until it comes back in `ended`.

    Times are CLOCK_MONOTONIC ns. The transport sets `started_ns` when it has to look for a
    connection and `sent_ns` when the first byte is written (-1: none was); all else is given.
    """

    pool: Pool  # the population's way to an edge
    payload: bytes
    timeout_ns: int
    connect_timeout_ns: int
    intended_ns: int
    attempt: int  # 1: the first at this request, whose lag and sending are counted
    sent_ns: int
    started_ns: int

    @property
    def request(self) -> Asked:
        """What it is an attempt at."""


A = TypeVar("A", bound=LoadAttempt)

# (attempt, outcome, status, raw, done_ns, labels). `ok`: a whole response came, whatever its
# status; `raw` is all of it, from the first byte of its head on (informational responses before
# it, too), and `labels` the codes of what its headers observed, None where nothing is observed.
# None: the transport itself failed over it, and nothing is to be said of the target. Else how it
# ended without a whole response: status 0, no bytes.
Completion = tuple[A, Outcome | None, int, bytes, int, list[int] | None]


class LoadTransport(Protocol[A]):
    """Moves attempts over connections of its own. None is written before its intended start.

    The law: each attempt submitted comes back in `ended` exactly once. Nothing is called back, and
    no method raises over one attempt what would keep another from ending.
    """

    @property
    def ended(self) -> deque[Completion[A]]:
        """What has ended, oldest first; whoever takes one removes it. Any method may add some."""

    @property
    def counts(self) -> TransportCounts:
        """What was done so far."""

    @property
    def lead_ns(self) -> int:
        """So long before its intended start an attempt may be submitted, which is held until then;
        0: not before.
        """

    @property
    def batches(self) -> bool:
        """Whether `fileno` tells of many answers at once where there are many, so that nobody has
        to wait for them by a clock.
        """

    @property
    def due_ns(self) -> int:
        """When `turn` has something to do that `fileno` does not tell of."""

    def ahead(self) -> int:
        """First attempts that were submitted and whose time had not come by the last `turn`."""

    open_allowance: int  # how many connections may still be opened until this is next set

    @property
    def open_connections(self) -> int:
        """Connections held, under way or ready."""

    def fileno(self) -> int:
        """A descriptor that is readable when `turn` has something to do."""

    def submit(self, attempt: A) -> None:
        """Write an attempt on an idle connection to its pool, a new one, or when none may be
        opened, the next that comes free.
        """

    def flush(self) -> None:
        """What was submitted and is due goes out now, if it has not."""

    def turn(self) -> int:
        """Deal with what the sockets say now. Returns how many had something to say:
        `EVENTS_PER_TURN` when there may be more.
        """

    def sweep(self, now_ns: int) -> None:
        """End the attempts whose deadline has passed."""

    def waiting(self) -> int:
        """First attempts that wait for a free connection under the cap: ours, not the target's."""

    def has_idle(self, pool: Pool) -> bool:
        """Whether an attempt could go out at once, without a new connection."""

    def drop_idle(self, pool: Pool) -> None:
        """Close a pool's idle connections: its users go elsewhere now."""

    def resolved(self, pool: Pool) -> None:
        """The pool's addresses are known, or why there are none: what waited for them goes on."""

    def withdraw(self) -> None:
        """End what waits for a connection: it was not sent."""

    def end(self) -> None:
        """Take the answers that have come, end what is in flight as the time-out it would become,
        and close every connection.
        """

    def close(self) -> None:
        """Let go of everything; nothing more comes back."""
