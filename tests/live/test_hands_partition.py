"""Regions cut off from each other by hand, on small servers behind a real Toxiproxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.live.chaos_fixture import World, world

from stormgate.evidence.read import read_ndjson
from stormgate.faults.context import make_context
from stormgate.faults.ledger import open_entries
from stormgate.supervise.hands.kept import KeptFaults, Order

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), ("a", "b")) as found:
        yield found


def test_regions_are_cut_off_as_one_fault_and_come_together_again(made: World) -> None:
    kept = KeptFaults(make_context(made.target, made.folder, fault="by hand", seed=0))
    order = Order(mode="partition", components=("a",), by="Ana", for_s=60, params={"cut": "refuse"})
    reply = kept.inject(order)
    assert "error" not in reply, reply
    (row,) = reply["rows"]
    assert (row["component"], row["mode"]) == ("partition a | b", "refuse")
    broken = sorted(entry.part.name for entry in open_entries(made.folder))
    assert broken == ["link:a/edge->b/service", "link:b/edge->a/service"]
    done = kept.undo(None, "Ana")
    assert (done["undone"], done["failed"]) == (["partition a | b (refuse)"], [])
    assert open_entries(made.folder) == []
    assert kept.idle
    journal = next((made.folder / "journals").glob("hand-1*")).read_text()
    assert '"func": "partition"' in journal
    events = [row["event"] for row in read_ndjson(made.folder / "timeline.ndjson")[0]]
    assert [e for e in events if e.startswith("fault.")] == [
        "fault.requested",
        "fault.acknowledged",
        "fault.observed",
        "fault.cleared",
    ]


def test_what_cannot_be_cut_is_refused_before_anything_is_broken(made: World) -> None:
    kept = KeptFaults(make_context(made.target, made.folder, fault="by hand", seed=0))
    for words, params, why in (
        (("nowhere",), {}, "no region nowhere"),
        (("a", "a,b"), {}, "share none"),
        (("a",), {"cut": "crash"}, "a link is broken by one of"),
        (("a",), {"latency_ms": 5}, "takes --cut alone"),
        ((), {}, "two or more sets"),
    ):
        order = Order(mode="partition", components=words, by="Ana", for_s=60, params=params)
        reply = kept.inject(order)
        assert why in str(reply.get("why")), reply
    assert open_entries(made.folder) == []
    assert kept.idle
