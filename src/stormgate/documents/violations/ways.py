"""In which ways the users of a target can be cut off, slowed down or served old data, with what its
components can be broken by. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from stormgate.documents.components import Components
from stormgate.faults import backends
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import LINK, LOAD, end_region, links, members
from stormgate.model import Component, Population, Target

# Modes after which nobody answers: first those that fail a request for good, which freeze does not.
_SILENCING = ("blackhole", "refuse", "crash", "isolate", "scale_down", "freeze", "stop")
# What users are served by, from the outside in; other kinds follow in the target's order.
_KINDS = ("edge", "gateway", "web", "service")


@dataclass(frozen=True, slots=True)
class Breakage:
    """`actions` are calls of stormgate.chaos.actions, each with its arguments; `populations` those
    who have no way around it (empty: nobody can say before); `told`: what is done, in words.
    """

    actions: tuple[tuple[str, Mapping[str, Any]], ...]
    told: str
    populations: tuple[str, ...] = ()


def ways_to_cut(target: Target) -> list[Breakage]:
    """Nobody answers: first what leaves everybody without a way around it, then what leaves one
    population so, then all parts of one kind at once.
    """
    if Components(target).lab:
        return [_broken([("edge", "crash")], "every edge is down", kind=True)]
    cut: dict[str, list[tuple[str, str]]] = {}
    for population in target.populations:
        parts = [_before_users(target, population, edge) for edge in population.edges]
        if parts and all(parts):
            cut[population.name] = [part for one in parts for part in one]
    found = []
    if len(cut) > 1:
        together = [part for parts in cut.values() for part in parts]
        found.append(_broken(together, "", tuple(cut)))
    shares = {p.name: p.share for p in target.populations}
    for name in sorted(cut, key=lambda one: (-shares[one], one)):
        found.append(_broken(cut[name], "", (name,)))
    return found + [_broken(parts, "") for parts in _whole_kinds(target)]


def ways_to_slow(target: Target, latency_ms: int) -> list[Breakage]:
    """Every answer is `latency_ms` later: on the links of all users, of one population, on all
    links.
    """
    params = {"latency_ms": latency_ms}
    late = f"{latency_ms} ms on every round trip of "
    if Components(target).lab:
        told = f"{late}the links to every edge"
        return [_broken([("edge", "slow")], told, kind=True, params=params)]
    able = [one for one in links(target) if "slow" in backends.modes_of(one)]
    people = {p.name: len(p.edges) for p in target.populations}
    theirs: dict[str, list[str]] = {}
    for one in able:
        if (source := str(one.attributes.get("source", ""))) in people:
            theirs.setdefault(source, []).append(one.name)
    # One link that is left is a way around.
    whole = {name: them for name, them in theirs.items() if len(them) >= max(1, people[name])}
    groups = [tuple(whole)] if len(whole) > 1 else []
    shares = {p.name: p.share for p in target.populations}
    groups += [(name,) for name in sorted(whole, key=lambda one: (-shares[one], one))]
    found = [
        _broken(
            [(link, "slow") for name in group for link in whole[name]],
            f"{late}the users of {', '.join(group)}",
            group,
            params=params,
        )
        for group in groups
    ]
    if able:
        told = f"{late}{_listed([one.name for one in able])}"
        found.append(_broken([(one.name, "slow") for one in able], told, params=params))
    return found


def ways_to_age(target: Target) -> list[Breakage]:
    """What is read is old: regions do not hear of each other's writes, and users keep theirs."""
    if Components(target).lab and len(target.regions) > 1:
        arguments = {"shape": "one", "mode": "blackhole"}
        return [Breakage((("partition", arguments),), "one region is cut off from all others")]
    between = []
    for one in links(target):
        ends = [end_region(target, one.attributes.get(end)) for end in ("source", "destination")]
        if None not in ends and ends[0] != ends[1] and "blackhole" in backends.modes_of(one):
            between.append((one.name, "blackhole"))
    return [_broken(between, "")] if between else []


def way_to_crowd(rate_per_s: float) -> Breakage:
    """More arrivals than were planned for: twenty times as many, and no more than 2,000/s."""
    factor = round(max(2.0, min(20.0, 2000.0 / rate_per_s)), 1)
    return Breakage((("load_surge", {"factor": factor}),), f"{factor:g} times the arrivals")


def _before_users(target: Target, population: Population, edge: str) -> list[tuple[str, str]]:
    """What silences an edge for a population: its link there, else the parts that are the edge."""
    for one in links(target):
        ends = (one.attributes.get("source"), one.attributes.get("destination"))
        if ends == (population.name, edge) and "blackhole" in backends.modes_of(one):
            return [(one.name, "blackhole")]
    dialled = urlsplit(population.links.get(edge, "")).netloc
    parts = [one for one in target.components if one.kind != LINK]
    for same in (
        [one for one in parts if one.name == edge],
        [one for one in parts if dialled and one.observe and one.observe.address == dialled],
        [one for one in parts if one.kind == "edge" and one.region == edge],
    ):
        modes = [(one.name, mode) for one in same if (mode := _silencing(target, one))]
        if same and len(modes) == len(same):
            return modes
    return []


def _whole_kinds(target: Target) -> Iterable[list[tuple[str, str]]]:
    kinds: dict[str, list[Component]] = {}
    for one in target.components:
        if one.kind not in (LINK, LOAD) and not one.parts:
            kinds.setdefault(one.kind, []).append(one)
    order = [kind for kind in _KINDS if kind in kinds]
    for kind in [*order, *(kind for kind in kinds if kind not in order)]:
        modes = [(one.name, mode) for one in kinds[kind] if (mode := _silencing(target, one))]
        if len(modes) == len(kinds[kind]):
            yield modes
    blackholes = [
        (one.name, "blackhole") for one in links(target) if "blackhole" in backends.modes_of(one)
    ]
    if blackholes:
        yield blackholes


def _silencing(target: Target, part: Component) -> str | None:
    """The mode that leaves the part silent, where it has one that needs to be told nothing."""
    if backends.get(part.backend).of_parts:
        try:
            inside = [one for one in members(target, part) if one.kind != LINK]
        except CannotBreak:
            return None
        common = [m for m in _SILENCING if inside and all(_offers(one, m) for one in inside)]
        return common[0] if common else None
    return next((mode for mode in _SILENCING if _offers(part, mode)), None)


def _offers(part: Component, mode: str) -> bool:
    model = backends.modes_of(part).get(mode)
    if model is None:
        return False
    try:
        model.model_validate({})
    except ValidationError:
        return False
    return True


def _broken(
    parts: Sequence[tuple[str, str]],
    told: str,
    populations: tuple[str, ...] = (),
    *,
    kind: bool = False,
    params: Mapping[str, Any] | None = None,
) -> Breakage:
    """All these parts in their modes: an action for each mode. `kind`: kinds, not names."""
    modes: dict[str, list[str]] = {}
    for name, mode in parts:
        if name not in modes.setdefault(mode, []):
            modes[mode].append(name)
    actions = []
    for mode, names in modes.items():
        selected: Any = [{"kind": name} for name in names] if kind else names
        arguments = {"component": selected, "mode": mode, **(params or {})}
        actions.append(("break_component", arguments))
    told = told or "; ".join(f"{mode} {_listed(names)}" for mode, names in modes.items())
    return Breakage(tuple(actions), told, populations)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
