"""The arithmetic of a verdict: bounds for shares and quantiles under bursts, Holm, Hoeffding, and
sample sizes.

Shares and confidences are fractions of one, `alpha` is 1 - confidence, every bound is one-sided.
scipy is imported on first use.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@functools.cache
def special() -> Any:
    """The compiled functions of scipy.special, on first use and without the package around them.

    Its __init__ wraps each function for other array libraries and rewrites their docstrings: 0.15
    s, a third of the time to judge a small run. The functions are the same objects either way, and
    `import scipy.special` elsewhere still does all of it. Should a release of scipy not allow this,
    the whole package is imported.
    """
    name = "scipy.special"
    if name not in sys.modules:
        import scipy

        stand_in = types.ModuleType(name)
        stand_in.__path__ = [f"{path}/special" for path in scipy.__path__]
        sys.modules[name] = stand_in
        try:
            return importlib.import_module(f"{name}._ufuncs")
        except ImportError:
            pass
        finally:
            del sys.modules[name]
    return importlib.import_module(name)


def upper_bound(bad: Any, total: Any, alpha: float) -> Array:
    """Clopper-Pearson upper bound for the share of bad ones: Beta^-1(1 - alpha; k + 1, n - k).
    Counts may be fractional (k/DEFF).

    1.0 where nothing was counted. Source: Clopper and Pearson 1934, in the Beta form.
    """
    k, n = np.broadcast_arrays(np.asarray(bad, float), np.asarray(total, float))
    room = n - k
    safe = np.where(room > 0, room, 1.0)
    return np.where(room > 0, special().betaincinv(k + 1.0, safe, 1.0 - alpha), 1.0)


def lower_bound(bad: Any, total: Any, alpha: float) -> Array:
    """Clopper-Pearson lower bound for the share of bad ones: Beta^-1(alpha; k, n - k + 1). 0.0
    where none was bad.
    """
    k, n = np.broadcast_arrays(np.asarray(bad, float), np.asarray(total, float))
    safe = np.where(k > 0, k, 1.0)
    return np.where(k > 0, special().betaincinv(safe, np.maximum(n - k, 0.0) + 1.0, alpha), 0.0)


def tail_p(bad: Any, total: Any, allowed: float) -> Array:
    """P(at least `bad` of `total` | share = allowed): the p-value of "worse than allowed". 1.0
    where none was bad.
    """
    k, n = np.broadcast_arrays(np.asarray(bad, float), np.asarray(total, float))
    safe = np.where(k > 0, k, 1.0)
    return np.where(k > 0, special().betainc(safe, np.maximum(n - k, 0.0) + 1.0, allowed), 1.0)


def design_effect(counts: Any, total: float, blocks: int) -> float:
    """How many requests count as one because failures come in bursts; 1.0 for independent ones.

    DEFF = max(1, Var(x_b / m) / (p (1 - p) / m)) over `blocks` blocks of mean size m = total /
    blocks, where x_b are the bad ones per block; blocks that are not in `counts` had none. All bad:
    one block is one observation, DEFF = m. Source: Kish 1965.
    """
    x = np.asarray(counts, float)
    return float(_design_effects(np.array([x.sum()]), np.array([(x * x).sum()]), total, blocks)[0])


def _design_effects(k: Array, squares: Array, total: float, blocks: int) -> Array:
    if blocks < 2 or total <= 0:
        return np.ones_like(k)
    variance = (squares - k * k / blocks) / (blocks - 1)
    p = k / total
    expected = (total / blocks) * p * (1.0 - p)
    clean = expected > 0
    ratio = np.where(
        clean, variance / np.where(clean, expected, 1.0), np.where(k > 0, total / blocks, 1.0)
    )
    return np.maximum(ratio, 1.0)


def burst_upper_bound(
    counts: Any, total: float, blocks: int, alpha: float, least_deff: float = 1.0
) -> float:
    """Upper bound for the bad share when bad ones come in bursts: `upper_bound(k / DEFF, n /
    DEFF)`, made monotone.

    DEFF alone can fall when an error is added elsewhere, so a worse run could get a better bound.
    The worst bound over "only the j worst blocks had happened" cannot: it is the largest over all
    smaller histories. `least_deff` = total / blocks makes every block one observation, for a claim
    about seconds that this run did not see.
    """
    if total <= 0:
        return 1.0
    x = np.sort(np.asarray(counts, float))[::-1]
    x = x[x > 0]
    if not x.size:
        return float(upper_bound(0.0, total / least_deff, alpha))
    k, squares = np.cumsum(x), np.cumsum(x * x)
    if (
        x.size > 4096
        # neighbours differ by less than the last digit shown: a thinned grid keeps long outages
        # affordable
    ):
        keep = np.unique(
            np.concatenate([np.arange(1024), np.linspace(1024, x.size - 1, 3072).astype(int)])
        )
        k, squares = k[keep], squares[keep]
    deff = np.maximum(_design_effects(k, squares, total, blocks), least_deff)
    return float(upper_bound(k / deff, total / deff, alpha).max())


def burst_caps(largest: float) -> Array:
    """The caps at which a block's bad ones are cut off by `burst_tail`: 1 to 32, then 3 % steps up
    to `largest`.
    """
    steps = math.ceil(math.log(max(largest, 32.0) / 32.0) / math.log(1.03))
    caps = np.concatenate([np.arange(1.0, 33.0), np.floor(32.0 * 1.03 ** np.arange(1, steps + 1))])
    return np.unique(caps[caps <= max(largest, 1.0)])


def burst_tail(
    counts: Any, total: float, blocks: int, allowed: float, alpha: float
) -> tuple[float, float]:
    """(p-value of "worse than allowed", lower bound of the bad share), whatever the bursts, if 1 s
    blocks are independent.

    Cut every block at c. A block within [0, c] of mean u varies most if it is all or nothing, so
    DEFF is at most (c - u) / (1 - u / m): nothing about bursts has to be estimated, and for each c
    more errors can only make it worse. The best c is taken. For scattered errors that is c = 1 with
    DEFF 1; for a steady share of errors, c just below their usual number.
    """
    x = np.asarray(counts, float)
    if total <= 0 or not x.size or x.max() <= 0:
        return 1.0, 0.0
    mean = total / blocks
    caps = burst_caps(min(float(x.max()), mean))
    capped = np.minimum(x[None, :], caps[:, None]).sum(axis=1)
    usual = capped / blocks
    room = np.maximum(1.0 - usual / mean, 1e-9)
    deff = np.maximum(1.0, np.minimum(caps, (caps - usual) / room * blocks / max(blocks - 1, 1e-9)))
    p = tail_p(capped / deff, total / deff, allowed)
    low = lower_bound(capped / deff, total / deff, alpha)
    return float(p.min()), float(low.max())


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects, in the order given. Source: Holm
    1979.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = [False] * len(p_values)
    for rank, index in enumerate(order):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


@functools.lru_cache(maxsize=65536)
def quantile_ranks(n: int, quantile: float, alpha: float) -> tuple[int | None, int | None]:
    """Ranks (1-based, r <= s) of the order statistics that bound a quantile from below and above;
    None: n is too small.

    s = min{s : P(Bin(n, q) <= s - 1) >= 1 - alpha}; r = max{r : P(Bin(n, q) >= r) >= 1 - alpha}.
    Source: Conover 1999, 3.2.
    """
    if n <= 0:
        return None, None

    def first(level: float) -> int:
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if float(special().bdtr(middle, n, quantile)) >= level:
                high = middle
            else:
                low = middle + 1
        return low

    upper = first(1.0 - alpha) + 1
    lower = first(alpha)
    if lower >= 1 and float(special().bdtr(lower - 1, n, quantile)) > alpha:
        lower -= 1
    return (lower if lower >= 1 else None), (upper if upper <= n else None)


def requests_needed(allowed: float, alpha: float, bad: int = 0) -> int:
    """The smallest n at which `bad` bad ones still pass: upper_bound(bad, n) <= allowed. 29,956 for
    1e-4, 0.05 and none.
    """
    if allowed <= 0:
        raise ValueError("a bound of zero cannot be shown with any number of requests")
    if allowed >= 1:
        return bad + 1
    if bad == 0:
        return max(1, math.ceil(math.log(alpha) / math.log1p(-allowed)))
    low, high = bad + 1, max(2 * (bad + 1), math.ceil((bad + 20) * 4 / allowed))
    while low < high:
        middle = (low + high) // 2
        if float(special().bdtr(bad, middle, allowed)) <= alpha:
            high = middle
        else:
            low = middle + 1
    return low


def pass_limit(total: int, allowed: float, alpha: float) -> int:
    """The largest count of (independent) bad ones that still passes; -1: even none is not
    enough.
    """
    low, high = -1, total
    while low < high:
        middle = (low + high + 1) // 2
        if float(upper_bound(middle, total, alpha)) <= allowed:
            low = middle
        else:
            high = middle - 1
    return low


def fail_limit(total: int, allowed: float, alpha: float) -> int:
    """The smallest count of (independent) bad ones that fails; total + 1: nothing can."""
    low, high = 0, total + 1
    while low < high:
        middle = (low + high) // 2
        if float(lower_bound(middle, total, alpha)) > allowed:
            high = middle
        else:
            low = middle + 1
    return low


def pass_probability(total: int, truth: float, allowed: float, alpha: float) -> float:
    """P(PASS) of a service whose bad share truly is `truth`, for `total` independent requests."""
    limit = pass_limit(total, allowed, alpha)
    if limit < 0:
        return 0.0
    return float(special().bdtr(limit, total, truth))


def requests_for_power(allowed: float, truth: float, alpha: float, power: float = 0.8) -> int:
    """The smallest n from which a service at `truth` passes with probability >= `power` (63,232 for
    1e-4, 2e-5, 0.05).

    Follows the steps of `pass_limit` upwards; raises ValueError unless truth < allowed.
    """
    if not 0 <= truth < allowed:
        raise ValueError(
            f"no number of requests lets a bad share of {truth} pass a limit of {allowed} reliably"
        )
    bad = 0
    while True:
        n = requests_needed(allowed, alpha, bad)
        if truth == 0 or float(special().bdtr(bad, n, truth)) >= power:
            return n
        bad += 1 + bad // 50


def hoeffding_margin(cap: float, trials: int, alpha: float) -> float:
    """What to add to the mean of `trials` values in [0, cap] for an upper bound of the true mean: C
    sqrt(ln(1/alpha) / 2M).
    """
    return cap * math.sqrt(math.log(1.0 / alpha) / (2.0 * trials))


def exceed_probability_bound(trials: int, alpha: float) -> float:
    """If all of `trials` faults stayed under the limit, P(the next one does not) is at most this: 1
    - alpha^(1/N).
    """
    return 1.0 - alpha ** (1.0 / trials) if trials > 0 else 1.0


def conjunction_factor(weights: Sequence[float], coverage: float) -> int:
    """By how much alpha is divided per cell when only `coverage` of the weight must pass.

    The claim is wrong only if cells of more than 1 - coverage of the weight are bad; the largest
    such minimal set is the smallest cells. Source: partial conjunction, Benjamini and Heller 2008.
    1 when every cell must pass.
    """
    total = sum(weights)
    room, count = (1.0 - coverage) * total, 0
    for weight in sorted(weights):
        count += 1
        room -= weight
        if room < -1e-12 * max(total, 1.0):
            break
    return max(1, count)
