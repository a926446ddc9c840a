"""Which faults of a plan stand together, and when each phase is expected. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stormgate.model.plan import Fault, Plan

# How long the wait for a trigger is taken to last, before anything ran.
WAIT_S = 2.0


def groups(faults: Sequence[Fault]) -> tuple[tuple[Fault, ...], ...]:
    """The faults that are tried together: each first one with all that overlap it, and those that
    overlap them; a fault always after the one it overlaps. What overlaps nothing that is there
    begins a group of its own.
    """
    by_name = {fault.name: fault for fault in faults}
    firsts = [fault for fault in faults if fault.overlaps not in by_name]
    found = []
    for first in firsts:
        group = [first]
        for member in group:  # grows while it is walked: whoever overlaps a member is one
            group += [one for one in faults if one.overlaps == member.name and one not in group]
        found.append(tuple(group))
    return tuple(found)


def company(name: str, faults: Sequence[Fault]) -> tuple[str, ...]:
    """The names of the other faults of its group."""
    for group in groups(faults):
        names = [fault.name for fault in group]
        if name in names:
            return tuple(other for other in names if other != name)
    return ()


def begins_with(group: Sequence[Fault]) -> list[str]:
    """The phases that the first fault of a group alone has: its wait for a trigger, if any."""
    return [f"waiting[{group[0].name}]"] if group[0].when is not None else []


def phases_of_faults(faults: Iterable[Fault]) -> list[str]:
    """Every phase that the faults of a plan have, in the order of their groups."""
    found: list[str] = []
    for group in groups(tuple(faults)):
        found += begins_with(group)
        found += [f"{part}[{one.name}]" for one in group for part in ("fault", "recovery")]
    return found


def expected_spans(plan: Plan, fault_s: float) -> list[tuple[str, float, float]]:
    """(phase, begin, end) in seconds from the beginning of the warmup, in order of their
    beginnings, where each fault stands for `fault_s`, and for longer where another is to begin
    while it does.
    """
    found: list[tuple[str, float, float]] = []
    at = 0.0
    for name, seconds in (("warmup", plan.warmup_s), ("steady", plan.steady_s)):
        found.append((name, at, at + seconds))
        at += seconds
    for group in groups(plan.faults):
        for name in begins_with(group):
            found.append((name, at, at + WAIT_S))
            at += WAIT_S
        begins: dict[str, float] = {}
        ends = []
        for fault in group:
            begin = begins.get(fault.overlaps or "", at - fault.after_s) + fault.after_s
            begins[fault.name] = begin
            waited = [one.after_s + 1.0 for one in group if one.overlaps == fault.name]
            over = begin + max([fault_s, *waited])
            found.append((f"fault[{fault.name}]", begin, over))
            found.append((f"recovery[{fault.name}]", over, over + fault.recovery_s))
            ends.append(over + fault.recovery_s)
        at = max(ends)
    found.append(("final", at, at + plan.final_s))
    return sorted(found, key=lambda span: span[1])
