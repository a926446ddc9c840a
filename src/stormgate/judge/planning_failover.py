"""What a plan's failover objectives can show: by the silences of each cell, as the judge bounds an
outage, and not by how many requests a share would need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stormgate.evidence.timeline import SECOND_NS
from stormgate.judge.kinds.failover import LOOK_BACK_NS, LOOK_ON
from stormgate.judge.statistics.gaps import GapWatch, pass_chances, rate_needed
from stormgate.model import Plan

# A plan that passes more seldom than this, although everybody was served again in half the limit,
# does not decide.
_SELDOM = 0.5
_OFTEN = 0.8


@dataclass(frozen=True, slots=True)
class Foresight:
    """`requests` each cell needs for a chance of 80 % if every outage is half the limit; `chances`
    to pass if it is the limit, half of it, twice; `resolution_s`: by how much the smallest cell
    widens an outage, on average.
    """

    requests: int
    chances: tuple[float, float, float]
    resolution_s: float | None
    contradictions: tuple[str, ...]


def foresee(
    plan: Plan,
    spec: Any,
    names: Sequence[str],
    lengths: Mapping[str, float],
    rates_per_s: Sequence[float],
) -> Foresight:
    """The foresight of one failover objective. `names` are the phases of the fault watched for the
    shortest, `rates_per_s` the sends of each cell.
    """
    limit = float(spec.lte_s)
    faults = sum(1 for f in plan.faults if spec.fault in (None, f.name))
    sustained = float(spec.sustained_s)
    whole_s = sum(lengths.get(name, 0.0) for name in names)
    watch = GapWatch(
        limit,
        max(0.0, whole_s - sustained),
        beyond_s=sustained + min(LOOK_ON * sustained, plan.final_s),
        before_s=LOOK_BACK_NS / SECOND_NS,
    )
    cells = len(rates_per_s)
    smallest = min(rates_per_s, default=0.0)
    if smallest <= 0:
        return Foresight(0, (0.0, 0.0, 0.0), None, ("no population sends what it looks at",))
    half = float(np.prod(pass_chances(rates_per_s, limit / 2, watch))) ** faults
    needed = rate_needed(max(1, cells * faults), limit / 2, watch, _OFTEN)
    told: list[str] = []
    if half < _SELDOM:
        silent_s = math.log(max(2.0, cells * faults * smallest * whole_s)) / smallest
        told.append(
            f"would pass in {half:.0%} of the runs although everybody was served again after "
            f"{limit / 2:g} s: the smallest of {cells} cells sends {smallest:.2g}/s, silences up "
            f"to {silent_s:.1f} s are to be expected, {limit:g} s is the limit; {needed:.2g}/s in "
            "each cell would do; send more, or group by fewer columns"
        )
    recovery = min((lengths[n] for n in names if n.startswith("recovery[")), default=0.0)
    if recovery < sustained:
        told.append(
            f"a recovery of {recovery:g} s cannot show {sustained:g} s of sustained good answers"
        )
    return Foresight(
        math.ceil(needed * whole_s),
        # An outage as long as the limit is longer with what lies around it.
        (0.0, half, 0.0),
        2.0 / smallest,
        tuple(told),
    )
