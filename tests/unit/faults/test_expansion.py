"""What breaking a component means for its processes and links, and which links a partition cuts."""

import pytest

from stormgate.faults.errors import CannotBreak, EmptySelection
from stormgate.faults.expansion import cut_between, cut_ring, parts_of, shape_sets
from stormgate.model import Component, Region, Target


def process(name):
    return Component(
        name=name, kind=name.partition("/")[2], backend="process", region=name.partition("/")[0]
    )


def link(source, destination):
    ends = {"source": source, "destination": destination}
    return Component(
        name=f"link:{source}->{destination}", kind="link", backend="toxiproxy", attributes=ends
    )


def target(regions=("a", "b")):
    processes = [process(f"{region}/{kind}") for region in regions for kind in ("edge", "service")]
    links = [link(f"{x}/edge", f"{y}/service") for x in regions for y in regions]
    links += [link("population/users", f"{region}/edge") for region in regions]
    groups = []
    for region in regions:
        own = [c.name for c in processes if c.region == region] + [
            c.name for c in links if f"{region}/" in c.name
        ]
        groups.append(
            Component(name=region, kind="region", backend="group", region=region, parts=tuple(own))
        )
    return Target(
        name="t",
        regions=tuple(Region(name=name, latitude=0, longitude=0) for name in regions),
        components=(*processes, *links, *groups),
    )


def broken(name, mode, world=None):
    world = world or target()
    return {
        (part.component.name, part.mode) for part in parts_of(world, world.component(name), mode)
    }


CROSSING_A = ["link:a/edge->b/service", "link:b/edge->a/service", "link:population/users->a/edge"]


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        (
            "a",
            "crash",
            {("a/edge", "crash"), ("a/service", "crash"), ("link:a/edge->a/service", "refuse")}
            | {(n, "refuse") for n in CROSSING_A},
        ),
        ("a", "freeze", {("a/edge", "freeze"), ("a/service", "freeze")}),
        ("a", "blackhole", {(n, "blackhole") for n in CROSSING_A}),
        ("a", "slow", {(n, "slow") for n in CROSSING_A}),
        ("a/service", "crash", {("a/service", "crash")}),
        (
            "a/service",
            "slow",
            {("link:a/edge->a/service", "slow"), ("link:b/edge->a/service", "slow")},
        ),
        ("a/edge", "refuse", {("link:population/users->a/edge", "refuse")}),
        (
            "a/edge",
            "blackhole",
            {
                (n, "blackhole")
                for n in (
                    "link:population/users->a/edge",
                    "link:a/edge->a/service",
                    "link:a/edge->b/service",
                )
            },
        ),
        ("link:a/edge->b/service", "crash", {("link:a/edge->b/service", "refuse")}),
        ("link:a/edge->b/service", "lossy", {("link:a/edge->b/service", "lossy")}),
    ],
)
def test_what_breaks(name, mode, expected):
    assert broken(name, mode) == expected


@pytest.mark.parametrize(
    ("name", "mode", "says"),
    [
        ("link:a/edge->b/service", "freeze", "cannot freeze"),
        ("a", "explode", "unknown mode"),
        ("lone/x", "slow", "nothing to break"),
    ],
)
def test_what_cannot_break_is_an_error(name, mode, says):
    world = target()
    world = Target(name="t", components=(*world.components, process("lone/x")))
    with pytest.raises(CannotBreak, match=says):
        broken(name, mode, world)


def test_a_group_with_a_part_that_is_not_there_is_an_error():
    group = Component(name="g", kind="region", backend="group", parts=("gone",))
    with pytest.raises(CannotBreak, match="gone"):
        parts_of(Target(name="t", components=(group,)), group, "crash")


def between(cut):
    return {tuple(c.name.removeprefix("link:").split("->")) for c in cut}


def test_a_partition_cuts_between_its_sets_and_leaves_users_alone():
    assert between(cut_between(target(("a", "b", "c")), [["a"], ["b", "c"]])) == {
        ("a/edge", "b/service"),
        ("b/edge", "a/service"),
        ("a/edge", "c/service"),
        ("c/edge", "a/service"),
    }


def test_a_region_in_no_set_keeps_its_links():
    assert between(cut_between(target(("a", "b", "c")), [["a"], ["b"]])) == {
        ("a/edge", "b/service"),
        ("b/edge", "a/service"),
    }


def test_a_ring_of_four_cuts_opposite_regions():
    assert between(cut_ring(target(("a", "b", "c", "d")), ["a", "c", "b", "d"])) == {
        ("a/edge", "b/service"),
        ("b/edge", "a/service"),
        ("c/edge", "d/service"),
        ("d/edge", "c/service"),
    }


@pytest.mark.parametrize(
    "sets",
    [[["a"]], [["a"], []], [["a"], ["a", "b"]], [["a"], ["nowhere"]], []],
    ids=["one set", "empty", "overlap", "unknown", "none"],
)
def test_a_partition_of_nothing_is_an_error(sets):
    with pytest.raises(EmptySelection):
        cut_between(target(), sets)


@pytest.mark.parametrize(
    ("shape", "sizes"), [("one", (1, 4)), ("majority", (3, 2)), ("halves", (2, 3))]
)
def test_shapes(shape, sizes):
    sets = shape_sets(["e", "d", "c", "b", "a"], shape)
    assert tuple(len(each) for each in sets) == sizes
    assert sorted(name for each in sets for name in each) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("names", "shape"),
    [(["a"], "one"), (["a", "b"], "majority"), (["a", "b"], "thirds"), ([], "halves")],
)
def test_shapes_that_divide_nothing(names, shape):
    with pytest.raises(EmptySelection):
        shape_sets(names, shape)


def test_a_ring_needs_four():
    with pytest.raises(EmptySelection, match="four"):
        cut_ring(target(("a", "b", "c")), ["a", "b", "c"])
