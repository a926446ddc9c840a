"""How far a fault reaches, from what its actions select."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stormgate.documents.components import Components
from stormgate.documents.experiments import Touched
from stormgate.documents.production import reach
from stormgate.model import Component, Population, Region, Target


def process(name: str, region: str) -> Component:
    return Component(name=name, kind="service", backend="process", region=region)


TARGET = Target(
    name="t",
    regions=tuple(Region(name=name, latitude=0, longitude=0) for name in ("a", "b", "c")),
    populations=(
        Population(name="near-a", share=0.6, latitude=0, longitude=0, edges=("a", "b")),
        Population(name="near-b", share=0.3, latitude=0, longitude=0, edges=("edge-b", "a")),
        Population(name="near-c", share=0.1, latitude=0, longitude=0, edges=("c",)),
    ),
    components=(
        process("web-a", "a"),
        process("web-b", "b"),
        process("edge-b", "b"),
        Component(
            name="link",
            kind="link",
            backend="toxiproxy",
            attributes={"source": "web-a", "destination": "web-b"},
        ),
        Component(name="all", kind="group", backend="group", parts=("web-a", "link")),
        Component(name="loop", kind="group", backend="group", parts=("loop",)),
    ),
)


@pytest.mark.parametrize(
    ("selected", "regions", "users"),
    [
        (set(), set(), 0),
        ({"web-a"}, {"a"}, 0.6),
        ({"web-b"}, {"b"}, 0.3),
        ({"c"}, {"c"}, 0.1),
        ({"link"}, {"a", "b"}, 1),  # the only link: nobody knows who is left without it
        ({"all"}, {"a", "b"}, 1),
        ({"loop"}, {"a", "b", "c"}, 1),  # it is nowhere
        ({"web-a", "web-b", "edge-b"}, {"a", "b"}, 1),
    ],
)
def test_reach(selected: set[str], regions: set[str], users: float) -> None:
    found, share = reach(Touched(components=selected), TARGET)
    assert found == regions
    assert share == pytest.approx(users)


def test_what_nobody_knows_counts_as_everything() -> None:
    everything = {"a", "b", "c"}, 1.0
    assert reach(Touched(everyone=["x:1"]), TARGET) == everything
    assert reach(Touched(strangers=["x:1"]), TARGET) == everything
    assert reach(Touched(populations={"near-c"}), TARGET) == (set(), 0.1)
    nowhere = replace(TARGET.populations[0], edges=("cdn",))
    odd = replace(TARGET, populations=(nowhere, *TARGET.populations[1:]))
    assert reach(Touched(components={"web-b"}), odd) == ({"b"}, pytest.approx(0.9))


def test_users_whose_edges_are_not_known_yet_count_in_full() -> None:
    unknown = Target(
        name="t",
        regions=TARGET.regions,
        populations=(Population(name="p", share=1, latitude=0, longitude=0),),
    )
    assert reach(Touched(components={"a"}), unknown)[1] == 1


@pytest.mark.parametrize(
    ("argument", "value", "names", "problem"),
    [
        ("component", "web-a", {"web-a"}, ""),
        ("component", "web-*", {"web-a", "web-b"}, ""),
        ("component", ["web-a", {"kind": "link"}], {"web-a", "link"}, ""),
        ("component", {"region": "b"}, {"web-b", "edge-b"}, ""),
        ("component", "wb-a", set(), "the target has no component 'wb-a'"),
        ("component", {"kind": "databse"}, set(), "no component has kind 'databse'"),
        ("component", {"knd": "link"}, set(), "unknown key 'knd' in a selection"),
        ("component", {"kind": "service", "share": "some"}, set(), "share 'some' is not one of"),
        ("component", 5, set(), "5 selects nothing"),
        ("component", {}, set(), "a selection has"),
        ("region", "a", {"a"}, ""),
        ("region", "z", set(), "unknown region 'z'"),
        ("sets", [["a"], ["b", "c"]], {"a", "b", "c"}, ""),
    ],
)
def test_selection_before_the_run(
    argument: str, value: object, names: set[str], problem: str
) -> None:
    found = Components(TARGET).selected(argument, value)
    assert found.names == names
    assert [problem in message for message, _ in found.problems] == ([True] if problem else [])


@pytest.mark.parametrize(
    "value", [{"kind": "service", "share": "one of"}, {"kind": "service", "role": "primary"}, None]
)
def test_what_is_drawn_at_run_time_is_said_to_be(value: object) -> None:
    assert Components(TARGET).selected("component", value).later
