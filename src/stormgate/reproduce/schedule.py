"""What is broken when: pure. A run folder's timeline and an incident that a person wrote both
become a Schedule; playing, exporting and shrinking take one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

SCHEMA = "stormgate.schedule/1"
# What links (latency, share of connections, throughput) and processes can do everywhere. A run
# folder's faults may have others: whoever builds from those says which are `known`.
LINK_MODES = ("slow", "lossy", "blackhole", "refuse", "bandwidth")
COMPONENT_MODES = ("crash", "freeze", "stop")
# A quiet stretch is never made shorter than this: what was broken has to come to rest before it is
# broken again, or two incidents become another one.
REST_S = 2.0
# Times are kept to the microsecond: 0.1 + 0.2 is where 0.3 begins, not an overlap.
_TICK = 6

Param = str | int | float | bool


class ScheduleError(ValueError):
    """Segments that make no schedule. `problems`: (index of the segment or None, what, fix)."""

    def __init__(self, problems: Sequence[tuple[int | None, str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{what}; {fix}" for _, what, fix in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One thing broken in one way from `start_s` (seconds from the beginning) for `length_s`.

    `where` is a component or a link of the target (`link:eu/web->eu/cache`), or what selects some;
    `params` those of the mode. Segments of one `fault` belong together (the steps of a measured
    series, the downs of something that flaps): only between faults is it quiet. `source` is where
    it was said: `file:line`.
    """

    start_s: float
    length_s: float
    where: str
    mode: str
    params: Mapping[str, Param] = field(default_factory=dict)
    fault: str = ""
    source: str = ""

    @property
    def end_s(self) -> float:
        """When it is over, seconds from the beginning."""
        return round(self.start_s + self.length_s, _TICK)

    def at(self, second: float) -> bool:
        """Whether it stands then; at its end it no longer does."""
        return self.start_s <= second < self.end_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityGap:
    """Something that was seen, or asked for, and that playing the schedule does not show: `what`,
    and `why` not. `source`: `file:line`.
    """

    what: str
    why: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Segments in the order they begin, within `length_s` seconds; `gaps` is what they lack."""

    segments: tuple[Segment, ...]
    length_s: float
    name: str = ""
    gaps: tuple[FidelityGap, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of the faults in it, in the order they begin."""
        return tuple(dict.fromkeys(segment.fault for segment in self.segments))

    def at(self, second: float) -> tuple[Segment, ...]:
        """What stands then."""
        return tuple(segment for segment in self.segments if segment.at(second))

    def edges(self) -> list[float]:
        """When anything begins or ends, seconds, ascending, each once."""
        return sorted({t for one in self.segments for t in (one.start_s, one.end_s)})

    def quiet(self) -> list[tuple[float, float]]:
        """The stretches (from, to) in which no fault is under way. The pause between two segments
        of one fault (the up of something that flaps) is part of that fault.
        """
        return _complement(self._busy(), self.length_s)

    def _busy(self) -> list[tuple[float, float]]:
        spans = []
        for name in self.faults:
            own = [one for one in self.segments if one.fault == name]
            spans.append((own[0].start_s, max(one.end_s for one in own)))
        return sorted(spans)

    def only(self, faults: Collection[str]) -> Schedule:
        """The same without the other faults; as long as before."""
        return replace(self, segments=tuple(s for s in self.segments if s.fault in faults))

    def compressed(self, speed: float, rest_s: float = REST_S) -> tuple[Schedule, TimeMap]:
        """Quiet stretches `speed` times as fast, none shorter than `rest_s` (or than it was);
        faults as they are. With the map of the old times to the new ones, for whatever else runs
        beside it. Raises ValueError for a speed below 1.
        """
        if not (math.isfinite(speed) and speed >= 1):
            raise ValueError(f"speed {speed:g} would stretch it: write 1 or more")
        knots, now = [(0.0, 0.0)], 0.0
        last = 0.0
        for start, end in self.quiet():
            now += start - last
            knots.append((start, now))
            now += max((end - start) / speed, min(end - start, rest_s))
            knots.append((end, now))
            last = end
        knots.append((self.length_s, now + self.length_s - last))
        times = TimeMap(tuple((old, round(new, _TICK)) for old, new in knots))
        moved = tuple(replace(one, start_s=times.at(one.start_s)) for one in self.segments)
        return replace(self, segments=moved, length_s=times.at(self.length_s)), times

    def to_json(self) -> dict[str, Any]:
        """Plain data, read back by `from_json`."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "length_s": self.length_s,
            "segments": [
                {
                    "start_s": one.start_s,
                    "length_s": one.length_s,
                    "where": one.where,
                    "mode": one.mode,
                    "params": dict(one.params),
                    "fault": one.fault,
                    "source": one.source,
                }
                for one in self.segments
            ],
            "gaps": [{"what": g.what, "why": g.why, "source": g.source} for g in self.gaps],
        }


@dataclass(frozen=True, slots=True)
class TimeMap:
    """Old times to new ones, seconds: straight lines between `knots` (old, new)."""

    knots: tuple[tuple[float, float], ...]

    def at(self, second: float) -> float:
        """The new time of an old one; beyond the ends as far beyond the new ones."""
        (old, new) = self.knots[0]
        for (old_a, new_a), (old_b, new_b) in pairwise(self.knots):
            if old_a <= second <= old_b and old_b > old_a:
                way = (second - old_a) / (old_b - old_a)
                return round(new_a + way * (new_b - new_a), _TICK)
            if old_b <= second:
                old, new = old_b, new_b
        return round(new + second - old, _TICK)


def schedule_of(
    segments: Iterable[Segment],
    *,
    length_s: float | None = None,
    name: str = "",
    gaps: Iterable[FidelityGap] = (),
    known: Collection[str] = (*LINK_MODES, *COMPONENT_MODES),
) -> Schedule:
    """The schedule of these segments, in order. One without a name of its own for its fault is a
    fault by itself, called after its mode and place. `length_s`: until the end of the last one,
    where not said; `known`: the modes there are.

    Raises ScheduleError with everything that is wrong: times before the beginning, backward or past
    the end, unknown modes, two segments of one place and mode at once.
    """
    given = list(segments)
    problems = list(_misfits(given, known))
    end_s = max((one.end_s for one in given if _is_time(one)), default=0.0)
    whole_s = end_s if length_s is None else length_s
    if not (math.isfinite(whole_s) and whole_s >= 0):
        problems.append((None, f"a length of {whole_s:g} s", "write how long it lasts"))
    elif end_s > round(whole_s, _TICK):
        late = next(i for i, one in enumerate(given) if _is_time(one) and one.end_s == end_s)
        told = f"{_who(given[late])} ends at {end_s:g} s, and all is over at {whole_s:g} s"
        problems.append((late, told, "let it end sooner, or let the whole last longer"))
    problems += _overlaps(given)
    if problems:
        raise ScheduleError(problems)
    named, counts = [], dict[str, int]()
    for one in sorted(given, key=lambda s: (s.start_s, s.where, s.mode)):
        fault = one.fault or f"{one.mode} {one.where}"
        if not one.fault:
            counts[fault] = counts.get(fault, 0) + 1
            fault += f" #{counts[fault]}" if counts[fault] > 1 else ""
        named.append(
            replace(
                one,
                start_s=round(float(one.start_s), _TICK),
                length_s=round(float(one.length_s), _TICK),
                params=dict(one.params),
                fault=fault,
            )
        )
    return Schedule(
        segments=tuple(named),
        length_s=round(float(whole_s), _TICK),
        name=name,
        gaps=tuple(gaps),
    )


def from_json(data: Any, known: Collection[str] = (*LINK_MODES, *COMPONENT_MODES)) -> Schedule:
    """What `Schedule.to_json` gave. Raises ScheduleError for anything else."""
    try:
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        segments = [
            Segment(
                start_s=_number(one["start_s"]),
                length_s=_number(one["length_s"]),
                where=str(one["where"]),
                mode=str(one["mode"]),
                params=dict(one["params"]),
                fault=str(one["fault"]),
                source=str(one["source"]),
            )
            for one in data["segments"]
        ]
        gaps = [FidelityGap(what=g["what"], why=g["why"], source=g["source"]) for g in data["gaps"]]
        length_s, name = _number(data["length_s"]), str(data["name"])
    except (KeyError, TypeError, ValueError) as error:
        why = f"not a schedule: {error.args[0] if error.args else error!r}"
        raise ScheduleError([(None, why, f"give one of schema {SCHEMA}")]) from error
    return schedule_of(segments, length_s=length_s, name=name, gaps=gaps, known=known)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _is_time(one: Segment) -> bool:
    return math.isfinite(one.start_s) and math.isfinite(one.length_s)


def _who(one: Segment) -> str:
    return f"{one.fault or one.mode} on {one.where}"


def _misfits(
    given: Sequence[Segment], known: Collection[str]
) -> Iterator[tuple[int | None, str, str]]:
    for at, one in enumerate(given):
        if not one.where:
            yield at, f"{one.mode} on nothing", "name a component or a link of the target"
        if one.mode not in known:
            yield at, f"unknown mode {one.mode!r}", f"one of {', '.join(sorted(known))}"
        if not _is_time(one):
            yield at, f"{_who(one)} has a time that is none", "write seconds"
        elif one.start_s < 0:
            told = f"{_who(one)} begins {-one.start_s:g} s before the beginning"
            yield at, told, "begin at 0 s or later"
        elif round(one.length_s, _TICK) <= 0:
            told = f"{_who(one)} ends {-one.length_s:g} s before it begins"
            if one.length_s >= -1e-9:
                told = f"{_who(one)} lasts no time at all"
            yield at, told, "let it end after it begins"


def _overlaps(given: Sequence[Segment]) -> Iterator[tuple[int | None, str, str]]:
    places: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    for at, one in enumerate(given):
        if _is_time(one) and one.length_s > 0:
            times = (round(one.start_s, _TICK), one.end_s, at)
            places.setdefault((one.where, one.mode), []).append(times)
    for (where, mode), own in places.items():
        own.sort()
        widest = own[0]
        for now in own[1:]:
            if now[0] < widest[1]:
                first, second = given[widest[2]], given[now[2]]
                said = f" ({first.source})" if first.source else ""
                yield (
                    now[2],
                    f"{mode} on {where} from {second.start_s:g} to {second.end_s:g} s overlaps the "
                    f"one from {first.start_s:g} to {first.end_s:g} s{said}",
                    "one place breaks in one way once at a time: make them one, or let one end "
                    "before the other",
                )
            widest = max(widest, now, key=lambda times: times[1])


def _complement(spans: Sequence[tuple[float, float]], length_s: float) -> list[tuple[float, float]]:
    found, last = [], 0.0
    for start, end in spans:
        if start > last:
            found.append((last, start))
        last = max(last, end)
    if length_s > last:
        found.append((last, length_s))
    return found
