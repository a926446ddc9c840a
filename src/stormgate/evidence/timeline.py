"""Where in time things happened: phases as an objective names them, and each fault from its request
to its rollback.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stormgate.model import Event, Fault

SECOND_NS = 1_000_000_000
AND = "+"
"""Between the names of phases that a window is a part of."""
_Span = tuple[int, int, str]


class PhaseLike(Protocol):
    """A stretch of a run; `end_ns` is None when the run died inside it."""

    @property
    def name(self) -> str: ...
    @property
    def begin_ns(self) -> int: ...
    @property
    def end_ns(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class PhaseWindow:
    """[begin_ns, end_ns) of one phase, or of what several phases share, named by all of them;
    seconds are counted on from `first_block` through all windows of an objective.
    """

    name: str
    begin_ns: int
    end_ns: int
    first_block: int

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that it is a part of: several where faults stood together."""
        return tuple(self.name.split(AND))

    @property
    def blocks(self) -> int:
        return -(-(self.end_ns - self.begin_ns) // SECOND_NS)

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.begin_ns) / SECOND_NS


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows an objective's phases select: no moment is in two of them, so that nothing is
    counted twice where faults overlap. `missing` names the phases that the evidence does not hold
    whole. `apart`: the same phases one by one, which may share moments.
    """

    windows: tuple[PhaseWindow, ...]
    missing: tuple[str, ...]
    apart: tuple[PhaseWindow, ...] = ()

    @property
    def blocks(self) -> int:
        return sum(w.blocks for w in self.windows)


def phase_names(selectors: Sequence[str], faults: Sequence[Fault]) -> list[str]:
    """The phases that selectors stand for: `fault` and `recovery` mean those of every fault."""
    names: list[str] = []
    for selector in selectors:
        if selector in ("fault", "recovery"):
            # No fault in the plan: the selector itself stays, and will be missing. Nothing measured
            # is never PASS.
            names += [f"{selector}[{fault.name}]" for fault in faults] or [selector]
        else:
            names.append(selector)
    return list(dict.fromkeys(names))


def select(
    selectors: Sequence[str], phases: Sequence[PhaseLike], faults: Sequence[Fault]
) -> Windows:
    """The windows of an objective's phases, in time order. `recovery` is what is left of the
    recoveries of every fault while no other stands; `recovery[NAME]` is the whole of that one.
    """
    by_name = {phase.name: phase for phase in phases}
    struck = [p for p in phases if p.name.startswith("fault[")]
    found: list[_Span] = []
    missing: list[str] = []
    for name in phase_names(selectors, faults):
        phase = by_name.get(name)
        if phase is None or phase.end_ns is None or phase.end_ns <= phase.begin_ns:
            missing.append(name)
            continue
        span = (phase.begin_ns, phase.end_ns, name)
        whole = name in selectors or not name.startswith("recovery[")
        found += [span] if whole else _without(span, struck)
    windows: list[PhaseWindow] = []
    block = 0
    for begin, end, name in disjoint(sorted(found)):
        windows.append(PhaseWindow(name, begin, end, block))
        block += windows[-1].blocks
    apart = tuple(PhaseWindow(name, begin, end, 0) for begin, end, name in sorted(found))
    return Windows(tuple(windows), tuple(missing), apart)


def _without(span: _Span, others: Sequence[PhaseLike]) -> list[_Span]:
    """What is left of a span outside of these phases; one that never ended lasts."""
    left = [span]
    for other in others:
        low, high = other.begin_ns, other.end_ns
        left = [
            (begin, end, name)
            for whole_begin, whole_end, name in left
            for begin, end in (
                (whole_begin, min(whole_end, low)),
                (whole_end if high is None else max(whole_begin, high), whole_end),
            )
            if begin < end
        ]
    return left


def disjoint(spans: Sequence[_Span]) -> list[_Span]:
    """The same moments, each once; what spans share is named by all of them. `spans` are sorted."""
    edges = sorted({at for begin, end, _ in spans for at in (begin, end)})
    found: list[_Span] = []
    for low, high in itertools.pairwise(edges):
        names = [name for begin, end, name in spans if begin <= low and high <= end]
        if not names:
            continue
        name = AND.join(names)
        if found and found[-1][1] == low and found[-1][2] == name:
            found[-1] = (found[-1][0], high, name)
        else:
            found.append((low, high, name))
    return found


@dataclass(frozen=True, slots=True)
class Broken:
    """One thing a fault broke: its `fault.requested` row. `parts` are components by name;
    `exposure` is what was seen of its traffic before, whatever the row holds there.
    """

    id: str
    component: str
    mode: str
    requested_ns: int
    parts: tuple[str, ...] = ()
    exposure: Any = None
    heals: bool = False


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """What the timeline says of one fault. Times are None where the event is missing; `end_ns` is
    the end of all that was watched.

    `never`: why its trial broke nothing, where it was not begun or not triggered.
    """

    name: str
    requested_ns: int | None
    acknowledged_ns: int | None
    observed_ns: int | None
    rollback_ns: int | None
    cleared_ns: int | None
    end_ns: int | None
    unproven: str | None = None
    undo_failed: str | None = None
    open_ids: tuple[str, ...] = ()
    unobserved_ids: tuple[str, ...] = ()
    unacknowledged_ids: tuple[str, ...] = ()
    broken: tuple[Broken, ...] = ()
    escaped: str | None = None
    never: str | None = None

    @property
    def doubt(self) -> str | None:
        """Why the fault proves nothing, in words; None when it is proven."""
        if self.proven:
            return None
        if self.never is not None:
            return f"nothing was broken: {self.never}"
        if self.unproven is None and self.escaped is not None:
            return self.escaped
        return f"fault not observed: {self.unproven or 'no independent proof of its effect'}"

    @property
    def proven(self) -> bool:
        """Requested, acknowledged, and seen to act by an independent observation, all of its
        parts, and not lost before it was taken back.
        """
        return (
            self.requested_ns is not None
            and self.observed_ns is not None
            and self.unproven is None
            and self.escaped is None
            and not self.unobserved_ids
            and not self.unacknowledged_ids
        )


@dataclass
class _Seen:
    requested: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    observed: dict[str, int] = field(default_factory=dict)
    lawless: str | None = None
    cleared: dict[str, int] = field(default_factory=dict)
    unproven: str | None = None
    undo_failed: dict[str, tuple[int, str]] = field(default_factory=dict)
    rollback_ns: int | None = None
    never: str | None = None
    broken: dict[str, Broken] = field(default_factory=dict)
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)


def _part(row: Mapping[str, Any]) -> str:
    return str(row.get("id") or row.get("component") or "")


def fault_windows(
    timeline: Sequence[Mapping[str, Any]], phases: Sequence[PhaseLike], faults: Sequence[Fault]
) -> list[FaultWindow]:
    """One window per fault of the plan, in the plan's order, whether or not the timeline knows
    it.
    """
    seen = {fault.name: _Seen() for fault in faults}
    for row in timeline:
        one = seen.get(str(row.get("fault")))
        if one is not None:
            _note(one, row)
    ends = {phase.name: phase for phase in phases}
    return [_window(fault.name, seen[fault.name], ends) for fault in faults]


def says_something(proof: Any) -> bool:
    """Whether a proof holds any word, number or yes at all, however deep it is packed."""
    if isinstance(proof, Mapping):
        return any(says_something(value) for value in proof.values())
    if isinstance(proof, list | tuple):
        return any(says_something(value) for value in proof)
    return bool(proof.strip()) if isinstance(proof, str) else bool(proof)


def _note(one: _Seen, row: Mapping[str, Any]) -> None:
    event, at = row.get("event"), int(row["at_ns"])
    if event == Event.FAULT_OBSERVED and not says_something(row.get("proof")):
        # Whoever says "seen" without saying what, has seen nothing.
        one.lawless = f"fault.observed of {_part(row) or 'a part'} has no proof"
        return
    times = {
        Event.FAULT_REQUESTED: one.requested,
        Event.FAULT_ACKNOWLEDGED: one.acknowledged,
        Event.FAULT_OBSERVED: one.observed,
        Event.FAULT_CLEARED: one.cleared,
    }
    if event == Event.FAULT_REQUESTED and _part(row) not in one.broken:
        parts = row.get("parts")
        one.broken[_part(row)] = Broken(
            id=_part(row),
            component=str(row.get("component") or ""),
            mode=str(row.get("mode") or ""),
            requested_ns=at,
            parts=tuple(str(part) for part in parts) if isinstance(parts, list) else (),
            exposure=row.get("exposure"),
            heals=row.get("heals") is True,
        )
    if event in times:
        table = times[Event(str(event))]
        # First request, but last clearing: the fault is over when its last part is.
        table[_part(row)] = (
            max(at, table.get(_part(row), at))
            if event == Event.FAULT_CLEARED
            else min(at, table.get(_part(row), at))
        )
    elif event == Event.FAULT_LOST:
        saw = str(row.get("saw") or "nobody says what was seen")
        lost = at, f"{row.get('part') or row.get('component') or _part(row)}: {saw}"
        one.lost[_part(row)] = min(lost, one.lost.get(_part(row), lost))
    elif event == Event.FAULT_UNPROVEN:
        one.unproven = str(row.get("why") or "no proof of effect within its deadline")
    elif event == Event.FAULT_UNDO_FAILED:
        one.undo_failed[_part(row)] = (at, str(row.get("why") or "no reason given"))
    elif event == Event.CHAOS_ROLLBACK:
        one.rollback_ns = at
    elif event in (Event.CHAOS_UNTRIGGERED, Event.CHAOS_SKIPPED):
        one.never = str(row.get("why") or "no reason given")


def _escaped(one: _Seen, rollback_ns: int | None) -> str | None:
    """What did not hold until it was taken back, the first of it, in words. Healing that the
    experiment expects is none.
    """
    found = []
    for part, (at, what) in one.lost.items():
        broken = one.broken.get(part)
        until = min(one.cleared.get(part, at + 1), at + 1 if rollback_ns is None else rollback_ns)
        if at >= until or (broken is not None and broken.heals):
            continue
        begun = one.requested.get(part, min(one.requested.values(), default=at))
        found.append((at, f"escaped after {max(0, at - begun) / 1e9:.1f} s: {what}"))
    return min(found)[1] if found else None


def _window(name: str, one: _Seen, phases: Mapping[str, PhaseLike]) -> FaultWindow:
    fault_phase, recovery = phases.get(f"fault[{name}]"), phases.get(f"recovery[{name}]")
    ends = [p.end_ns for p in (fault_phase, recovery) if p is not None and p.end_ns is not None]
    rollback = one.rollback_ns
    if rollback is None and fault_phase is not None:
        rollback = fault_phase.end_ns
    parts = set(one.requested)
    for part, at in one.observed.items():
        if at > one.cleared.get(part, at) or at < one.requested.get(part, at):
            one.lawless = f"{part or 'a part'} was observed outside the time it was broken"
    # A failed undo is made good by a later clearing of the same part (`stormgate restore`), and by
    # nothing else.
    failed = [
        why for part, (at, why) in sorted(one.undo_failed.items()) if one.cleared.get(part, -1) < at
    ]
    return FaultWindow(
        name=name,
        requested_ns=min(one.requested.values(), default=None),
        acknowledged_ns=max(one.acknowledged.values(), default=None),
        observed_ns=min(one.observed.values(), default=None),
        rollback_ns=rollback,
        cleared_ns=max(one.cleared.values(), default=None),
        end_ns=max(ends, default=None),
        unproven=one.unproven or one.lawless,
        undo_failed="; ".join(failed) if failed else None,
        open_ids=tuple(sorted(parts - set(one.cleared))),
        unobserved_ids=tuple(sorted(parts - set(one.observed))),
        unacknowledged_ids=tuple(sorted(parts - set(one.acknowledged))),
        broken=tuple(one.broken.values()),
        escaped=_escaped(one, rollback),
        never=one.never if not parts else None,
    )


def standing_together(window: FaultWindow, windows: Sequence[FaultWindow]) -> list[FaultWindow]:
    """This fault, and those whose time, from the request to the end of what was watched, touches
    its own, or that of one of them.
    """
    found = [window]
    for one in found:  # grows while it is walked
        found += [other for other in windows if other not in found and _touch(one, other)]
    return found


def calm_until_ns(window: FaultWindow, windows: Sequence[FaultWindow]) -> int | None:
    """Until when nothing was broken before this fault: its own request, or that of the first of
    those that stood or were recovering when it came.
    """
    at = window.requested_ns
    while at is not None:
        sooner = [
            other.requested_ns
            for other in windows
            if other.requested_ns is not None
            and other.requested_ns < at
            and other.end_ns is not None
            and other.end_ns > at
        ]
        if not sooner:
            break
        at = min(sooner)
    return at


def _touch(one: FaultWindow, other: FaultWindow) -> bool:
    if one.requested_ns is None or other.requested_ns is None:
        return False
    if one.end_ns is None or other.end_ns is None:
        return False
    return one.requested_ns < other.end_ns and other.requested_ns < one.end_ns
