"""What a gate must say before it may touch production, and how far any one fault reaches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from stormgate import model
from stormgate.documents.components import Components
from stormgate.documents.experiments import Touched
from stormgate.documents.gate_shape import GateSpec
from stormgate.documents.problems import Problems
from stormgate.documents.yamlfile import Document


def check_safety(
    spec: GateSpec,
    target: model.Target,
    touched: dict[str, Touched],
    gate: Document,
    allowed: bool,
    problems: Problems,
) -> None:
    """Note every rule of safety that the gate breaks. Outside production only a blast radius that
    is written is held.
    """

    def note(message: str, fix: str, *loc: str | int) -> None:
        problems.add(gate.file, gate.line("spec", *loc), message, fix)

    if target.environment == "production":
        if not allowed:
            note("the target is production", "say --allow-production to put it on trial", "target")
        if spec.abort is None or spec.abort.error_rate is None:
            note(
                "production without an abort rule",
                "add abort: {errorRate: {gt: 5%, for: 5s}}",
                "abort",
            )
        if spec.blast_radius is None:
            note(
                "production without a blast radius",
                "add blastRadius: {maxRegions: 1, maxUsers: 10%}",
                "blastRadius",
            )
        for index, fault in enumerate(spec.faults):
            for place in touched[fault.name].unresolved:
                message = f"fault {fault.name!r} chooses its components only at run time ({place})"
                note(
                    message,
                    "name them: in production the blast radius is checked beforehand",
                    "faults",
                    index,
                )
            for place in touched[fault.name].strangers:
                note(
                    f"fault {fault.name!r} has an action of somebody else's ({place}): nobody "
                    "knows what it touches",
                    "declare it there: extensions: [{name: stormgate, touches: [NAME]}]",
                    "faults",
                    index,
                )
    if spec.blast_radius is None:
        return
    _check_together(spec, touched, target, note)
    for index, fault in enumerate(spec.faults):
        regions, users = reach(touched[fault.name], target)
        if len(regions) > spec.blast_radius.max_regions:
            message = (
                f"fault {fault.name!r} touches {len(regions)} regions "
                f"({', '.join(sorted(regions))})"
            )
            note(message, f"blastRadius allows {spec.blast_radius.max_regions}", "faults", index)
        if users > spec.blast_radius.max_users + 1e-9:
            message = f"fault {fault.name!r} touches {users:.3g} of the users"
            note(message, f"blastRadius allows {spec.blast_radius.max_users:.3g}", "faults", index)


def _check_together(
    spec: GateSpec,
    touched: dict[str, Touched],
    target: model.Target,
    note: Callable[..., None],
) -> None:
    """Faults that overlap touch at once what all of them do."""
    if spec.blast_radius is None:
        return
    names = [fault.name for fault in spec.faults]
    trials = [
        model.Fault(name=fault.name, experiment="", recovery_s=0.0, overlaps=fault.overlaps)
        for fault in spec.faults
    ]
    for group in model.groups(trials):
        members = [fault.name for fault in group]
        if len(members) < 2:
            continue
        regions, users = reach(_all_of([touched[name] for name in members]), target)
        place = ("faults", max(names.index(name) for name in members), "overlaps")
        told = f"faults {' and '.join(members)} together touch"
        if len(regions) > spec.blast_radius.max_regions:
            message = f"{told} {len(regions)} regions ({', '.join(sorted(regions))})"
            note(message, f"blastRadius allows {spec.blast_radius.max_regions}", *place)
        if users > spec.blast_radius.max_users + 1e-9:
            message = f"{told} {users:.3g} of the users"
            note(message, f"blastRadius allows {spec.blast_radius.max_users:.3g}", *place)


def _all_of(several: Sequence[Touched]) -> Touched:
    return Touched(
        components={name for one in several for name in one.components},
        populations={name for one in several for name in one.populations},
        everyone=[place for one in several for place in one.everyone],
        strangers=[place for one in several for place in one.strangers],
    )


def reach(touched: Touched, target: model.Target) -> tuple[set[str], float]:
    """The regions an experiment touches, and the share of users whose first edge is among what it
    touches.

    Unknown is not safe, and counts as everything: what is chosen nobody knows how, an action of
    somebody else's, a component that stands in no region, the only one (or all) of a kind, a
    population whose first edge is nowhere.
    """
    components = Components(target)
    every = {region.name for region in target.regions}
    lost = [name for name in touched.components if not components.regions_of(name)]
    if touched.everyone or touched.strangers or lost:
        return every, 1.0
    regions = {region for name in touched.components for region in components.regions_of(name)}
    hit = regions | touched.components
    if _all_of_a_kind(touched.components, components):
        return regions, 1.0

    def reached(edge: str) -> bool:
        return edge in hit or bool((components.regions_of(edge) or hit) & hit)

    users = math.fsum(
        p.share
        for p in target.populations
        if p.name in touched.populations
        or (touched.components and (not p.edges or reached(p.edges[0])))
    )
    return regions, users


def _all_of_a_kind(names: set[str], components: Components) -> bool:
    """Whether nothing of some kind is left: who then still does its work?"""
    taken = {
        one.name
        for one in components.known
        if one.name in names or (one.region in names and one.region in components.regions)
    }
    waiting = list(taken)
    while waiting:
        part = next((one for one in components.known if one.name == waiting[-1]), None)
        waiting.pop()
        fresh = set(part.parts if part is not None else ()) - taken
        taken |= fresh
        waiting += fresh
    by_kind: dict[str, set[str]] = {}
    for one in components.known:
        if not one.parts and one.kind not in ("region", "group"):
            by_kind.setdefault(one.kind, set()).add(one.name)
    return any(members <= taken for members in by_kind.values())
