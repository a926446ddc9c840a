"""Points of presence on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stormgate.documents import load_target
from stormgate.lab.defects import planted
from stormgate.lab.design.plan import plan
from stormgate.lab.errors import LabError
from stormgate.model import Target

TARGETS = Path(__file__).parents[3] / "targets"


def asking(pops: Any) -> Target:
    target = load_target(TARGETS / "lab.yaml")
    lab = {**(target.provision or {})["lab"], "pops": pops}
    return replace(target, provision={"lab": lab})


def test_none_unless_asked_for() -> None:
    layout = plan(load_target(TARGETS / "lab.yaml"))
    assert layout.pops == ()
    assert all(len(order) == 4 for order in layout.orders.values())


def test_a_number_stands_where_the_largest_populations_are() -> None:
    layout = plan(asking(3))
    assert [pop.name for pop in layout.pops] == ["pop-new-york", "pop-london", "pop-frankfurt"]
    parts = [part for part in layout.parts if part.kind == "pop"]
    assert [(part.name, part.region) for part in parts] == [
        (pop.component, None) for pop in layout.pops
    ]
    # The nearest first, then the next-nearest, then the edge of a region.
    assert layout.orders["london"] == ("pop-london/pop", "pop-frankfurt/pop", "eu-west/edge")
    names = {link.name: link.rtt_ms for link in layout.links}
    assert names["link:population/london->pop-london/pop"] == 1
    assert names["link:pop-london/pop->eu-west/service"] == 13
    assert "link:population/london->us-west/edge" not in names
    ways = {
        f"link:population/{who}->{edge}" for who, order in layout.orders.items() for edge in order
    }
    assert ways <= set(names)


def test_the_mix_of_the_world_has_its_points_near() -> None:
    layout = plan(load_target(TARGETS / "chenu-edge.yaml"))
    assert len(layout.pops) == 16
    assert len(layout.orders) == 40
    ways = {(link.source, link.destination): link.rtt_ms for link in layout.links}
    near = [
        p.share
        for p in layout.target.populations
        # 12 ms of last mile, and 38 ms for the way and the system.
        if ways[f"population/{p.name}", layout.orders[p.name][0]] <= 12 + 30
    ]
    assert sum(near) > 0.9
    shut = planted("far-edges").layout(layout)
    assert {edge.partition("/")[2] for order in shut.orders.values() for edge in order} == {"edge"}


@pytest.mark.parametrize(
    "pops",
    [
        7,
        -1,
        True,
        "6",
        [{"name": "x"}],
        [{"name": "eu-west", "latitude": 1, "longitude": 1}],
        [{"name": "a", "latitude": 1, "longitude": 1}] * 2,
        [{"name": "A/b", "latitude": 1, "longitude": 1}],
    ],
)
def test_what_cannot_be_is_refused(pops: Any) -> None:
    with pytest.raises(LabError, match=r"provision\.lab\.pops"):
        plan(asking(pops))
