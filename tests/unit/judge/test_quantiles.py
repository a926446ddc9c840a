"""Quantiles from counts, whatever the number of cells; jackknifed errors; cells and their names."""

from __future__ import annotations

import numpy as np
import pytest

from stormgate.judge.statistics.jackknife import GroupedQuantile, ratio_bounds, ratio_p
from stormgate.judge.statistics.quantiles import FINE_CELLS, Quantiles, edges_of


@pytest.mark.parametrize(("cells", "width"), [(3, 0.008), (2_000, 0.064)])
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_quantile_is_its_buckets_upper_edge(cells: int, width: float, pieces: int) -> None:
    rng = np.random.default_rng(1)
    latency = (rng.lognormal(17, 1, 20_000)).astype(np.int64)
    which = rng.integers(0, cells, len(latency))
    which[:1000] = 0
    found = Quantiles()
    for part in np.array_split(np.arange(len(latency)), pieces):
        found.add(which[part], latency[part], np.zeros(len(part), bool), int(which[part].max()) + 1)
    found.settle(cells)
    mine = np.sort(latency[which == 0])
    for rank in (1, len(mine) // 2, len(mine)):
        edge = found.at_rank(0, rank)
        assert mine[rank - 1] <= edge <= mine[rank - 1] * (1 + width) + 1


def test_buckets_do_not_depend_on_when_cells_appear() -> None:
    latency = np.full(10, 20_000_000)
    early, late = Quantiles(), Quantiles()
    early.add(np.arange(10), latency, np.zeros(10, bool), FINE_CELLS + 1)
    late.add(np.arange(10), latency, np.zeros(10, bool), 10)
    late.settle(FINE_CELLS + 1)
    assert early.at_rank(3, 1) == late.at_rank(3, 1)
    assert early.bits == late.bits


def test_failures_and_extremes() -> None:
    found = Quantiles()
    found.add(
        np.zeros(4, int),
        np.array([0, 5, 2**45, 30_000_000]),
        np.array([False, False, False, True]),
        1,
    )
    assert found.at_rank(0, 2) <= 1_040
    assert np.isinf(found.at_rank(0, 3))
    assert np.isinf(found.at_rank(0, 4))
    assert np.all(np.diff(edges_of(7)) > 0)


def _estimate(seed: int, blocks: int, shift: float, wobble: float) -> GroupedQuantile:
    """Log-normal latencies whose centre wanders from second to second."""
    rng = np.random.default_rng(seed)
    found = GroupedQuantile(blocks)
    seconds = np.repeat(np.arange(blocks), 60)
    centre = np.repeat(rng.normal(16.8 + shift, wobble, blocks), 60)
    found.add(seconds, rng.lognormal(centre, 0.4).astype(np.int64), np.zeros(len(seconds), bool))
    return found


@pytest.mark.parametrize("wobble", [0.0, 0.3])
def test_the_interval_of_a_ratio_holds_as_often_as_it_says(wobble: float) -> None:
    hits = []
    for seed in range(100):
        one, base = (_estimate(2 * seed + i, 60, 0.0, wobble).estimate(0.95) for i in (0, 1))
        assert one is not None
        assert base is not None
        _, low, high = ratio_bounds(one, base, 0.05)
        hits.append((low <= 1.0, high >= 1.0))
    for side in np.mean(hits, axis=0):
        assert side >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 100)


def test_what_a_real_difference_looks_like() -> None:
    one, base = (
        _estimate(1, 60, 0.25, 0.05).estimate(0.95),
        _estimate(2, 60, 0.0, 0.05).estimate(0.95),
    )
    assert one is not None
    assert base is not None
    ratio, low, _ = ratio_bounds(one, base, 0.05)
    assert ratio == pytest.approx(np.exp(0.25), rel=0.05)
    assert low > 1.1
    assert ratio_p(one, base, 1.1) < 0.001
    assert ratio_p(one, base, 2.0) > 0.999


def test_nothing_is_estimated_from_nothing() -> None:
    assert GroupedQuantile(20).estimate(0.5) is None
    few = GroupedQuantile(2)
    few.add(np.array([0, 1]), np.array([5, 6]), np.array([False, False]))
    assert few.estimate(0.5) is None
    failed = GroupedQuantile(20)
    failed.add(np.arange(20), np.full(20, 10**7), np.ones(20, bool))
    assert failed.estimate(0.5) is None
    assert failed.failing(0.5)
    assert not GroupedQuantile(20).failing(0.5)
