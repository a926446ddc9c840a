"""Are the phases what the plan and the faults say they are? What lies outside of them is judged by
nobody, so a phase that is moved or cut hides what happened there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from stormgate.evidence.timeline import SECOND_NS, FaultWindow, PhaseLike
from stormgate.model import Plan, groups, phases_of_faults
from stormgate.model.course import begins_with

# How much later than something happened the supervisor may write it down.
TICK_S = 0.5
_TICK_NS = round(TICK_S * SECOND_NS)


def absent_phases(phases: Sequence[PhaseLike], plan: Plan) -> list[str]:
    """Phases of the plan that the timeline does not know, whoever looks at them."""
    wanted = {"warmup": plan.warmup_s, "steady": plan.steady_s}
    for fault in plan.faults:
        wanted |= {f"fault[{fault.name}]": 1.0, f"recovery[{fault.name}]": fault.recovery_s}
    wanted |= {name: 1.0 for group in groups(plan.faults) for name in begins_with(group)}
    wanted["final"] = plan.final_s
    seen = {phase.name for phase in phases}
    return [
        f"phase {name} was planned and is not in the timeline"
        for name, seconds in wanted.items()
        if seconds > 0 and name not in seen
    ]


def misplaced_phases(
    phases: Sequence[PhaseLike], faults: Sequence[FaultWindow], plan: Plan
) -> list[str]:
    """Phases that the plan does not have, that overlap (but for those of faults that were planned
    to) or come in another order than planned; fault phases that do not hold their fault from its
    request to its return; a recovery that does not follow its fault.
    """
    planned = ["warmup", "steady", *phases_of_faults(plan.faults), "final"]
    # Where faults overlap their phases do, in an order that nobody planned.
    together = _groups_of(plan)
    found = [f"phase {p.name[:80]} is not one of the plan" for p in phases if p.name not in planned]
    known = sorted(
        (p for p in phases if p.name in planned), key=lambda p: (p.begin_ns, planned.index(p.name))
    )
    latest = known[0] if known else None
    for before, after in itertools.pairwise(known):
        backward = planned.index(after.name) < planned.index(before.name)
        if backward and not _mates(before, after, together):
            found.append(f"{after.name} began after {before.name}, and was planned before it")
        if latest is None or (before.end_ns or 0) >= (latest.end_ns or 0):
            latest = before
        over_s = ((latest.end_ns or 0) - after.begin_ns) / SECOND_NS
        if over_s > 0 and not _mates(latest, after, together):
            found.append(f"{after.name} began {over_s:.1f} s before {latest.name} ended")
    named = {p.name: p for p in phases}
    for fault in faults:
        during, recovery = named.get(f"fault[{fault.name}]"), named.get(f"recovery[{fault.name}]")
        if during is not None:
            found += _holds(during, fault)
            if recovery is not None and during.end_ns is not None:
                gap_s = (recovery.begin_ns - during.end_ns) / SECOND_NS
                if gap_s > TICK_S:
                    found.append(f"{gap_s:.1f} s between {during.name} and {recovery.name}")
                if gap_s < 0 and during.name in together:
                    found.append(f"{recovery.name} began {-gap_s:.1f} s before {during.name} ended")
    return found


def _groups_of(plan: Plan) -> dict[str, str]:
    """The first fault of its group, by phase; of groups of several alone."""
    return {
        name: group[0].name
        for group in groups(plan.faults)
        if len(group) > 1
        for name in phases_of_faults(group)
    }


def _mates(one: PhaseLike, other: PhaseLike, together: Mapping[str, str]) -> bool:
    """Whether both are of faults that were planned to overlap."""
    return together.get(one.name, one.name) == together.get(other.name, other.name)


def _holds(phase: PhaseLike, fault: FaultWindow) -> list[str]:
    """What of a fault lies outside its phase, although users met it then."""
    problems = []
    if fault.requested_ns is not None and (
        fault.requested_ns < phase.begin_ns
        or (phase.end_ns is not None and fault.requested_ns >= phase.end_ns)
    ):
        problems.append(f"{fault.name} was requested outside of {phase.name}")
    back = [at for at in (fault.rollback_ns, fault.cleared_ns) if at is not None]
    if phase.end_ns is not None and back and phase.end_ns < min(back) - _TICK_NS:
        short_s = (min(back) - phase.end_ns) / SECOND_NS
        problems.append(f"{phase.name} ended {short_s:.1f} s before its fault was taken back")
    return problems
