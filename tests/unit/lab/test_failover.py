"""What the steward decides, as tables."""

from __future__ import annotations

import pytest

from stormgate.lab.design.failover import (
    Await,
    NodeView,
    Promote,
    Rejoin,
    ShardState,
    decide,
    readable,
    steer,
)

STATE = ShardState("eu-west", "eu-central", synchronous=True)
STALE = ShardState("eu-west", "eu-central", synchronous=False)
TAKEN = ShardState("eu-central", "eu-west", synchronous=False, epoch=1)
GOOD = NodeView(up=True, in_recovery=False, streams_for_s=9.0, lag_bytes=0, awaits=True)
ALONE = NodeView(up=True, in_recovery=False, streams_for_s=-2.0, lag_bytes=None, awaits=True)
GAP = NodeView(up=True, in_recovery=False, streams_for_s=-0.3, lag_bytes=None, awaits=True)
FREE = NodeView(up=True, in_recovery=False, streams_for_s=0.2, lag_bytes=100, awaits=False)
BEHIND = NodeView(up=True, in_recovery=False, streams_for_s=0.2, lag_bytes=10**9, awaits=False)
WAITS_BEHIND = NodeView(up=True, in_recovery=False, streams_for_s=1.0, lag_bytes=100, awaits=True)
STANDBY = NodeView(up=True, in_recovery=True)
IMPOSTOR = NodeView(up=True, in_recovery=False)
DEAD = NodeView(up=False, dead=True)
UNSEEN = NodeView(up=False)
MISSED = NodeView(up=True)
SILENT = NodeView(up=True)


@pytest.mark.parametrize(
    ("state", "primary", "standby", "after", "action"),
    [
        pytest.param(STATE, GOOD, STANDBY, STATE, None, id="all is well"),
        pytest.param(STATE, DEAD, STANDBY, TAKEN, Promote("eu-central"), id="primary dead"),
        pytest.param(
            STALE, DEAD, STANDBY, STALE, None, id="primary dead, standby lacks acknowledged writes"
        ),
        pytest.param(STATE, DEAD, DEAD, STATE, None, id="both dead"),
        pytest.param(
            STATE, UNSEEN, STANDBY, STATE, None, id="primary not seen yet: it may be starting"
        ),
        pytest.param(
            STATE,
            SILENT,
            STANDBY,
            STATE,
            None,
            id="primary missed one look: nothing is known, nothing changes",
        ),
        pytest.param(
            STATE,
            MISSED,
            STANDBY,
            STATE,
            None,
            id="primary missed one look: what was known still holds",
        ),
        pytest.param(
            STATE, GAP, STANDBY, STATE, None, id="standby alive but not heard of: wait a little"
        ),
        pytest.param(
            STATE,
            GAP,
            DEAD,
            STALE,
            Await("eu-west", False),
            id="standby dead: stop waiting for it at once",
        ),
        pytest.param(STATE, GOOD, DEAD, STATE, None, id="standby dead to us, but it streams"),
        pytest.param(
            STATE,
            ALONE,
            STANDBY,
            STALE,
            Await("eu-west", False),
            id="standby gone: stop waiting for it",
        ),
        pytest.param(
            STALE,
            FREE,
            STANDBY,
            STALE,
            Await("eu-west", True),
            id="standby back: wait for it again",
        ),
        pytest.param(STALE, BEHIND, STANDBY, STALE, None, id="standby back but far behind"),
        pytest.param(
            STALE,
            WAITS_BEHIND,
            STANDBY,
            STALE,
            None,
            id="waits, but the standby lacks something still",
        ),
        pytest.param(
            STALE, GOOD, STANDBY, STATE, None, id="waits and has everything: may take over"
        ),
        pytest.param(
            STATE, GOOD, IMPOSTOR, STALE, Rejoin("eu-central"), id="old primary came back as one"
        ),
        pytest.param(
            TAKEN, STANDBY, DEAD, TAKEN, Promote("eu-central"), id="decided, but not promoted yet"
        ),
    ],
)
def test_decide(
    state: ShardState, primary: NodeView, standby: NodeView, after: ShardState, action: object
) -> None:
    assert decide(state, primary, standby, gone_s=1.0, want_synchronous=True) == (after, action)


def test_asynchronous_promotes_whatever_the_standby_lacks() -> None:
    after, action = decide(STALE, DEAD, STANDBY, gone_s=1.0, want_synchronous=False)
    assert (after.primary, action) == ("eu-central", Promote("eu-central"))
    assert decide(STALE, FREE, STANDBY, gone_s=1.0, want_synchronous=False) == (STALE, None)


@pytest.mark.parametrize(
    ("primary", "standby", "regions"),
    [
        (GOOD, STANDBY, ["eu-west", "eu-central"]),
        (GOOD, DEAD, ["eu-west"]),
        (GAP, STANDBY, ["eu-west", "eu-central"]),  # perhaps the primary is dying: reads go on
        (ALONE, STANDBY, ["eu-west"]),  # it may hold yesterday's rows
        (DEAD, STANDBY, ["eu-central"]),
        (
            NodeView(up=True),
            STANDBY,
            ["eu-west", "eu-central"],
        ),  # one missed look must not stop reads
        (GOOD, NodeView(up=True), ["eu-west", "eu-central"]),
        (GOOD, IMPOSTOR, ["eu-west"]),
        (DEAD, DEAD, []),
    ],
)
def test_readable(primary: NodeView, standby: NodeView, regions: list[str]) -> None:
    assert readable(STATE, primary, standby) == regions


def test_steer_drops_the_unreachable_and_never_leaves_nobody() -> None:
    orders = {"london": ["a", "b", "c"], "tokyo": ["c", "a"]}
    reachable = {
        ("london", "a"): False,
        ("london", "b"): True,
        ("london", "c"): True,
        ("tokyo", "c"): False,
        ("tokyo", "a"): False,
    }
    assert steer(orders, reachable) == {"london": ["b", "c"], "tokyo": ["c", "a"]}
