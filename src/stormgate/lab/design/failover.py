"""What the steward decides: who is primary, whether commits wait for the standby, and which edges
users should take. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ShardState:
    """What the steward has decided for a shard; kept on disk, and written there before it is acted
    upon.

    `synchronous`: every acknowledged write is on the standby too, so the standby may take over
    without losing one. `epoch` counts promotions.
    """

    primary: str
    standby: str
    synchronous: bool
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class NodeView:
    """A database node as last seen. Neither `up` nor `dead`: it has not been seen since the steward
    started.

    `streams_for_s`: how long its standby has been streaming from it (positive) or not been
    (negative); 0: unknown."""

    up: bool
    dead: bool = False
    in_recovery: bool | None = None
    streams_for_s: float = 0.0
    lag_bytes: int | None = None
    awaits: bool = False


@dataclass(frozen=True, slots=True)
class Promote:
    """Make the standby the primary."""

    region: str


@dataclass(frozen=True, slots=True)
class Await:
    """Make commits on the primary wait for the standby, or not any more."""

    region: str
    wait: bool


@dataclass(frozen=True, slots=True)
class Rejoin:
    """Stop a former primary that came back believing it still is, and make it a standby."""

    region: str


Action = Promote | Await | Rejoin

# So long a standby that stopped following may still be read: a dying primary often loses its
# standby a moment before it is seen to die itself, and reads should go on through both.
_STALE_S = 1.0
# A standby this close behind, in bytes of WAL, will not hold a commit up for long when commits
# begin to wait for it.
_CAUGHT_UP_BYTES = 4 * 1024 * 1024


def decide(
    state: ShardState,
    primary: NodeView,
    standby: NodeView,
    *,
    gone_s: float,
    want_synchronous: bool,
) -> tuple[ShardState, Action | None]:
    """The next state and what to do for it, or no action. At most one action at a time: the next
    look decides the next.
    """
    if not primary.dead and (not primary.up or primary.in_recovery is None):
        # Not seen this time, and not yet held dead. Reading its silence as "commits do not wait"
        # would bar its standby from taking over at the very moment it is needed.
        return state, None
    if primary.dead:
        # Without the standby's word on every acknowledged write, taking over would lose some:
        # better no shard than that.
        may_promote = state.synchronous or not want_synchronous
        if standby.up and standby.in_recovery and may_promote:
            after = replace(
                state,
                primary=state.standby,
                standby=state.primary,
                synchronous=False,
                epoch=state.epoch + 1,
            )
            return after, Promote(state.standby)
        return state, None
    if primary.in_recovery:
        # Decided and written, but the promotion itself did not get through.
        return state, Promote(state.primary)
    if standby.up and standby.in_recovery is False:
        return replace(state, synchronous=False), Rejoin(state.standby)
    # A standby that is dead itself is gone for certain; one that is only not heard of may be the
    # first sign of a dying primary.
    gone = primary.streams_for_s < 0 and (standby.dead or primary.streams_for_s <= -gone_s)
    return _replication(state, primary, gone=gone, want_synchronous=want_synchronous)


def _replication(
    state: ShardState, primary: NodeView, *, gone: bool, want_synchronous: bool
) -> tuple[ShardState, Action | None]:
    caught_up = (
        primary.streams_for_s > 0
        and primary.lag_bytes is not None
        and primary.lag_bytes <= _CAUGHT_UP_BYTES
    )
    if primary.awaits and (gone or not want_synchronous):
        return replace(state, synchronous=False), Await(state.primary, False)
    if want_synchronous and caught_up and not primary.awaits:
        return state, Await(state.primary, True)
    # Only once the primary itself says that it waits, and the standby has everything, may the
    # standby take over.
    return replace(
        state, synchronous=primary.awaits and (state.synchronous or primary.lag_bytes == 0)
    ), None


def readable(state: ShardState, primary: NodeView, standby: NodeView) -> list[str]:
    """Regions whose node may be read: the primary, and a standby that follows it, or that is all
    there is for now.
    """
    regions = [state.primary] if primary.up else []
    if (
        standby.up
        and standby.in_recovery is not False
        and (primary.streams_for_s > -_STALE_S or not primary.up)
    ):
        regions.append(state.standby)
    return regions


def steer(
    orders: Mapping[str, Sequence[str]], reachable: Mapping[tuple[str, str], bool]
) -> dict[str, list[str]]:
    """The table: each population's edges in its order, without those it cannot reach.

    With none left all are listed: someone may get through.
    """
    table = {}
    for population, order in orders.items():
        good = [edge for edge in order if reachable.get((population, edge), False)]
        table[population] = good or list(order)
    return table
