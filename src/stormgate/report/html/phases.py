"""The phases of a run above its charts."""

from __future__ import annotations

from collections.abc import Sequence

from stormgate.evidence.timeline import AND, PhaseLike
from stormgate.report.charts.timeline import Span
from stormgate.report.series.phases import stretches, weighs_most
from stormgate.report.words import one_line

_SHADES = {"steady": "steady", "final": "steady", "fault": "trouble", "recovery": "mending"}


def phase_spans(phases: Sequence[PhaseLike], begin_ns: int, end_ns: int) -> list[Span]:
    """The phases, seconds of the run; one that did not end lasts to the end. What phases of several
    faults share is one stretch, named by all of them.
    """
    return [
        Span(
            one_line(name.replace(AND, f" {AND} ")),
            (begin - begin_ns) / 1e9,
            ((end if end is not None else end_ns) - begin_ns) / 1e9,
            _SHADES.get(weighs_most(name), "other"),
        )
        for name, begin, end in stretches(phases)
    ]
