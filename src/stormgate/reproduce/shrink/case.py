"""What is shrunk: the faults of a run's trials and the traffic under which they fail. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stormgate.reproduce.recorded import LOAD, SURGE, Trial
from stormgate.reproduce.schedule import Schedule, Segment, schedule_of

# Of each parameter the value at which it does nothing: the other end of a bisection.
NOTHING: dict[str, float] = {"latency_ms": 0, "share": 0, "factor": 1, "rate_kb_per_s": 1_000_000}
WHOLE_NUMBERS = frozenset({"latency_ms", "rate_kb_per_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to try: trials in order, the populations that ask (by name) and tags of the
    Locust file that run, and how many requests per second all populations would make.
    """

    trials: tuple[Trial, ...]
    populations: tuple[str, ...]
    rate_per_s: float
    tags: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[tuple[str, str], ...]:
        """The faults, each as (trial, fault)."""
        return tuple((one.name, fault) for one in self.trials for fault in one.schedule.faults)

    def with_units(self, kept: Collection[tuple[str, str]]) -> Case:
        """The same with these faults alone; a trial without any is left out, and what is left of
        one begins at once.
        """
        trials = []
        for one in self.trials:
            segments = [s for s in one.schedule.segments if (one.name, s.fault) in kept]
            if segments:
                trials.append(replace(one, schedule=rebuilt(one.schedule, segments)))
        return replace(self, trials=tuple(trials))

    def segments(self, trial: str, fault: str) -> list[Segment]:
        """Those of one fault."""
        schedules = [one.schedule for one in self.trials if one.name == trial]
        return [s for made in schedules for s in made.segments if s.fault == fault]

    def begins(self, trial: str, fault: str) -> list[float]:
        """When its turns begin, seconds, ascending."""
        return sorted({one.start_s for one in self.segments(trial, fault)})

    def with_turns(self, trial: str, fault: str, kept: Collection[float]) -> Case:
        """The same with those turns of a fault that begin then."""
        return self._changed(trial, lambda s: s if s.fault != fault or s.start_s in kept else None)

    def with_length(self, trial: str, fault: str, length_s: float) -> Case:
        """The same with no turn of a fault longer than that."""
        most_s = round(length_s, 2)
        return self._changed(
            trial,
            lambda s: replace(s, length_s=min(s.length_s, most_s)) if s.fault == fault else s,
        )

    def with_param(self, trial: str, fault: str, name: str, value: float) -> Case:
        """The same with another strength of a fault."""
        return self._changed(trial, lambda s: with_param(s, name, value) if s.fault == fault else s)

    def _changed(self, trial: str, change: Callable[[Segment], Segment | None]) -> Case:
        """The same with each segment of a trial changed, or left out (None)."""
        trials = []
        for one in self.trials:
            made = [change(s) for s in one.schedule.segments] if one.name == trial else None
            if made is None:
                trials.append(one)
            elif kept := [s for s in made if s is not None]:
                trials.append(replace(one, schedule=rebuilt(one.schedule, kept)))
        return replace(self, trials=tuple(trials))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "trials": [
                {"name": t.name, "recovery_s": t.recovery_s, "schedule": t.schedule.to_json()}
                for t in self.trials
            ],
            "populations": list(self.populations),
            "rate_per_s": self.rate_per_s,
            "tags": list(self.tags),
        }

    @property
    def key(self) -> str:
        """What tells this case from every other, the same in another process."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def rebuilt(schedule: Schedule, segments: Sequence[Segment]) -> Schedule:
    """A schedule of some segments of another, moved so that the first begins at once."""
    begin = min(one.start_s for one in segments)
    moved = [replace(one, start_s=round(one.start_s - begin, 6)) for one in segments]
    known = {one.mode for one in segments}
    return schedule_of(moved, name=schedule.name, gaps=schedule.gaps, known=known)


ROOM = 1.5
"""How much longer, stronger and oftener than the least a cause is handed on, never beyond what it
was in the beginning."""


def with_room(least: Case, whole: Case) -> Case:
    """The least case with room: at its very edge it fails by chance."""
    found = replace(least, rate_per_s=min(whole.rate_per_s, round(least.rate_per_s * ROOM, 1)))
    trials = []
    for one in found.trials:
        segments = [
            _roomy(s, max(whole.segments(one.name, s.fault), key=lambda was: was.length_s))
            for s in one.schedule.segments
        ]
        trials.append(replace(one, schedule=rebuilt(one.schedule, _apart(segments))))
    return replace(found, trials=tuple(trials))


def _roomy(segment: Segment, was: Segment) -> Segment:
    length_s = min(was.length_s, round(segment.length_s * ROOM, 2))
    found = replace(segment, length_s=max(segment.length_s, length_s))
    for name, value, nothing in strengths(segment):
        asked = float(was.params[name])
        if name == "rate_kb_per_s":
            more = max(asked, value / ROOM)
        else:
            more = min(asked, nothing + (value - nothing) * ROOM)
        found = with_param(found, name, more)
    return found


def _apart(segments: Sequence[Segment]) -> list[Segment]:
    """No turn reaches into the next of its place."""
    made = []
    for one in segments:
        nexts = [
            s.start_s
            for s in segments
            if (s.where, s.mode) == (one.where, one.mode) and s.start_s > one.start_s
        ]
        most_s = min(nexts, default=one.end_s) - one.start_s
        made.append(replace(one, length_s=min(one.length_s, round(most_s, 6))))
    return made


def strengths(segment: Segment) -> list[tuple[str, float, float]]:
    """The parameters that say how strong a fault is: (name, as it is, where it does nothing)."""
    found = []
    for name, nothing in NOTHING.items():
        value = segment.params.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value != nothing:
            if name == "factor" and segment.mode != SURGE and segment.where != LOAD:
                continue
            found.append((name, float(value), nothing))
    return found


def with_param(segment: Segment, name: str, value: float) -> Segment:
    """The same with another strength; a jitter never exceeds its latency."""
    said = round(value) if name in WHOLE_NUMBERS else round(value, 4)
    params = {**segment.params, name: said}
    jitter = params.get("jitter_ms")
    if name == "latency_ms" and isinstance(jitter, int | float):
        params["jitter_ms"] = min(jitter, said)
    return replace(segment, params=params)
