"""Probes for hypotheses and methods: `module: stormgate.chaos.probes`. They look; they never change
the system.

Each returns a plain value for Chaos Toolkit's `tolerance`, and None where nothing was measured:
None is within no tolerance, so a hypothesis without data is not met. The judge does not use them;
it reads the evidence itself, with confidence bounds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stormgate.faults import backends
from stormgate.faults.backends import Observation
from stormgate.faults.context import Context, current
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import members
from stormgate.faults.inject import in_parallel
from stormgate.faults.ledger import open_entries
from stormgate.faults.looks.whole import look_whole, stands
from stormgate.faults.proof import wait_for
from stormgate.model import Component, Observe, Population, Target
from stormgate.net.allow import AllowList
from stormgate.net.fetch import exchange, fetch
from stormgate.net.look import look
from stormgate.net.references import resolved

if TYPE_CHECKING:
    from stormgate.evidence.rolling import RollingWindow

_LOOK_S = 2.0


def target_whole(deadline_s: float = 0.0) -> bool:
    """Whether the target says it is whole, within `deadline_s`."""
    context = current()
    seen, _ = wait_for(lambda: _whole(context), deadline_s, stop=context.stopping, pause_s=0.1)
    return seen.seen


def whole_but_for_us(deadline_s: float = 0.0) -> bool:
    """Whether nothing is broken but by this run: the target is whole, or a fault of this run is
    open.

    For a hypothesis, which is looked at before the method and again while the fault is still there.
    """
    return bool(open_entries(current().folder)) or target_whole(deadline_s)


def component_answers(component: str, timeout_s: float = _LOOK_S) -> bool:
    """Whether a component answers at its own port, and not to say that it is unwell."""
    return look(_observe(current().target.component(component)), timeout_s).healthy


def region_down(region: str, timeout_s: float = 1.0) -> bool:
    """Whether nothing of a region answers at its own port; of what has none, that its platform does
    not say it stands.
    """
    target = current().target
    inside = [part for part in members(target, target.component(region)) if part.kind != "link"]

    def healthy(part: Component) -> bool | None:
        if part.observe is not None:
            return look(_observe(part), timeout_s).healthy
        seen = stands(part)
        return None if seen is None else seen.seen

    seen = [one for one in in_parallel(healthy, inside) if one is not None]
    if not seen:
        raise CannotBreak(f"region {region!r} has no component that can be observed")
    return not any(seen)


def populations_answered(
    deadline_s: float = 5.0, populations: Sequence[str] | None = None
) -> bool | None:
    """Whether users everywhere get an answer from the edge they are steered to now, over their own
    link, within `deadline_s`.

    Needs no load. None when the target has no populations with links.
    """
    context = current()
    chosen = [
        each
        for each in context.target.populations
        if each.links and (populations is None or each.name in populations)
    ]
    if not chosen:
        return None
    seen, _ = wait_for(
        lambda: _all_answered(context.target, chosen),
        deadline_s,
        stop=context.stopping,
        pause_s=0.1,
    )
    return seen.seen


def link_latency_ms(link: str, timeout_s: float = 5.0) -> float | None:
    """One round trip through a link in the protocol of what it leads to, connecting included, ms.
    None: no answer.
    """
    target = current().target
    component = target.component(link)
    through = backends.get(component.backend).observed_at(component, target)
    if through is None:
        raise CannotBreak(f"nobody can look through {link!r}: give it an `observe`")
    sight = look(through, timeout_s)
    return round(sight.latency_ms, 3) if sight.healthy else None


def availability(
    window_s: float = 10.0, where: Mapping[str, str] | None = None, within_ms: float | None = None
) -> float | None:
    """Share of good attempts among those that ended in the last `window_s` seconds; `where` picks a
    cell by column.

    Good: outcome ok, and within `within_ms` of its intended start when that is given.
    """
    return _window().good_share(_now(), window_s, where or {}, within_ms)


def good_share(
    where: Mapping[str, str], window_s: float = 10.0, within_ms: float | None = None
) -> float | None:
    """`availability` of one cell, e.g. `where: {shard: eu, op: write}`."""
    return _window().good_share(_now(), window_s, where, within_ms)


def label_share(
    column: str, value: str, window_s: float = 10.0, where: Mapping[str, str] | None = None
) -> float | None:
    """Share of the attempts of the last `window_s` seconds (in a cell) whose label `column` is
    `value`.
    """
    return _window().label_share(_now(), window_s, where or {}, (column, value))


def latency_percentile(
    percentile: float, window_s: float = 10.0, where: Mapping[str, str] | None = None
) -> float | None:
    """Latency from the intended start, ms, at `percentile` (0-100, nearest rank) over the last
    `window_s`. Failures are infinite, so that quick errors never improve it."""
    return _window().latency_percentile_ms(_now(), window_s, where or {}, percentile)


def failover_seconds(
    where: Mapping[str, str] | None = None, sustained_s: float = 1.0, good: float = 0.99
) -> float | None:
    """Seconds from this trial's first fault until users were good again for `sustained_s`; those
    passed so far if they are not.

    Counted in steps of 100 ms of intended start. None without a fault or without data.
    """
    context = current()
    begun_ns = _first_fault_ns(context)
    return (
        None
        if begun_ns is None
        else _window().failover_s(begun_ns, _now(), where or {}, sustained_s, good)
    )


def _now() -> int:
    return time.monotonic_ns()


def _window() -> RollingWindow:
    global _live  # noqa: PLW0603 - the tail of a growing stream is worth keeping between probes of one process
    from stormgate.evidence.rolling import RollingWindow

    if _live is None:
        _live = RollingWindow(current().folder)
    _live.poll()
    return _live


_live: RollingWindow | None = None


def _first_fault_ns(context: Context) -> int | None:
    from stormgate.evidence.read import read_ndjson
    from stormgate.evidence.write import TIMELINE
    from stormgate.model import Event

    rows, _ = read_ndjson(context.folder / TIMELINE)
    times = [
        int(row["at_ns"])
        for row in rows
        if row.get("event") == Event.FAULT_REQUESTED and row.get("fault") == context.fault
    ]
    return min(times, default=None)


def _whole(context: Context) -> Observation:
    status = look_whole(context.target)
    return Observation(status.whole, status.why)


def _observe(component: Component) -> Observe:
    if component.observe is None:
        raise CannotBreak(f"{component.name} has no `observe`, so nobody can look at it")
    return component.observe


def _all_answered(target: Target, populations: Sequence[Population]) -> Observation:
    orders = _orders(target, populations)
    paths = {each.name: each.observe.path for each in target.components if each.observe is not None}
    allow = AllowList(target.allow)

    def ask(population: Population) -> str:
        edge = next((name for name in orders[population.name] if name in population.links), None)
        if edge is None:
            return f"{population.name}: no edge"
        try:
            link = resolved(population.links[edge], os.environ)
            headers = {
                name: resolved(value, os.environ) for name, value in population.headers.items()
            }
            url = link.rstrip("/") + paths.get(edge, "/healthz")
            answer = exchange("GET", url, allow, _LOOK_S, headers=headers, head_only=True)
        except KeyError as error:
            return f"{population.name} -> {edge}: ${{{error.args[0]}}} is not set"
        except (OSError, ValueError) as error:
            return f"{population.name} -> {edge}: {error or type(error).__name__}"
        return "" if answer.status < 500 else f"{population.name} -> {edge}: HTTP {answer.status}"

    problems = [problem for problem in in_parallel(ask, populations) if problem]
    return Observation(not problems, "; ".join(problems) or "all are answered")


def _orders(target: Target, populations: Sequence[Population]) -> dict[str, Sequence[str]]:
    """Each population's edges, best first: as the steering table says now, else as written in the
    target.
    """
    written: dict[str, Sequence[str]] = {
        each.name: each.edges or tuple(each.links) for each in populations
    }
    if target.steering.mode != "table" or target.steering.url is None:
        return written
    try:
        url = resolved(target.steering.url, os.environ)
        table = json.loads(fetch(url, AllowList(target.allow), _LOOK_S))["populations"]
        orders = {name: table.get(name) for name in written}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return written
    return {
        name: [edge for edge in told if isinstance(edge, str)]
        if isinstance(told := orders[name], list) and told
        else order
        for name, order in written.items()
    }
