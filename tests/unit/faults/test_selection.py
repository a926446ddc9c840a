"""Selecting what to break: empty is an error, a share is never nothing, the same seed draws the
same.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.faults.errors import EmptySelection
from stormgate.faults.selection import Selector, select, share_count
from stormgate.model import Component

REGIONS = ("us-east", "eu-west", "eu-central")


def component(name, kind="cache", region=None, **attributes):
    return Component(name=name, kind=kind, backend="process", region=region, attributes=attributes)


WORLD = [
    *(component(f"{region}/cache", region=region) for region in REGIONS),
    component("eu-west/db-eu", "database", "eu-west", shard="eu"),
    component("eu-central/db-eu", "database", "eu-central", shard="eu"),
    component("us-east/db-us", "database", "us-east", shard="us"),
]
ROLES = {"eu-west/db-eu": "standby", "eu-central/db-eu": "primary", "us-east/db-us": "primary"}


def names(**given):
    return [found.name for found in select(WORLD, Selector.of(given), seed="7", roles=ROLES)]


@pytest.mark.parametrize(
    ("given_selection", "expected"),
    [
        ({"name": "eu-west/cache"}, ["eu-west/cache"]),
        ({"name": "eu-*/cache"}, ["eu-central/cache", "eu-west/cache"]),
        ({"kind": "database", "region": "eu-west"}, ["eu-west/db-eu"]),
        ({"kind": "database", "role": "primary"}, ["eu-central/db-eu", "us-east/db-us"]),
        ({"kind": "database", "role": "primary", "where": {"shard": "eu"}}, ["eu-central/db-eu"]),
        ({"where": {"shard": "eu"}, "role": "standby"}, ["eu-west/db-eu"]),
        ({"kind": "cache", "share": 3}, ["eu-central/cache", "eu-west/cache", "us-east/cache"]),
    ],
)
def test_all_conditions_must_match(given_selection, expected):
    assert names(**given_selection) == expected


@pytest.mark.parametrize(
    ("given_selection", "says"),
    [
        ({"name": "eu-west/cash"}, "eu-west/cash"),
        ({"kind": "cache", "region": "mars"}, "mars"),
        ({"kind": "database", "role": "leader"}, "leader"),
        ({"where": {"shard": "eu", "x": "1"}}, "x="),
        ({"kind": "cache", "share": 4}, "there are 3"),
        ({"kind": "cache", "share": 0}, "there are 3"),
        ({"kind": "cache", "share": "0%"}, "0%"),
        ({"kind": "cache", "share": "most"}, "most"),
        ({"kind": "cache", "share": True}, "True"),
        ({"sort": "cache"}, "sort"),
        ({}, "nothing at all"),
    ],
)
def test_an_empty_selection_is_an_error_that_says_why(given_selection, says):
    with pytest.raises(EmptySelection, match=says.replace("(", r"\(")):
        names(**given_selection)


def test_a_link_name_is_taken_literally_but_for_its_wildcards():
    links = [component("link:a[1]->b", "link"), component("link:a1->b", "link")]
    assert [c.name for c in select(links, Selector(name="link:a[1]->b"), seed="")] == [
        "link:a[1]->b"
    ]
    assert len(select(links, Selector(name="link:*->b"), seed="")) == 2


@pytest.mark.parametrize(
    ("share", "total", "expected"),
    [
        ("all", 5, 5),
        ("one of", 5, 1),
        ("half of", 5, 3),
        ("half", 1, 1),
        ("20%", 2, 1),
        ("50%", 4, 2),
        ("100%", 3, 3),
        (2, 3, 2),
        ("2", 3, 2),
    ],
)
def test_share_count(share, total, expected):
    assert share_count(share, total) == expected


@given(
    total=st.integers(1, 30),
    share=st.one_of(
        st.sampled_from(["all", "one of", "half of"]), st.integers(1, 100).map(lambda n: f"{n}%")
    ),
    seed=st.text(max_size=5),
    order=st.randoms(),
)
def test_a_draw_is_never_empty_repeats_and_ignores_the_order_of_candidates(
    total, share, seed, order
):
    candidates = [component(f"n{index}") for index in range(total)]
    shuffled = list(candidates)
    order.shuffle(shuffled)
    first = select(candidates, Selector(share=share), seed=seed)
    assert 1 <= len(first) == share_count(share, total) <= total
    assert len({c.name for c in first}) == len(first)
    assert select(shuffled, Selector(share=share), seed=seed) == first


def test_different_seeds_draw_differently():
    candidates = [component(f"n{index}") for index in range(10)]
    assert (
        len(
            {
                select(candidates, Selector(share="one of"), seed=str(seed))[0].name
                for seed in range(40)
            }
        )
        > 3
    )
