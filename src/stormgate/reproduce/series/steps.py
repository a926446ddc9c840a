"""A measured series as the fewest constant steps that stay within a stated error: pure.

A stretch of samples can be one step when the ranges value ± error of all of them share a whole
number. That is hereditary (each part of such a stretch can be one step, too), so the longest step
that can be taken from where the last ended leads to the fewest of all: by induction no other way to
cut is ever ahead of it. One pass, O(n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stormgate.reproduce.series.measured import MeasuredSeries


@dataclass(frozen=True, slots=True)
class AllowedError:
    """How far a step may lie from a sample: `share` of the sample's value, and never less than
    `least` (in the series' unit), which is at least half a unit: toxics know whole numbers.
    """

    share: float = 0.05
    least: float = 2.0

    def of(self, value: float) -> float:
        """The error allowed at a value."""
        return max(self.share * abs(value), self.least, 0.5)

    def __str__(self) -> str:
        return f"{self.share * 100:g} %, at least {self.least:g}"


@dataclass(frozen=True, slots=True)
class FittedStep:
    """`value` from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    value: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class StepFit:
    """The steps of a series of `samples` samples, and the largest error that any sample has:
    `worst`, at `worst_at_s`. It is within the allowed one.
    """

    steps: tuple[FittedStep, ...]
    samples: int
    worst: float
    worst_at_s: float
    allowed: AllowedError

    def told(self, unit: str) -> str:
        """In words, for people."""
        return (
            f"{self.samples} samples in {len(self.steps)} steps, none off by more than "
            f"{self.worst:.3g} {unit} (allowed: {self.allowed} {unit})"
        )


def fit_steps(
    series: MeasuredSeries, allowed: AllowedError, *, hold_silences: bool = False
) -> StepFit:
    """The fewest steps for a series of numbers from 0 on. A step never spans a silence, unless
    `hold_silences`: then the last value before it stands until the first after it.
    """
    silent_from = {} if hold_silences else {s.from_s: s for s in series.silences}
    groups = cut(
        [one.value for one in series.samples],
        allowed,
        ends=[one.at_s in silent_from for one in series.samples],
    )
    steps, worst, worst_at_s = [], 0.0, series.samples[0].at_s
    for begin, end, value in groups:
        own = series.samples[begin:end]
        last = own[-1].at_s
        if end == len(series.samples) or last in silent_from:
            over_s = last + series.step_s
        else:
            over_s = series.samples[end].at_s
        steps.append(FittedStep(own[0].at_s, over_s, value, own[0].line))
        for one in own:
            if abs(one.value - value) > worst:
                worst, worst_at_s = abs(one.value - value), one.at_s
    return StepFit(tuple(steps), len(series.samples), worst, worst_at_s, allowed)


def cut(
    values: Sequence[float], allowed: AllowedError, ends: Sequence[bool] = ()
) -> list[tuple[int, int, int]]:
    """(begin, end, value) of the fewest steps over `values`; a step ends after each sample of which
    `ends` says so. The value is the whole number in the middle of the step's samples, as far as
    all their ranges allow it.
    """
    found: list[tuple[int, int, int]] = []
    begin, low, high = 0, -math.inf, math.inf
    for at, value in enumerate(values):
        least, most = value - allowed.of(value), value + allowed.of(value)
        cut_here = at > begin and bool(ends) and ends[at - 1]
        if at > begin and (cut_here or not _whole(max(low, least), min(high, most))):
            found.append((begin, at, _middle(values[begin:at], low, high)))
            begin, low, high = at, -math.inf, math.inf
        low, high = max(low, least), min(high, most)
    if values:
        found.append((begin, len(values), _middle(values[begin:], low, high)))
    return found


def _whole(low: float, high: float) -> bool:
    """Whether there is a whole number in between."""
    return math.ceil(low) <= math.floor(high)


def _middle(values: Sequence[float], low: float, high: float) -> int:
    wanted = round((min(values) + max(values)) / 2)
    return max(0, min(max(wanted, math.ceil(low)), math.floor(high)))
