"""A schedule as a native Chaos Toolkit experiment, readable and small: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stormgate.reproduce.recorded import LOAD, SURGE
from stormgate.reproduce.schedule import Schedule, Segment

ACTIONS = "stormgate.chaos.actions"
PROBES = "stormgate.chaos.probes"
WHOLE_S = 60.0
# What looking at a component before it is broken, and proving that it is, takes of the time between
# two beginnings (measured on the lab: 0.6 to 1.2 s).
_BEGIN_S = 0.8
_LEAST_HOLD_S = 0.05


@dataclass(frozen=True, slots=True)
class Strike:
    """What of one fault begins and ends together: its segments with the same times, mode and
    parameters (a partition cuts several links at once).
    """

    segments: tuple[Segment, ...]

    @property
    def first(self) -> Segment:
        return self.segments[0]

    @property
    def component(self) -> str | list[str]:
        """As an action takes it: a name, or the names of several."""
        names = sorted(segment.where for segment in self.segments)
        return names[0] if len(names) == 1 else names


def strikes(schedule: Schedule) -> list[Strike]:
    """The schedule's strikes in the order they begin."""
    found: dict[tuple[Any, ...], list[Segment]] = {}
    for one in schedule.segments:
        params = tuple(sorted((key, repr(value)) for key, value in one.params.items()))
        key = (one.start_s, one.length_s, one.fault, one.mode, params)
        found.setdefault(key, []).append(one)
    return [Strike(tuple(group)) for group in found.values()]


def experiment(
    title: str,
    description: str,
    schedule: Schedule,
    *,
    tells_whole: bool = True,
    hypothesis: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The experiment that plays a schedule: what begins is broken and proven, what ends is taken
    back, between them it holds. What a proof takes beyond the usual comes on top.

    `tells_whole`: whether the target can say that it is whole again (its `statusUrl`).
    `hypothesis`: further probes of the steady state. Raises ValueError for an empty schedule.
    """
    if not schedule.segments:
        raise ValueError("a schedule without a segment breaks nothing")
    document: dict[str, Any] = {
        "title": title,
        "description": description,
        "controls": [
            {
                "name": "stormgate",
                "provider": {"type": "python", "module": "stormgate.chaos.control"},
            }
        ],
        "runtime": {"rollbacks": {"strategy": "always"}},
    }
    if hypothesis:
        document["steady-state-hypothesis"] = {
            "title": "Users everywhere are answered",
            "probes": [dict(one) for one in hypothesis],
        }
    rollbacks = [action("undo", "undo", {})]
    if tells_whole:
        rollbacks.append(
            action("wait-until-whole", "wait_until_whole", {"deadline_s": int(WHOLE_S)})
        )
    return {**document, "method": _method(schedule), "rollbacks": rollbacks}


def action(name: str, func: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """One activity that calls an action of ours."""
    provider: dict[str, Any] = {"type": "python", "module": ACTIONS, "func": func}
    if arguments:
        provider["arguments"] = dict(arguments)
    return {"type": "action", "name": name, "provider": provider}


def populations_answered(deadline_s: float) -> dict[str, Any]:
    """The probe whether users everywhere get an answer, over their own links."""
    provider = {
        "type": "python",
        "module": PROBES,
        "func": "populations_answered",
        "arguments": {"deadline_s": deadline_s},
    }
    return {"type": "probe", "name": "everyone-is-answered", "tolerance": True} | {
        "provider": provider
    }


def _method(schedule: Schedule) -> list[dict[str, Any]]:
    all_strikes = strikes(schedule)
    last_s = max(one.first.end_s for one in all_strikes)
    names = _names(all_strikes)
    now, method = min(one.first.start_s for one in all_strikes), list[dict[str, Any]]()
    for second in sorted({s for one in all_strikes for s in (one.first.start_s, one.first.end_s)}):
        begins = any(one.first.start_s == second for one in all_strikes)
        wait_s = second - now - (_BEGIN_S if begins else 0.0)
        if wait_s >= _LEAST_HOLD_S:
            method.append(action("hold", "hold", {"seconds": _number(wait_s)}))
        now = second
        for one in all_strikes:
            # What lasts to the end is taken back by the rollbacks; a surge ends by itself.
            if one.first.end_s == second < last_s and one.first.mode != SURGE:
                undo = action(f"end-{names[id(one)]}", "undo", {"component": one.component})
                method.append(undo)
        for one in all_strikes:
            if one.first.start_s == second:
                method.append(_break(one, names[id(one)]))
    return method


def _break(one: Strike, name: str) -> dict[str, Any]:
    first = one.first
    if first.where == LOAD or first.mode == SURGE:
        surge = {key: first.params[key] for key in ("factor", "population") if key in first.params}
        return action(name, "load_surge", {**surge, "for_s": _number(first.length_s)})
    arguments: dict[str, Any] = {"component": one.component, "mode": first.mode, **first.params}
    return action(name, "break_component", arguments)


def _names(all_strikes: Iterable[Strike]) -> dict[int, str]:
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    for one in all_strikes:
        what = one.first.where if len(one.segments) == 1 else f"{len(one.segments)}-parts"
        name = f"{one.first.mode}-{what}"
        counts[name] = counts.get(name, 0) + 1
        names[id(one)] = name if counts[name] == 1 else f"{name}-{counts[name]}"
    return names


def _number(seconds: float) -> float | int:
    rounded = round(seconds, 2) or 0.01
    return int(rounded) if rounded == int(rounded) else rounded


def moved(schedule: Schedule, places: Mapping[str, str]) -> Schedule:
    """The same on other components: each place by its new name, where it has one."""
    segments = tuple(
        replace(one, where=places.get(one.where, one.where)) for one in schedule.segments
    )
    return replace(schedule, segments=segments)
