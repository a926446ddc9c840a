"""The phases of a run as stretches of time, where faults overlap each of them once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from stormgate.evidence.timeline import AND, PhaseLike, disjoint


def stretches(phases: Sequence[PhaseLike]) -> list[tuple[str, int, int | None]]:
    """(name, begin, end) of the phases in time order: as they are where none overlaps, else cut so
    that no moment is in two; what they share is named by all of them.
    """
    ordered = sorted(phases, key=lambda phase: phase.begin_ns)
    apart = all(
        before.end_ns is None or before.end_ns <= after.begin_ns
        for before, after in itertools.pairwise(ordered)
    )
    if apart:
        return [(phase.name, phase.begin_ns, phase.end_ns) for phase in ordered]
    last = max(phase.end_ns or phase.begin_ns for phase in ordered)
    spans = sorted((one.begin_ns, one.end_ns or last, one.name) for one in ordered)
    return [(name, begin, end) for begin, end, name in disjoint(spans)]


def weighs_most(name: str) -> str:
    """The part of a run that a stretch belongs to: a recovery while another fault stands is still a
    fault.
    """
    parts = [one.split("[")[0] for one in name.split(AND)]
    return "fault" if "fault" in parts else parts[0]
