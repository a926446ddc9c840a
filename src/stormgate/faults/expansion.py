"""What breaking a component means for the processes and links it is made of. Pure.

crash     a region: its processes die and its links refuse; a process: it dies; a link: it refuses
freeze    a region: its processes are stopped; a process: it is
stop      like freeze, but they are asked to end (a deploy)
the rest  happens on links: of a region, those that cross its border; of anything else, those that
lead to it
          (blackhole: also those that lead away, for a host without a network neither hears nor
          speaks)
surge     the load: more of it

A mode that a component's own backend offers for it is done to the component itself; so a backend of
your own may have modes of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stormgate.faults import backends
from stormgate.faults.errors import CannotBreak, EmptySelection
from stormgate.model import Component, Target

# What is done to the links of a component whose own backend cannot do it.
LINK_MODES = frozenset({"refuse", "blackhole", "slow", "bandwidth", "lossy"})
SURGE = "surge"
LINK, LOAD = "link", "load"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing a backend breaks, and how."""

    component: Component
    mode: str


def parts_of(target: Target, component: Component, mode: str) -> tuple[Part, ...]:
    """What to break, in which mode, so that `component` is broken by `mode`. Raises CannotBreak
    when nothing would be.
    """
    backend, offered = backends.get(component.backend), backends.modes_of(component)
    known = {*backends.known_modes(), *offered}
    known |= {own for one in target.components for own in backends.modes_of(one)}
    if mode not in known and mode not in backend.refuses:
        raise CannotBreak(f"unknown mode {mode!r}; one of {', '.join(sorted(known))}")
    if (mode == SURGE) != (component.kind == LOAD):
        raise CannotBreak(f"{component.name}: only the load surges, and it can do nothing else")
    if component.kind == LINK:
        wanted = "refuse" if mode == "crash" and mode not in offered else mode
        if wanted not in offered:
            also = {"crash"} if "refuse" in offered else set()
            raise CannotBreak(
                f"{component.name}: a link cannot {mode}; one of "
                f"{', '.join(sorted({*offered, *also}))}"
            )
        return (Part(component, wanted),)
    if mode in offered or backend.breaks_whole:
        return (Part(component, mode),)
    if backend.of_parts:
        found = _group_parts(target, component, mode)
    elif mode not in LINK_MODES:
        # Nothing but the component itself could do it; whoever breaks it will say that it cannot.
        found = [Part(component, mode)]
    else:
        found = [
            Part(link, mode)
            for link in links(target)
            if _touches(link, {component.name}, both=mode == "blackhole")
        ]
    if mode in backend.refuses and (not found or mode not in LINK_MODES):
        raise CannotBreak(f"{component.name}: no {mode}: {backend.refuses[mode]}")
    if not found:
        raise CannotBreak(
            f"{component.name}: nothing to break by {mode} (no process in it, or no link that "
            "leads there)"
        )
    return tuple(found)


def links(target: Target) -> tuple[Component, ...]:
    """All links of the target."""
    return tuple(component for component in target.components if component.kind == LINK)


def members(target: Target, group: Component) -> tuple[Component, ...]:
    """What a group is made of, through groups within it, links too. Raises CannotBreak when a part
    does not exist.
    """
    by_name = {component.name: component for component in target.components}
    found: dict[str, Component] = {}
    waiting = list(group.parts)
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        if name not in by_name:
            raise CannotBreak(
                f"{group.name}: its part {name!r} is not a component of target {target.name!r}"
            )
        found[name] = by_name[name]
        waiting += by_name[name].parts
    return tuple(one for one in found.values() if not backends.get(one.backend).of_parts)


def end_region(target: Target, name: str | None) -> str | None:
    """The region an end of a link is in; None for users and for what has no region."""
    return next(
        (
            component.region or component.name
            for component in target.components
            if component.name == name and _placed(component)
        ),
        None,
    )


def cut_between(target: Target, groups: Sequence[Iterable[str]]) -> tuple[Component, ...]:
    """The links between regions of different groups. Links of users, and regions in no group, are
    left alone.

    Raises EmptySelection when the groups are fewer than two, overlap, name an unknown region, or no
    link crosses them.
    """
    sets = [frozenset(group) for group in groups]
    named = [name for group in sets for name in group]
    known = {component.region for component in target.components} | {
        region.name for region in target.regions
    }
    if len(sets) < 2 or not all(sets) or len(named) != len(set(named)):
        raise EmptySelection(
            "a partition needs two or more sets of regions that share none, not "
            f"{[sorted(group) for group in sets]}"
        )
    unknown = sorted(set(named) - known)
    if unknown:
        raise EmptySelection(
            f"no region {', '.join(unknown)}; there are {', '.join(sorted(filter(None, known)))}"
        )
    side = {name: index for index, group in enumerate(sets) for name in group}
    return _cut(target, lambda a, b: a in side and b in side and side[a] != side[b])


def cut_ring(target: Target, ring: Sequence[str]) -> tuple[Component, ...]:
    """The links between regions that are no neighbours on the ring: everyone sees a majority,
    nobody the same one.

    Raises EmptySelection below four regions (all are neighbours then) or when no link crosses.
    """
    if len(ring) < 4 or len(set(ring)) != len(ring):
        raise EmptySelection(
            f"a ring partition needs at least four different regions, not {list(ring)}"
        )
    place = {name: index for index, name in enumerate(ring)}

    def apart(a: str, b: str) -> bool:
        distance = abs(place.get(a, 0) - place.get(b, 0))
        return a in place and b in place and min(distance, len(ring) - distance) > 1

    return _cut(target, apart)


def shape_sets(names: Sequence[str], shape: str) -> list[list[str]]:
    """`names` (already shuffled) as two sets: one | the rest, majority | minority, halves. Raises
    EmptySelection.
    """
    sizes = {"one": 1, "majority": len(names) // 2 + 1, "halves": len(names) // 2}
    if shape not in sizes:
        raise EmptySelection(
            f"unknown partition shape {shape!r}; one of one, majority, halves, ring"
        )
    if len(names) < 2 or sizes[shape] >= len(names):
        raise EmptySelection(
            f"a partition by {shape} needs more regions than {', '.join(names) or 'none'}"
        )
    return [sorted(names[: sizes[shape]]), sorted(names[sizes[shape] :])]


def _group_parts(target: Target, group: Component, mode: str) -> list[Part]:
    inside = members(target, group)
    if mode not in LINK_MODES:
        processes = [Part(component, mode) for component in inside if component.kind != LINK]
        cut = (
            [Part(component, "refuse") for component in inside if component.kind == LINK]
            if mode == "crash"
            else []
        )
        return processes + cut
    names = {component.name for component in inside} | {group.name}
    return [Part(link, mode) for link in links(target) if _crosses(link, names)]


def _touches(link: Component, names: set[str], *, both: bool) -> bool:
    source, destination = link.attributes.get("source"), link.attributes.get("destination")
    return destination in names or (both and source in names)


def _crosses(link: Component, names: set[str]) -> bool:
    return (link.attributes.get("source") in names) != (link.attributes.get("destination") in names)


def _placed(component: Component) -> bool:
    return component.region is not None or component.kind == "region"


def _cut(target: Target, apart: Callable[[str, str], bool]) -> tuple[Component, ...]:
    found = []
    for link in links(target):
        source = end_region(target, link.attributes.get("source"))
        destination = end_region(target, link.attributes.get("destination"))
        if source is not None and destination is not None and apart(source, destination):
            found.append(link)
    if not found:
        raise EmptySelection("no link crosses this partition")
    return tuple(found)
