"""Shares, apportionment, nearest edges, sampling."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.geography.mix import (
    EdgeSite,
    Mix,
    MixError,
    Origin,
    apportion,
    checked,
    nearest,
    normalised,
    populations,
    rates_per_s,
    rtt_quantile_ms,
    share_within,
)


def origin(name: str, share: float, latitude: float = 0.0, longitude: float = 0.0) -> Origin:
    return Origin(name=name, share=share, latitude=latitude, longitude=longitude)


def edge(name: str, latitude: float, longitude: float) -> EdgeSite:
    return EdgeSite(name=name, latitude=latitude, longitude=longitude)


weights = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50)


@st.composite
def shares(draw: st.DrawFn) -> list[float]:
    drawn = draw(weights)
    total = math.fsum(drawn)
    return [weight / total for weight in drawn]


@given(st.integers(0, 10**12), shares())
def test_parts_add_up_and_each_is_within_one(total: int, of: list[float]) -> None:
    parts = apportion(total, of)
    whole = sum(map(Fraction, of))
    assert sum(parts) == total
    assert all(
        abs(part - total * Fraction(share) / whole) < 1
        for part, share in zip(parts, of, strict=True)
    )


@given(st.integers(0, 10**6), shares(), st.randoms())
def test_equal_shares_differ_by_at_most_one_and_larger_never_get_less(
    total: int, of: list[float], random: Random
) -> None:
    parts = apportion(total, of)
    by_share = sorted(zip(of, parts, strict=True))
    assert all(low[1] <= high[1] + (low[0] == high[0]) for low, high in pairwise(by_share))


@pytest.mark.parametrize(
    ("total", "of", "parts"),
    [
        (10, [1 / 3, 1 / 3, 1 / 3], [4, 3, 3]),
        (100, [0.5, 0.25, 0.25], [50, 25, 25]),
        (7, [0.6, 0.3, 0.1], [4, 2, 1]),
        (1, [0.2, 0.5, 0.3], [0, 1, 0]),
        (0, [1.0], [0]),
        (5, [0.0, 1.0], [0, 5]),
    ],
)
def test_largest_remainder_table(total: int, of: list[float], parts: list[int]) -> None:
    assert apportion(total, of) == parts


@pytest.mark.parametrize(
    ("total", "of"),
    [(-1, [1.0]), (5, [0.5, 0.4]), (5, [1.5, -0.5]), (5, [float("nan"), 1.0]), (5, [])],
)
def test_impossible_apportionments_are_refused(total: int, of: list[float]) -> None:
    with pytest.raises(ValueError, match=r"total|shares"):
        apportion(total, of)


@given(weights)
def test_normalising_conserves_proportions_and_sums_to_one(given_weights: list[float]) -> None:
    mix, _ = normalised(
        Mix("m", tuple(origin(f"p{i}", weight) for i, weight in enumerate(given_weights)))
    )
    assert checked(mix) is mix
    first = given_weights[0], mix.origins[0].share
    for weight, scaled in zip(given_weights, mix.origins, strict=True):
        assert scaled.share / first[1] == pytest.approx(weight / first[0])


def test_normalising_says_so_and_only_when_it_did() -> None:
    _, message = normalised(Mix("m", (origin("a", 2.0), origin("b", 6.0))))
    assert message == "mix 'm': shares summed to 8 and were scaled to 1"
    fine = Mix("m", (origin("a", 0.25), origin("b", 0.75)))
    assert normalised(fine) == (fine, None)


@pytest.mark.parametrize(
    ("mix", "says"),
    [
        (Mix("m", ()), "no origin"),
        (Mix("m", (origin("a", 0.5), origin("b", 0.4))), "sum to 0.9, not 1"),
        (Mix("m", (origin("a", 0.5), origin("a", 0.5))), "origin 'a' is listed twice"),
        (Mix("m", (origin("a", -0.5), origin("b", 1.0))), "share -0.5 of 'a'"),
        (Mix("m", (origin("a", float("nan")),)), "share nan of 'a'"),
        (Mix("m", (origin("a", 1.0, 95, 0),)), "latitude 95"),
        (
            Mix("m", (origin("a", 1.0),), (edge("e", 0, 0), edge("e", 1, 1))),
            "edge 'e' is listed twice",
        ),
    ],
)
def test_faults_are_named(mix: Mix, says: str) -> None:
    with pytest.raises(MixError) as caught:
        checked(mix)
    assert says in str(caught.value)


def test_shares_may_be_off_by_a_rounding_error_only() -> None:
    checked(Mix("m", tuple(origin(f"p{i}", 1 / 7) for i in range(7))))
    with pytest.raises(MixError):
        checked(Mix("m", (origin("a", 0.5), origin("b", 0.5 + 1e-8))))


def test_nearest_first_and_ties_by_name() -> None:
    edges = [edge("far", 0, 50), edge("b", 0, 10), edge("a", 0, -10), edge("here", 0, 0)]
    near = nearest(origin("o", 1.0), edges)
    assert [n.edge.name for n in near] == ["here", "a", "b", "far"]
    assert [n.rtt_ms for n in near] == sorted(n.rtt_ms for n in near)
    assert [n.edge.name for n in nearest(origin("o", 1.0), edges, 2)] == ["here", "a"]


def test_what_part_is_near() -> None:
    mix = Mix("m", (origin("here", 0.9), origin("there", 0.1, 0, 90)), (edge("e", 0, 0),))
    reached = [(nearest(o, mix.edges, 1)[0].rtt_ms, o.share) for o in mix.origins]
    assert share_within(reached, 10.0) == pytest.approx(0.9)
    assert share_within(reached, 1000.0) == pytest.approx(1.0)
    assert rtt_quantile_ms(reached, 0.9) == 1.0
    assert rtt_quantile_ms(reached, 0.91) > 100


def test_a_quantile_is_not_missed_by_a_rounding_error() -> None:
    assert 0.7 + 0.1 + 0.1 < 0.9
    assert rtt_quantile_ms([(1.0, 0.7), (2.0, 0.1), (3.0, 0.1), (4.0, 0.1)], 0.9) == 3.0


def test_rates_follow_shares() -> None:
    mix = Mix("m", (origin("a", 0.25), origin("b", 0.75)))
    assert rates_per_s(mix, 400.0) == {"a": 100.0, "b": 300.0}


def test_populations_of_a_target_know_their_edges_in_order() -> None:
    mix = Mix(
        "m",
        (Origin(name="o", share=1.0, latitude=0, longitude=0, country="GH"),),
        (edge("far", 0, 50), edge("near", 0, 1)),
    )
    (population,) = populations(mix)
    assert (population.name, population.edges, population.labels) == (
        "o",
        ("near", "far"),
        {"country": "GH"},
    )
