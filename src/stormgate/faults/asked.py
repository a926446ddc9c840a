"""What each action of stormgate.chaos.actions asks of the engine, as data: so that documents hold
its arguments to what will really be broken, before anything is.
"""

from __future__ import annotations

from dataclasses import dataclass

MODULE = "stormgate.chaos.actions"
PROBES = "stormgate.chaos.probes"


@dataclass(frozen=True, slots=True)
class Action:
    """`mode` it breaks in (None: the argument `mode` says, else `otherwise`); which of its
    arguments are parameters of that mode (None: all that are not the action's own). One that does
    not break anything holds, waits or undoes.
    """

    mode: str | None = None
    otherwise: str | None = None
    parameters: tuple[str, ...] | None = ()
    breaks: bool = True


ACTIONS = {
    "break_component": Action(parameters=None),
    "kill_region": Action(otherwise="crash"),
    "kill": Action("crash"),
    "freeze": Action("freeze"),
    "blackhole": Action("blackhole"),
    "refuse": Action("refuse"),
    "slow": Action("slow", parameters=("latency_ms", "jitter_ms")),
    "lossy": Action("lossy", parameters=("share", "after_ms")),
    "bandwidth": Action("bandwidth", parameters=("rate_kb_per_s",)),
    "partition": Action(otherwise="blackhole"),
    "load_surge": Action("surge", parameters=("factor", "population", "for_s")),
    "rolling_restart": Action("stop", parameters=("grace_s",)),
    "flap": Action(parameters=None),
    "until": Action(breaks=False),
    "hold": Action(breaks=False),
    "undo": Action(breaks=False),
    "wait_until_whole": Action(breaks=False),
}
# Arguments that are the action's own: the least and the most seconds each may take.
SECONDS = {
    "proof_s": (0.01, 3600.0),
    "pause_s": (0.0, 3600.0),
    "whole_s": (0.0, 3600.0),
    "deadline_s": (0.0, 3600.0),
    "seconds": (0.0, 86_400.0),
    "down_s": (0.01, 3600.0),
    "up_s": (0.0, 3600.0),
    "within_s": (0.01, 86_400.0),
    "every_s": (0.01, 60.0),
}
OWN = frozenset({"component", "mode", "heals", "times", *SECONDS})
SHAPES = ("one", "majority", "halves", "ring")
