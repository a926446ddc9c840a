"""Every number of the statistics, against published tables and scipy's own distributions."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from stormgate.judge.statistics import bounds as s

NEEDED = {
    0.99: (299, 473, 628, 773, 1_049),
    0.999: (2_995, 4_742, 6_294, 7_752, 10_511),
    0.9999: (29_956, 47_437, 62_956, 77_535, 105_128),
    0.99999: (299_572, 474_385, 629_578, 775_364, 1_051_301),
}


@pytest.mark.parametrize("target", NEEDED)
def test_requests_needed_table(target: float) -> None:
    assert tuple(s.requests_needed(1 - target, 0.05, k) for k in (0, 1, 2, 3, 5)) == NEEDED[target]


def test_requests_needed_at_other_confidences() -> None:
    assert s.requests_needed(1e-4, 0.01) == 46_050
    assert s.requests_needed(1e-4, 0.025) == 36_887
    assert [s.requests_needed(1 - q, 0.05) for q in (0.95, 0.99, 0.999, 0.9999)] == [
        59,
        299,
        2_995,
        29_956,
    ]
    with pytest.raises(ValueError, match="zero"):
        s.requests_needed(0.0, 0.05)


@pytest.mark.parametrize("k", [0, 1, 3, 20])
def test_one_request_fewer_is_not_enough(k: int) -> None:
    n = s.requests_needed(1e-4, 0.05, k)
    assert float(s.upper_bound(k, n, 0.05)) <= 1e-4 < float(s.upper_bound(k, n - 1, 0.05))


@pytest.mark.parametrize(
    ("n", "passes", "fails"), [(29_956, 0, 7), (100_000, 4, 16), (1_000_000, 83, 118)]
)
def test_pass_and_fail_limits(n: int, passes: int, fails: int) -> None:
    assert s.pass_limit(n, 1e-4, 0.05) == passes
    assert s.fail_limit(n, 1e-4, 0.05) == fails


@pytest.mark.parametrize(("truth", "needed"), [(2e-5, 63_232), (5e-5, 194_761)])
def test_requests_for_power(truth: float, needed: int) -> None:
    # The published figures come from a coarser search; ours is the first size at which a larger
    # count still passes.
    found = s.requests_for_power(1e-4, truth, 0.05)
    assert found <= needed <= 1.01 * found
    assert s.pass_probability(found, truth, 1e-4, 0.05) >= 0.8
    with pytest.raises(ValueError, match="no number"):
        s.requests_for_power(1e-4, 1e-4, 0.05)


def test_pass_probability_at_the_limit_is_within_alpha() -> None:
    for n in (29_956, 60_000, 300_000):
        assert s.pass_probability(n, 1e-4, 1e-4, 0.05) <= 0.05
    assert s.pass_probability(100, 0.0, 1e-4, 0.05) == 0.0


def test_point_estimates_would_pass_wrongly() -> None:
    # Why there are bounds at all: truly 99.98 %, judged at 99.99 % by the point estimate of 10,000
    # requests.
    assert binom.cdf(1, 10_000, 2e-4) == pytest.approx(0.41, abs=0.005)
    assert s.pass_probability(10_000, 2e-4, 1e-4, 0.05) == 0.0


@given(st.integers(1, 10**7), st.floats(0, 1), st.sampled_from([0.05, 0.01]))
@settings(deadline=None)
def test_bounds_are_clopper_pearson(n: int, share: float, alpha: float) -> None:
    k = int(n * share)
    upper, lower = float(s.upper_bound(k, n, alpha)), float(s.lower_bound(k, n, alpha))
    assert upper == pytest.approx(1.0 if k == n else beta.ppf(1 - alpha, k + 1, n - k), rel=1e-6)
    assert lower == pytest.approx(
        0.0 if k == 0 else beta.ppf(alpha, k, n - k + 1), rel=1e-6, abs=1e-12
    )
    assert lower <= k / n <= upper
    assert float(s.tail_p(k, n, 1e-3)) == pytest.approx(
        binom.sf(k - 1, n, 1e-3), rel=1e-6, abs=1e-12
    )


def test_quantile_ranks() -> None:
    assert s.quantile_ranks(10_000, 0.99, 0.05) == (9_883, 9_917)
    assert s.quantile_ranks(298, 0.99, 0.05)[1] is None
    assert s.quantile_ranks(299, 0.99, 0.05)[1] == 299
    assert s.quantile_ranks(0, 0.5, 0.05) == (None, None)
    assert s.quantile_ranks(2, 0.01, 0.05)[0] is None


@given(st.integers(1, 5000), st.floats(0.05, 0.999), st.sampled_from([0.05, 0.01]))
@settings(deadline=None)
def test_quantile_ranks_are_the_tightest_that_hold(n: int, q: float, alpha: float) -> None:
    low, high = s.quantile_ranks(n, q, alpha)
    if high is not None:
        assert binom.cdf(high - 1, n, q) >= 1 - alpha > binom.cdf(high - 2, n, q)
    else:
        assert binom.cdf(n - 1, n, q) < 1 - alpha
    if low is not None:
        assert binom.sf(low - 1, n, q) >= 1 - alpha > binom.sf(low, n, q)


def test_design_effect_against_its_definition() -> None:
    rng = np.random.default_rng(3)
    x = rng.poisson(3, 200) * (rng.random(200) < 0.2)
    n, blocks = 200 * 500, 200
    m, p = n / blocks, x.sum() / n
    assert s.design_effect(x, n, blocks) == pytest.approx(np.var(x / m, ddof=1) / (p * (1 - p) / m))
    assert s.design_effect(np.ones(7), 10_000, 100) == 1.0
    assert s.design_effect([500], 100_000, 200) == pytest.approx(502, rel=0.02)
    assert (
        s.design_effect([500] * 200, 100_000, 200) == 500
    )  # all bad: one block is one observation
    assert s.design_effect([], 100, 1) == 1.0


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=40),
    st.integers(0, 39),
    st.integers(1, 40),
    st.sampled_from([0.001, 0.02, 0.3]),
)
@settings(max_examples=300, deadline=None)
def test_more_errors_never_improve_a_bound(
    counts: list[int], at: int, more: int, allowed: float
) -> None:
    before = np.array(counts, float)
    after = before.copy()
    after[at % len(after)] += more
    total, blocks = 40 * 120.0, 40
    assert (
        s.burst_upper_bound(after, total, blocks, 0.05)
        >= s.burst_upper_bound(before, total, blocks, 0.05) - 1e-12
    )
    assert (
        s.burst_tail(after, total, blocks, allowed, 0.05)[0]
        <= s.burst_tail(before, total, blocks, allowed, 0.05)[0] + 1e-12
    )
    assert (
        s.burst_tail(after, total, blocks, allowed, 0.05)[1]
        >= s.burst_tail(before, total, blocks, allowed, 0.05)[1] - 1e-12
    )


def test_burst_bounds_without_bursts_are_clopper_pearson() -> None:
    ones = np.ones(9)
    assert s.burst_upper_bound(ones, 100_000, 600, 0.05) == pytest.approx(
        float(s.upper_bound(9, 100_000, 0.05))
    )
    p, low = s.burst_tail(ones, 100_000, 600, 1e-5, 0.05)
    assert p == pytest.approx(float(s.tail_p(9, 100_000, 1e-5)))
    assert low == pytest.approx(float(s.lower_bound(9, 100_000, 0.05)))
    assert s.burst_tail([], 100, 10, 0.1, 0.05) == (1.0, 0.0)
    assert s.burst_upper_bound([], 0, 10, 0.05) == 1.0


def test_total_outage_fails_and_one_burst_does_not() -> None:
    assert s.burst_tail(np.full(30, 400.0), 30 * 400, 30, 0.01, 0.05)[0] < 1e-9
    assert s.burst_tail([400.0], 100 * 400, 100, 0.001, 0.05)[0] > 0.05


def test_holm() -> None:
    assert s.holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert s.holm([0.02, 0.02], 0.05) == [True, True]
    assert s.holm([0.03, 0.9], 0.05) == [False, False]
    assert s.holm([], 0.05) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 7), st.floats(0, 1))
@settings(deadline=None)
def test_holm_is_monotone(p: list[float], at: int, factor: float) -> None:
    smaller = list(p)
    smaller[at % len(p)] *= factor
    assert all(b or not a for a, b in zip(s.holm(p, 0.05), s.holm(smaller, 0.05), strict=True))


def test_hoeffding_and_trials() -> None:
    assert s.hoeffding_margin(10, 10, 0.05) == pytest.approx(3.87, abs=0.01)
    bounds = [s.exceed_probability_bound(n, 0.05) for n in (1, 5, 10, 20, 59)]
    assert bounds == pytest.approx([0.95, 0.45, 0.26, 0.14, 0.05], abs=0.005)
    assert s.exceed_probability_bound(0, 0.05) == 1.0


def test_conjunction_factor() -> None:
    assert s.conjunction_factor([1.0] * 200, 0.9) == 21  # Benjamini-Heller: n - u + 1
    assert s.conjunction_factor([1.0] * 5, 1.0) == 1
    assert s.conjunction_factor([0.9, 0.05, 0.05], 0.9) == 3
    assert s.conjunction_factor([0.5, 0.5], 0.6) == 1


def test_curtailment_counts() -> None:
    assert s.fail_limit(100_000, 1e-4, 0.05) == 16
    assert s.fail_limit(10, 0.9, 0.05) == 11  # nothing can fail it


def test_a_steady_share_of_errors_fails_without_an_order_of_magnitude() -> None:
    x = np.random.default_rng(1).binomial(400, 0.667, 100)
    p, low = s.burst_tail(x, 40_000, 100, 0.6, 0.05)
    assert p < 1e-6
    assert low > 0.63


def test_only_what_is_needed_of_scipy_is_imported_and_the_rest_still_can_be() -> None:
    code = (
        "import sys; from stormgate.judge.statistics import bounds as s; assert 'scipy' not in "
        "sys.modules;"
        "assert round(float(s.upper_bound(0, 29956, 0.05)), 6) == 1e-4;"
        "assert s.quantile_ranks(10_000, 0.99, 0.05) == (9883, 9917);"
        "loaded = set(sys.modules); assert not loaded & {'scipy.special', 'scipy.stats', "
        "'pandas'}, loaded;"
        "import scipy.special, scipy.stats; assert scipy.special.betaincinv is "
        "s.special().betaincinv;"
        "assert scipy.special.__init__ and abs(scipy.stats.norm.ppf(0.95) - 1.644854) < 1e-6"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_a_scipy_that_does_not_allow_it_is_imported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.special

    real = importlib.import_module

    def refusing(name: str) -> object:
        if name == "scipy.special._ufuncs":
            raise ImportError(name)
        return real(name)

    monkeypatch.delitem(sys.modules, "scipy.special")
    monkeypatch.setattr(s.importlib, "import_module", refusing)
    assert s.special.__wrapped__().betainc is scipy.special.betainc
