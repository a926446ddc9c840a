"""A schedule on a target: which parts are broken in which mode when. Looks at the two alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stormgate.documents.problems import nearest
from stormgate.faults import backends
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import LINK, LOAD, parts_of
from stormgate.model import Component, Target
from stormgate.reproduce.schedule import Schedule, ScheduleError, Segment

_SAME_TIME_S = 1e-6


@dataclass(frozen=True, slots=True)
class LaneSpan:
    """One part broken with these parameters from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    params: Mapping[str, Any]
    segment: Segment


@dataclass(frozen=True, slots=True)
class LanePlan:
    """All that happens to one part in one mode, in order, never two at once."""

    part: Component
    mode: str
    spans: tuple[LaneSpan, ...]

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.mode} {self.part.name}"

    @property
    def is_link(self) -> bool:
        """Whether it is a way between two, rather than something that runs."""
        return self.part.kind == LINK

    def goes_on(self, at: int) -> bool:
        """Whether the span after the one at this place begins as this one ends."""
        after = self.spans[at + 1 : at + 2]
        return bool(after) and after[0].start_s - self.spans[at].end_s <= _SAME_TIME_S


def resolve(schedule: Schedule, target: Target) -> list[LanePlan]:
    """The lanes of a schedule on a target, in the order they begin. Raises ScheduleError with all
    that cannot be played there: what the target lacks, modes and parameters that its backends do
    not have, two segments that come to the same part and mode at once.
    """
    by_name = {component.name: component for component in target.components}
    problems: list[tuple[int | None, str, str]] = []
    lanes: dict[tuple[str, str], tuple[Component, list[tuple[int, LaneSpan]]]] = {}
    for at, segment in enumerate(schedule.segments):
        try:
            found = list(_spans(segment, by_name, target))
        except CannotBreak as error:
            problems.append((at, str(error), _fix(segment, by_name)))
            continue
        for part, mode, span in found:
            lanes.setdefault((part.name, mode), (part, []))[1].append((at, span))
    plans = []
    for (_, mode), (part, placed) in lanes.items():
        placed.sort(key=lambda one: one[1].start_s)
        problems += _collisions(part, mode, placed)
        plans.append(LanePlan(part, mode, tuple(span for _, span in placed)))
    if problems:
        raise ScheduleError(problems)
    return sorted(plans, key=lambda plan: (plan.spans[0].start_s, plan.name))


def _spans(
    segment: Segment, by_name: Mapping[str, Component], target: Target
) -> Iterator[tuple[Component, str, LaneSpan]]:
    if segment.where == LOAD:
        raise CannotBreak("more load can only be played by a gate, which makes the load")
    if segment.where not in by_name:
        raise CannotBreak(f"target {target.name!r} has no component {segment.where!r}")
    for part in parts_of(target, by_name[segment.where], segment.mode):
        params = backends.parameters(part.component, part.mode, segment.params)
        span = LaneSpan(segment.start_s, segment.end_s, params, segment)
        yield part.component, part.mode, span


def _fix(segment: Segment, by_name: Mapping[str, Component]) -> str:
    if segment.where in by_name:
        return "correct it, or leave it out"
    return nearest(segment.where, by_name, what="it has")


def _collisions(
    part: Component, mode: str, placed: Sequence[tuple[int, LaneSpan]]
) -> Iterator[tuple[int | None, str, str]]:
    for (_, before), (at, now) in pairwise(placed):
        if before.end_s - now.start_s > _SAME_TIME_S:
            first, second = before.segment, now.segment
            told = f"{second.where} ({second.source})" if second.source else second.where
            yield (
                at,
                f"{mode} of {told} at {now.start_s:g} s comes to {part.name}, which "
                f"{first.where} still breaks so until {before.end_s:g} s",
                "one part breaks in one way once at a time: let one end before the other",
            )


def worst_moment(lanes: Sequence[LanePlan]) -> float:
    """The first second at which most stands, what passes nothing counting before what is slow;
    seconds from the beginning. Raises ValueError for no lanes.
    """
    starts = sorted({span.start_s for lane in lanes for span in lane.spans})
    if not starts:
        raise ValueError("nothing is ever broken")

    def weight(second: float) -> tuple[float, float]:
        standing = [
            (lane, span)
            for lane in lanes
            for span in lane.spans
            if span.start_s <= second < span.end_s
        ]
        return sum(_severity(span) for _, span in standing), -second

    return max(starts, key=weight)


def _severity(span: LaneSpan) -> float:
    """How bad one thing is, between 0 and 1: what takes away all of it is 1, a share of the
    connections is that share, and a second of delay is half of everything.
    """
    params = span.params
    if "share" in params:
        return float(params["share"])
    if "latency_ms" in params:
        latency_ms = float(params["latency_ms"])
        return latency_ms / (latency_ms + 1000)
    if "rate_kb_per_s" in params:
        return 100 / (100 + float(params["rate_kb_per_s"]))
    return 1.0
