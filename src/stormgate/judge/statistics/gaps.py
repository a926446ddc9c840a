"""Silences of Poisson streams: what a cell that sends now and then can show of an outage.

A cell passes failover when no silence between two good sends that touches the watched time is
longer than the limit, the one around its outage included (`judge/failover.py`). Rates are good
sends per second of one cell; times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# How finely a silence as long as the limit is followed.
_STEPS = 120
# After so many limits the ages have settled: from then on each step loses the same share.
_SETTLED = 4


@dataclass(frozen=True, slots=True)
class GapWatch:
    """What is watched of a cell: `watched_s` from the fault's request on, `beyond_s` more in which
    a silence at their end may end, and `before_s` before it, in which it must have sent something.
    """

    limit_s: float
    watched_s: float
    beyond_s: float = 0.0
    before_s: float = 10.0


def pass_chances(
    rates_per_s: Sequence[float], outage_s: float, watch: GapWatch
) -> NDArray[np.float64]:
    """P(a cell passes) for each of the cells, when it is down once for `outage_s` (0: never).

    The age of the last good send is followed in steps: a send sets it back to none, an age over the
    limit is a silence that fails. No send is good while the cell is down.
    """
    rates = np.asarray(rates_per_s, float)[:, None]
    step_s = watch.limit_s / _STEPS
    ages_s = step_s * np.arange(_STEPS)
    # The age when the fault is requested; one over the limit fails there and then.
    seen_s = min(watch.before_s, watch.limit_s)
    alive = np.exp(-rates * ages_s) * -np.expm1(-rates * step_s) * (ages_s < seen_s)
    sends = -np.expm1(-rates * step_s)[:, 0]
    # Users notice soon after the request: after half a limit, for the sake of a place.
    down = (_STEPS // 2, _STEPS // 2 + round(outage_s / step_s))
    whole = round(min(watch.watched_s, 1e9 * step_s) / step_s)
    skipped = max(0, whole - down[1] - 2 * _SETTLED * _STEPS)
    settled = np.zeros(len(rates))
    before = alive.sum(axis=1)
    for step in range(whole - skipped + round(min(watch.beyond_s, watch.limit_s) / step_s)):
        if step == down[1] + _SETTLED * _STEPS and skipped:
            left = alive.sum(axis=1)
            kept = np.divide(left, before, out=np.zeros_like(left), where=before > 0)
            alive *= (kept**skipped)[:, None]
        before = alive.sum(axis=1)
        if not down[0] <= step < down[1]:
            sent = alive.sum(axis=1) * sends
            alive *= 1.0 - sends[:, None]
        else:
            sent = np.zeros(len(rates))
        alive[:, 1:] = alive[:, :-1]
        # After the watched time a silence only has to end; until then the next one begins.
        over = step >= whole - skipped
        settled += sent if over else 0.0
        alive[:, 0] = 0.0 if over else sent
    passed: NDArray[np.float64] = settled + alive.sum(axis=1)
    return passed


def rate_needed(cells: int, outage_s: float, watch: GapWatch, chance: float = 0.8) -> float:
    """The smallest rate of each cell at which all of them pass with this chance; infinite where the
    outage leaves no room.
    """
    if outage_s >= watch.limit_s:
        return math.inf
    low = high = 0.5 / watch.limit_s

    def reached(rate: float) -> bool:
        return float(pass_chances([rate], outage_s, watch)[0]) ** cells >= chance

    while not reached(high):
        low, high = high, high * 2
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
