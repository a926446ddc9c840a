"""Actions for any Chaos Toolkit experiment: `module: stormgate.chaos.actions`.

A component is named, or selected: `component: eu-west/cache`, or `component: {kind: database, role:
primary, share: one of}` (stormgate.faults.selection). An empty selection is an error, never a fault
on nothing. Every action returns when its effect is proven by an independent observation; each
raises when it is not, after taking it back. From then on it is looked at until it is undone; one
that somebody heals meanwhile has escaped, unless the action says `heals: true`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.faults import expansion
from stormgate.faults.backends import Observation
from stormgate.faults.context import Context, current
from stormgate.faults.errors import (
    CannotBreak,
    EmptySelection,
    NoTarget,
    NotWhole,
    Stopped,
    UndoFailed,
)
from stormgate.faults.inject import PROOF_S, inject
from stormgate.faults.ledger import ever_asked, ever_broken, open_entries
from stormgate.faults.looks.whole import look_whole
from stormgate.faults.proof import wait_for
from stormgate.faults.provisioned import WHY, is_gone
from stormgate.faults.selection import Selector, select
from stormgate.faults.undo import still_open, undo_all, undo_entries, undo_instances
from stormgate.model import Component, company
from stormgate.net.status import PAUSE_S, Status, read_status, wait_whole

Selection = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
Rows = list[dict[str, Any]]


def break_component(
    component: Selection,
    mode: str,
    proof_s: float = PROOF_S,
    heals: bool = False,
    **params: Any,
) -> Rows:
    """Break what is selected, all of it at once, in any mode a backend offers; `params` belong to
    the mode.
    """
    return _break(component, mode, proof_s, params, heals)


def kill_region(
    region: str, mode: str = "crash", proof_s: float = PROOF_S, heals: bool = False
) -> Rows:
    """Lose a region: crash (processes die, links refuse), freeze, blackhole or refuse (its links to
    everyone else).
    """
    return _break({"kind": "region", "name": region}, mode, proof_s, {}, heals)


def kill(component: Selection, proof_s: float = PROOF_S, heals: bool = False) -> Rows:
    """SIGKILL of the whole process tree; a region also loses its links, a link refuses."""
    return _break(component, "crash", proof_s, {}, heals)


def freeze(component: Selection, proof_s: float = PROOF_S, heals: bool = False) -> Rows:
    """SIGSTOP of the whole process tree: connections are accepted by the kernel, and nothing ever
    answers.
    """
    return _break(component, "freeze", proof_s, {}, heals)


def blackhole(component: Selection, proof_s: float = PROOF_S, heals: bool = False) -> Rows:
    """Nothing passes over its links, and nobody is told."""
    return _break(component, "blackhole", proof_s, {}, heals)


def refuse(component: Selection, proof_s: float = PROOF_S, heals: bool = False) -> Rows:
    """Its links refuse connections and end those there are."""
    return _break(component, "refuse", proof_s, {}, heals)


def slow(
    component: Selection,
    latency_ms: int,
    jitter_ms: int = 0,
    proof_s: float = PROOF_S,
    heals: bool = False,
) -> Rows:
    """Add `latency_ms` to every round trip over its links."""
    params = {"latency_ms": latency_ms, "jitter_ms": jitter_ms}
    return _break(component, "slow", proof_s, params, heals)


def lossy(
    component: Selection,
    share: float,
    after_ms: int = 0,
    proof_s: float = PROOF_S,
    heals: bool = False,
) -> Rows:
    """A `share` of the connections over its links is reset after `after_ms` (drawn per connection
    by the link).
    """
    params = {"share": share, "after_ms": after_ms}
    return _break(component, "lossy", proof_s, params, heals)


def bandwidth(
    component: Selection, rate_kb_per_s: int, proof_s: float = PROOF_S, heals: bool = False
) -> Rows:
    """Narrow its links to `rate_kb_per_s` each way."""
    return _break(component, "bandwidth", proof_s, {"rate_kb_per_s": rate_kb_per_s}, heals)


def partition(
    sets: Sequence[Sequence[str]] | None = None,
    shape: str | None = None,
    mode: str = "blackhole",
    regions: Sequence[str] | None = None,
    proof_s: float = PROOF_S,
    heals: bool = False,
) -> Rows:
    """Cut the links between sets of regions: given as `sets`, or drawn with the seed by `shape`
    (one, majority, halves, ring).

    Users keep their links to every region; `regions` limits which take part.
    """
    context = current()
    if (sets is None) == (shape is None):
        raise EmptySelection(
            "a partition needs either `sets` of regions or a `shape` (one, majority, halves, ring)"
        )
    if sets is not None:
        cut, name = expansion.cut_between(context.target, sets), _partition_name(sets)
    else:
        names = list(regions or [region.name for region in context.target.regions])
        random.Random(_seed(context)).shuffle(names)  # noqa: S311 - a repeatable draw, not a secret
        if shape == "ring":
            cut, name = (
                expansion.cut_ring(context.target, names),
                f"partition ring {'-'.join(names)}",
            )
        else:
            drawn = expansion.shape_sets(names, str(shape))
            cut, name = expansion.cut_between(context.target, drawn), _partition_name(drawn)
    return inject(context, cut, mode, {}, proof_s=proof_s, as_one=name, heals=heals)


def load_surge(
    factor: float, population: str | None = None, for_s: float = 300.0, proof_s: float = 5.0
) -> Rows:
    """`factor` times the arrivals of a population, or of everyone, until undone and at most for
    `for_s` seconds.

    Needs a running open-loop load that writes into this run's folder.
    """
    context = current()
    name = "load" if population is None else f"load of {population}"
    load = Component(name=name, kind=expansion.LOAD, backend="load")
    params = {
        "factor": factor,
        "population": population,
        "for_s": for_s,
        "folder": str(context.folder),
    }
    return inject(context, [load], expansion.SURGE, params, proof_s=proof_s)


def rolling_restart(
    component: Selection,
    pause_s: float = 1.0,
    grace_s: float = 5.0,
    proof_s: float = 10.0,
    whole_s: float = 30.0,
) -> Rows:
    """As a deploy does: one after the other is asked to end, seen to be down, started again and
    seen to answer.

    `grace_s` is how long each may take to end before it is killed; `pause_s` lies between two, and
    the target has to be whole again within `whole_s`. Raises at the first that does not come back,
    or when the target is not whole (NotWhole): a deploy would stop, too.
    """
    context = current()
    rows: Rows = []
    for chosen in _select(context, component):
        if rows:
            context.pause(pause_s)
        rows += inject(context, [chosen], "stop", {"grace_s": grace_s}, proof_s=proof_s)
        undo_instances(context, [str(rows[-1]["id"])])
        if context.target.status_url is not None:
            status = wait_whole(
                context.target, whole_s, pause=lambda _: context.stopping.wait(PAUSE_S)
            )
            if not status.whole:
                raise NotWhole(
                    f"not whole within {whole_s:g} s of restarting {chosen.name}: {status.why}"
                )
    return rows


def flap(
    component: Selection,
    mode: str,
    down_s: float,
    up_s: float,
    times: int = 3,
    proof_s: float = PROOF_S,
    heals: bool = False,
    **params: Any,
) -> Rows:
    """Break what is selected and take it back, `times` over: broken for `down_s` from when it was
    seen to be, whole for `up_s` from when it was seen to be. Ends with everything back.

    Each turn has its own proof and its own undo. Raises Stopped when the run is stopped meanwhile.
    """
    context = current()
    if int(times) < 1:
        raise CannotBreak(f"{times} turns: nothing would be broken")
    chosen = _select(context, component)
    rows: Rows = []
    for turn in range(int(times)):
        if turn:
            _hold(context, float(up_s))
        broken = inject(context, chosen, mode, params, proof_s=proof_s, heals=heals)
        rows += broken
        _hold(context, float(down_s))
        undo_instances(context, [str(row["id"]) for row in broken])
    return rows


def until(
    probe: Mapping[str, Any], within_s: float, tolerance: Any = True, every_s: float = 0.25
) -> Any:
    """Wait until a probe says so: what stands after this action in the method happens when it does.

    `probe` is the provider of a Python probe (`module`, `func`, `arguments`) or just
    `{func, arguments}` of ours; `tolerance` as in a steady state. Returns what it said. Raises
    NotTriggered when it did not within `within_s`, with its last word: nothing was broken then, and
    the trial shows nothing.
    """
    from stormgate.chaos.triggers import wait_for

    context = current()
    return wait_for(probe, tolerance, float(within_s), float(every_s), context.stopping)


def hold(seconds: float) -> float:
    """Leave everything as it is for a while; the seconds waited. Raises Stopped when the run is
    stopped meanwhile.
    """
    return _hold(current(), float(seconds))


def _hold(context: Context, seconds: float) -> float:
    begun = time.monotonic()
    context.pause(seconds)
    if context.stopping.is_set():
        raise Stopped(f"stopped after {time.monotonic() - begun:.1f} of {seconds:g} s")
    return time.monotonic() - begun


def undo(component: Selection | None = None, deadline_s: float = 30.0) -> list[str]:
    """Take back, newest first, all that this trial broke, each verified; with `component` only
    that, in the middle of a method for instance. For `rollbacks`; idempotent.

    Raises UndoFailed; EmptySelection for a component that this trial never broke.
    """
    try:
        context = current()
    except NoTarget:
        return []  # then nothing can have been broken, and the action that wanted to has said why
    if component is None:
        return undo_all(context, fault=context.fault, deadline_s=deadline_s)
    names = _broken_names(context, component)
    entries = [
        entry
        for entry in open_entries(context.folder)
        if entry.fault == context.fault and entry.component in names
    ]
    return undo_entries(context, entries, deadline_s)


def wait_until_whole(deadline_s: float = 60.0) -> str:
    """Wait until the target says that it is whole; at once when this trial broke nothing, or when
    a fault that it was planned to stand with still does: the last of them waits.

    Raises UndoFailed when it does not within `deadline_s`.
    """
    try:
        context = current()
    except NoTarget:
        return "there is no target"
    if not ever_broken(context.folder, context.fault):
        return "nothing was broken"
    faults = context.plan.faults if context.plan is not None else ()
    if standing := [n for n in company(context.fault, faults) if still_open(context.folder, n)]:
        return f"not looked at: {', '.join(standing)} overlaps it, and stands"
    if context.target.status_url is None:
        return _wait_by_platform(context, deadline_s)
    status = wait_whole(context.target, deadline_s, pause=lambda seen: _lost(context, seen))
    if status.whole:
        return "whole"
    if not status.reached and is_gone(context.target):
        return WHY
    raise UndoFailed(f"not whole within {deadline_s:g} s: {status.why}")


def _wait_by_platform(context: Context, deadline_s: float) -> str:
    """Wait until the platforms that run the target's components say that all of them stand."""
    if not look_whole(context.target).reached:
        raise CannotBreak(
            f"target {context.target.name!r} has no status_url, so nobody can say whether it "
            "is whole"
        )

    def look() -> Observation:
        status = look_whole(context.target)
        return Observation(status.whole, status.why)

    seen, _ = wait_for(look, deadline_s, stop=context.stopping, pause_s=PAUSE_S)
    if seen.seen:
        return "whole"
    raise UndoFailed(f"not whole within {deadline_s:g} s: {seen.saw}")


