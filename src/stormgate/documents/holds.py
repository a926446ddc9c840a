"""How long an experiment lets stand what it breaks, read from its method before anything runs; and
whether that is long enough for anyone to fail over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stormgate import model
from stormgate.documents.problems import Problems

ACTIONS = "stormgate.chaos.actions"
_HOLD, _UNDO, _SURGE, _FLAP, _UNTIL = "hold", "undo", "load_surge", "flap", "until"
# Actions that break nothing that stands: what they break they bring back themselves.
_BREAK_NOTHING = frozenset({_HOLD, _UNDO, _FLAP, _UNTIL, "wait_until_whole", "rolling_restart"})

Resolve = Callable[[Any, "tuple[str | int, ...]"], Any]


@dataclass(frozen=True, slots=True)
class Stand:
    """How long one injection stands at most, seconds (infinite where nobody can say before the
    run), and the path in the experiment where that is written.
    """

    seconds: float
    loc: tuple[str | int, ...]


def stands(method: Iterable[Any], resolve: Resolve) -> list[Stand]:
    """One per injection of a method, in order. An injection stands through the holds and pauses
    after it, until an `undo` of everything or of what it names, or the end of the method.

    A probe is a look: it takes what its `deadline_s` allows, else no time. How long somebody
    else's action takes is not known. What runs in the background is waited for at the end.
    """
    done: list[Stand] = []
    # (so far, at most: a surge ends by itself, what was selected as it is written)
    standing: list[tuple[float, float, Any]] = []
    where: tuple[str | int, ...] = ("method",)

    def wait(seconds: float) -> None:
        standing[:] = [(so_far + seconds, most, what) for so_far, most, what in standing]

    def end(named: Any = None) -> None:
        # What another selection names may be part of it or not: it stands, at most, to the end.
        ended = [one for one in standing if named is None or one[2] == named]
        done.extend(Stand(min(so_far, most), where) for so_far, most, _ in ended)
        standing[:] = [one for one in standing if one not in ended]

    for index, activity in enumerate(method):
        if not isinstance(activity, Mapping):
            continue
        loc = ("method", index)
        pauses = activity.get("pauses")
        pauses = pauses if isinstance(pauses, Mapping) else {}
        wait(_seconds(pauses.get("before"), resolve, (*loc, "pauses", "before")))
        func, arguments = _ours(activity)
        at = (*loc, "provider", "arguments")
        if func == _HOLD and "seconds" in arguments:
            where = (*at, "seconds")
            wait(_seconds(arguments["seconds"], resolve, where))
        elif func == _UNDO:
            end(arguments.get("component"))
        elif func == _UNTIL:
            wait(_seconds(arguments.get("within_s", math.inf), resolve, (*at, "within_s")))
        elif func == _FLAP:
            flapping = (*at, "down_s")
            down_s = _seconds(arguments.get("down_s", math.inf), resolve, flapping)
            done.append(Stand(down_s, flapping))
            wait(math.inf)  # the turns take their proofs and undos, too
        elif func is not None and func not in _BREAK_NOTHING:
            most = math.inf
            if func == _SURGE:
                most = _seconds(arguments.get("for_s", math.inf), resolve, (*at, "for_s"))
            standing.append((0.0, most, arguments.get("component")))
        elif activity.get("type") == "action" and func is None:
            wait(math.inf)
        elif "deadline_s" in arguments:
            wait(_seconds(arguments["deadline_s"], resolve, (*at, "deadline_s")))
        wait(_seconds(pauses.get("after"), resolve, (*loc, "pauses", "after")))
    end()
    return done


def _ours(activity: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The function an activity calls when it is one of our actions, and its arguments."""
    provider = activity.get("provider")
    if not isinstance(provider, Mapping):
        return None, {}
    given = provider.get("arguments")
    ours = activity.get("type") == "action" and provider.get("module") == ACTIONS
    return str(provider.get("func")) if ours else None, given if isinstance(given, Mapping) else {}


def _seconds(value: Any, resolve: Resolve, loc: tuple[str | int, ...]) -> float:
    """A length of time as written; 0 where there is none, infinite where it is not known yet."""
    if value is None:
        return 0.0
    try:
        known = float(resolve(value, loc))
    except (TypeError, ValueError):
        return math.inf
    return max(0.0, known) if not math.isnan(known) else math.inf


def check_holds(
    plan: model.Plan,
    stand: Mapping[str, tuple[Stand, tuple[str, int]]],
    problems: Problems,
) -> None:
    """Note each fault that cannot outlast the outage an objective over it allows: whoever is
    served again may owe it to the undo alone. `stand`: by fault, its shortest stand and the file
    and line where it is written.
    """
    from stormgate.judge.planning import cell_shares
    from stormgate.judge.registry import kinds

    for objective in plan.objectives:
        spec, kind = objective.spec, kinds()[objective.kind]
        allowed_s = kind.allowed_outage_s(kind.spec_model.model_validate(spec))
        if allowed_s <= 0:
            continue
        cells = cell_shares(plan, tuple(spec.get("by") or ()), spec.get("where") or {})
        rate_per_s = min(cells.shares, default=0.0) * plan.load.rate_per_s
        # The last good request before and the first after an outage: one gap at either end.
        resolution_s = 2.0 / rate_per_s if rate_per_s > 0 else 0.0
        needed_s = allowed_s + resolution_s
        for fault in plan.faults:
            if spec.get("fault") not in (None, fault.name) or fault.name not in stand:
                continue
            shortest, place = stand[fault.name]
            if shortest.seconds >= needed_s:
                continue
            problems.add(
                *place,
                f"fault {fault.name!r} stands for {shortest.seconds:g} s at most, and "
                f"{objective.name!r} allows {allowed_s:g} s: who is served again may owe it "
                "to the undo alone",
                f"hold it for at least {math.ceil(needed_s * 10) / 10:g} s (the limit, and "
                f"{resolution_s:.2g} s between requests of the smallest cell)",
            )


def check_guard(
    plan: model.Plan,
    held: Mapping[str, Iterable[tuple[float, tuple[str, int]]]],
    problems: Problems,
) -> None:
    """Note each hold, by fault, that the plan's guard would end as an abort."""
    for name, holds in held.items():
        for seconds, place in holds:
            if seconds > plan.guard.max_fault_s:
                message = f"fault {name!r} is held for {seconds:g} s"
                fix = f"abort.maxFaultDuration ends it after {plan.guard.max_fault_s:g} s"
                problems.add(*place, message, fix)
