"""What is asked of a fault by hand before it may be made: the rules of a gate, held where it is
made. How long it may stand, how far it may reach, and what production wants besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stormgate.documents.experiments import Touched
from stormgate.documents.production import reach
from stormgate.faults import expansion
from stormgate.faults.errors import ChaosError
from stormgate.model import Component, Plan, Target

DEFAULT_S = 600.0
LONGEST_S = 3600.0
# Of what a run's guard lets a fault last: the proof before and the undo after it take time, too.
_OF_GUARD = 0.8


class Refused(ChaosError):  # noqa: N818 - named for what happened, as the others
    """It breaks a rule of safety; nothing was touched."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one fault may touch: so many regions, that share of the users (by their first
    edge); None: not said.
    """

    max_regions: int | None = None
    max_users: float | None = None


def stands_s(asked_s: float | None, plan: Plan | None) -> float:
    """How long a fault may stand before it is taken back by itself, s: as asked, or the default.
    Raises Refused for longer than is allowed.
    """
    most_s = LONGEST_S if plan is None else min(LONGEST_S, plan.guard.max_fault_s * _OF_GUARD)
    if asked_s is None:
        return min(DEFAULT_S, most_s)
    if not asked_s > 0:
        raise Refused(f"--for {asked_s:g}s is no time at all")
    if asked_s > most_s:
        whose = (
            ""
            if plan is None
            else f" (the gate's abort.maxFaultDuration is {plan.guard.max_fault_s:g} s)"
        )
        raise Refused(f"--for {asked_s:g}s: at most {most_s:g} s{whose}")
    return asked_s


def far_reach(target: Target, chosen: Sequence[Component], mode: str) -> tuple[set[str], float]:
    """The regions and the share of the users that a fault touches; what nobody knows counts as
    everything.
    """
    if mode == expansion.SURGE:
        return set(), 0.0
    return reach(Touched(components={one.name for one in chosen}), target)


def hold_bounds(target: Target, chosen: Sequence[Component], mode: str, bounds: Bounds) -> None:
    """Raises Refused when it reaches further than allowed."""
    regions, users = far_reach(target, chosen, mode)
    if bounds.max_regions is not None and len(regions) > bounds.max_regions:
        raise Refused(
            f"it touches {len(regions)} regions ({', '.join(sorted(regions))}), and "
            f"--max-regions says {bounds.max_regions}"
        )
    if bounds.max_users is not None and users > bounds.max_users + 1e-9:
        raise Refused(
            f"it touches {users:.0%} of the users, and --max-users says {bounds.max_users:.0%}"
        )


def hold_production(
    target: Target, plan: Plan | None, bounds: Bounds, *, allowed: bool, named: bool, timed: bool
) -> None:
    """What production wants, as of a gate. `allowed`: somebody said so; `named`: every component is
    named; `timed`: somebody said for how long. Raises Refused.
    """
    if target.environment != "production":
        return
    if not allowed:
        raise Refused("the target is production: --allow-production")
    if plan is None or plan.guard.error_rate is None:
        raise Refused(
            "production without an abort rule: break it while `stormgate load GATE` runs, whose "
            "gate has abort: {errorRate: …}"
        )
    if bounds.max_regions is None or bounds.max_users is None:
        raise Refused("production without a blast radius: --max-regions 1 --max-users 10%")
    if not named:
        raise Refused("in production each component is named: no wildcards, roles or shares")
    if not timed:
        raise Refused("in production somebody says for how long: --for 60s")
