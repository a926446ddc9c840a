"""How often the judge is right about services whose truth is known: 2,000 runs each, seeded."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from stormgate.judge.failover import SendSeries, traces
from stormgate.judge.statistics import bounds as s

RUNS = 2_000
ALPHA = 0.05


def bursty(
    rng: np.random.Generator, blocks: int, size: int, truth: float, burst: float
) -> np.ndarray:
    """Bad requests per block, RUNS x blocks: some blocks lose a share `burst` of their requests,
    the others none.
    """
    hit = rng.random((RUNS, blocks)) < truth / burst
    return hit * rng.binomial(size, burst, (RUNS, blocks))


def over_histories(x: np.ndarray, judge: Callable[[np.ndarray], bool]) -> float:
    """The share of runs of which `judge` says yes; runs with the same bad blocks are judged
    once.
    """
    histories = Counter(tuple(np.sort(one[one > 0]).tolist()) for one in x)
    return sum(
        times for history, times in histories.items() if judge(np.array(history, float))
    ) / len(x)


def passes(x: np.ndarray, size: int, allowed: float) -> float:
    total, blocks = size * x.shape[1], x.shape[1]
    return over_histories(x, lambda one: s.burst_upper_bound(one, total, blocks, ALPHA) <= allowed)


def fails(x: np.ndarray, size: int, allowed: float) -> float:
    total, blocks = size * x.shape[1], x.shape[1]
    return over_histories(
        x, lambda one: s.burst_tail(one, total, blocks, allowed, ALPHA)[0] <= ALPHA
    )


@pytest.mark.parametrize("burst", [0.0002, 0.02, 0.2, 1.0])
def test_a_bursty_service_at_twice_the_allowed_badness_does_not_pass(burst: float) -> None:
    # 600,000 requests in 1,200 blocks of 1 s, truly 99.98 %, against 99.99 %; 0.0002 is the service
    # without bursts.
    x = bursty(np.random.default_rng(11), 1_200, 500, 2e-4, burst)
    struck = x[x.sum(axis=1) > 0]
    assert passes(struck, 500, 1e-4) <= 0.05
    # Runs that no burst struck are clean, and say so: their claim is about their own seconds. That
    # is all that ever passes.
    assert passes(x, 500, 1e-4) <= 0.05 * len(struck) / RUNS + (RUNS - len(struck)) / RUNS
    # The claim about other seconds counts seconds, and 1,200 are too few to make it.
    assert all(
        s.burst_upper_bound(one[one > 0], 600_000, 1_200, ALPHA, least_deff=500) > 1e-4
        for one in x[:200]
    )


@pytest.mark.parametrize("burst", [0.02, 0.2, 1.0])
def test_without_the_design_effect_it_would(burst: float) -> None:
    # The published .013 / .31 / .79, and why the bounds are not plain binomial ones.
    x = bursty(np.random.default_rng(11), 1_200, 500, 2e-4, burst).sum(axis=1)
    plain = float(np.mean(s.upper_bound(x, 600_000, ALPHA) <= 1e-4))
    assert plain == pytest.approx({0.02: 0.013, 0.2: 0.31, 1.0: 0.79}[burst], abs=0.03)


def test_a_good_smooth_service_passes_at_the_planned_size() -> None:
    total = s.requests_for_power(1e-4, 1e-5, ALPHA)
    size = 500
    blocks = math.ceil(total / size)
    x = np.random.default_rng(12).binomial(size, 1e-5, (RUNS, blocks))
    share = passes(x, size, 1e-4)
    assert share >= 0.8
    assert share == pytest.approx(s.pass_probability(size * blocks, 1e-5, 1e-4, ALPHA), abs=0.03)


@pytest.mark.parametrize(
    ("blocks", "size", "allowed", "burst"),
    [
        (1_200, 500, 1e-4, 1e-4),
        (1_200, 500, 1e-4, 0.02),
        (1_200, 500, 1e-4, 1.0),
        (100, 400, 0.05, 0.05),
        (60, 100, 0.05, 1.0),
        (15, 300, 0.02, 0.2),
    ],
)
def test_a_service_exactly_at_its_limit_seldom_fails(
    blocks: int, size: int, allowed: float, burst: float
) -> None:
    x = bursty(np.random.default_rng(13), blocks, size, allowed, burst)
    assert fails(x, size, allowed) <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)


@pytest.mark.parametrize("burst", [0.05, 0.3])
def test_a_service_exactly_at_its_limit_seldom_passes(burst: float) -> None:
    # Not at all sizes: with fewer than about three bursts in a run no bound from this run alone can
    # know of them.
    x = bursty(np.random.default_rng(14), 1_000, 200, 0.02, burst)[:600]
    assert passes(x, 200, 0.02) <= 0.08  # measured 0.03 and 0.05


def test_power_to_fail_is_not_lost_to_the_caution_about_bursts() -> None:
    rng = np.random.default_rng(15)
    assert fails(rng.binomial(500, 1e-3, (500, 120)), 500, 1e-4) >= 0.99
    assert fails(rng.binomial(400, 0.062, (500, 100)), 400, 0.05) >= 0.95


def outages(seed: int, rate: float, dropped: float) -> None:
    """RUNS cells, each with one outage of known length; every interval must contain it."""
    rng = np.random.default_rng(seed)
    second = 1_000_000_000
    begin, end = rng.integers(20 * second, 21 * second, RUNS), np.zeros(RUNS, np.int64)
    end = begin + (rng.uniform(0.02, 8, RUNS) * second).astype(np.int64)
    n = int(60 * rate)
    times = np.sort(rng.integers(0, 60 * second, (RUNS, n)), axis=1)
    good = ~((times >= begin[:, None]) & (times < end[:, None]))
    keep = rng.random(times.shape) >= dropped
    cells = np.broadcast_to(np.arange(RUNS)[:, None], times.shape)
    series = SendSeries(0, 60 * second)
    order = rng.permutation(int(keep.sum()))
    series.add(cells[keep][order], times[keep][order], good[keep][order])
    found = traces(series, (20 * second, 35 * second), second, 0.99)
    assert len(found) == RUNS
    for trace in found:
        truth = (end[trace.cell] - begin[trace.cell]) / second
        assert trace.d_lo_s <= truth <= trace.d_hi_s
        assert len(trace.outages) <= 1


@pytest.mark.parametrize(("rate", "dropped"), [(20, 0.0), (10, 0.4), (2, 0.2)])
def test_every_failover_interval_contains_the_truth(rate: float, dropped: float) -> None:
    outages(round(rate), rate, dropped)


def test_simulated_bounds_are_quick() -> None:
    # 25,600 cells must be bounded in seconds: one costs well under a millisecond.
    x = np.array([3.0, 1.0, 1.0])
    begin = time.process_time()
    for _ in range(200):
        s.burst_upper_bound(x, 400, 900, ALPHA)
        s.burst_tail(x, 400, 900, 1e-3, ALPHA)
    assert (time.process_time() - begin) / 200 < 0.002