def _lost(context: Context, status: Status) -> bool:
    """A target that does not answer because it ended with its provider will not be whole again."""
    time.sleep(PAUSE_S)
    return not status.reached and is_gone(context.target)


def _broken_names(context: Context, selection: Selection) -> set[str]:
    """The names of what this trial broke and is selected. Raises EmptySelection."""
    asked = ever_asked(context.folder, context.fault)
    given = [selection] if isinstance(selection, str | Mapping) else list(selection)
    names: set[str] = set()
    for item in given:
        if isinstance(item, str) and item in asked:
            found = {item}
        else:
            found = {chosen.name for chosen in _select(context, item)}
        for name in sorted(found & asked.keys() - set(asked.values())):
            raise EmptySelection(f"{name} was broken as part of {asked[name]}: undo that")
        if not found & asked.keys():
            broke = ", ".join(sorted(set(asked.values()))) or "nothing"
            raise EmptySelection(f"this trial never broke {item!r} (it broke {broke})")
        names |= found
    if not names:
        raise EmptySelection("nothing is selected")
    return names


def _break(
    selection: Selection, mode: str, proof_s: float, params: Mapping[str, Any], heals: bool
) -> Rows:
    context = current()
    chosen = _select(context, selection)
    return inject(context, chosen, mode, params, proof_s=proof_s, heals=heals)


def _select(context: Context, selection: Selection) -> list[Component]:
    given = [selection] if isinstance(selection, str | Mapping) else list(selection)
    if not given:
        raise EmptySelection("nothing is selected")
    selectors = [Selector.of(item) for item in given]
    roles: Mapping[str, str | None] = {}
    if any(selector.role is not None for selector in selectors):
        status = read_status(context.target)
        if not status.reached:
            raise EmptySelection(f"the live roles are unknown: {status.why}")
        roles = status.roles
    chosen: dict[str, Component] = {}
    for selector in selectors:
        for component in select(
            context.target.components, selector, seed=_seed(context), roles=roles
        ):
            chosen.setdefault(component.name, component)
    return list(chosen.values())


def _partition_name(sets: Sequence[Sequence[str]]) -> str:
    return "partition " + " | ".join(" ".join(sorted(group)) for group in sets)


def _seed(context: Context) -> str:
    return f"{context.seed}/{context.fault}"
