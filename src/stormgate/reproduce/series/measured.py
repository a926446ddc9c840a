"""A series of numbers over time, where it is silent, and what is wrong with one: pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

# A series is silent where two samples lie further apart than this many of its usual steps.
_SILENT_STEPS = 2.5


@dataclass(frozen=True, slots=True)
class SeriesSample:
    """One value at one time (seconds, of whatever clock the series has), and where it stands."""

    at_s: float
    value: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class Silence:
    """From the last value before to the first after; nothing is known of what lies between."""

    from_s: float
    to_s: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class MeasuredSeries:
    """Samples in the order of time. Each holds until the next, the last one for a usual step.
    `file` is what messages call it; `column` the name of the values there.
    """

    samples: tuple[SeriesSample, ...]
    silences: tuple[Silence, ...]
    step_s: float
    file: str = ""
    column: str = ""

    @property
    def end_s(self) -> float:
        """Until when it says something."""
        return self.samples[-1].at_s + self.step_s

    def known(self) -> list[tuple[float, float]]:
        """The stretches (from, to) that it says something of."""
        found, begin = [], self.samples[0].at_s
        for silence in self.silences:
            found.append((begin, silence.from_s + self.step_s))
            begin = silence.to_s
        return [*found, (begin, self.end_s)]

    def scaled(self, factor: float) -> MeasuredSeries:
        """The same in another unit."""
        samples = tuple(replace(one, value=one.value * factor) for one in self.samples)
        return replace(self, samples=samples)

    def between(self, begin_s: float, end_s: float) -> MeasuredSeries | None:
        """What lies within, with the value that stood at `begin_s` already; None for nothing."""
        kept = [one for one in self.samples if begin_s <= one.at_s < end_s]
        before = [one for one in self.samples if one.at_s < begin_s]
        stood = bool(before) and begin_s < self.end_s and not self._silent_at(begin_s)
        if stood and (not kept or kept[0].at_s > begin_s):
            kept.insert(0, replace(before[-1], at_s=begin_s))
        if not kept:
            return None
        silences = tuple(s for s in self.silences if s.to_s > begin_s and s.from_s < end_s)
        return replace(self, samples=tuple(kept), silences=silences)

    def _silent_at(self, second: float) -> bool:
        return any(s.from_s + self.step_s <= second < s.to_s for s in self.silences)


def series_of(
    samples: Sequence[SeriesSample], *, unknown: Sequence[Silence] = (), file: str, column: str
) -> MeasuredSeries:
    """The series of samples in order, of which there is at least one, each later than the one
    before. `unknown`: times at which a value was due and there was none (empty, NaN), as stretches
    of no length; they are silent, and so is what lies further apart than usual.
    """
    times = [one.at_s for one in samples]
    step_s = _usual(sorted([*times, *(one.from_s for one in unknown)]))
    silences = []
    for before, after in pairwise(samples):
        missing = [one for one in unknown if before.at_s < one.from_s < after.at_s]
        if missing or after.at_s - before.at_s > _SILENT_STEPS * step_s:
            line = missing[0].line if missing else after.line
            silences.append(Silence(before.at_s, after.at_s, line))
    return MeasuredSeries(tuple(samples), tuple(silences), step_s, file, column)


def _usual(times: Sequence[float]) -> float:
    """The usual step of a series: the median distance of two samples; a second for a single one."""
    steps = [b - a for a, b in pairwise(times) if b > a]
    found = median(steps) if steps else 1.0
    return found if math.isfinite(found) and found > 0 else 1.0
