"""What a gate must say before it may touch production, and how far any one fault reaches."""

from __future__ import annotations

import math

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
    if spec.blast_radius is None:
        return
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


def reach(touched: Touched, target: model.Target) -> tuple[set[str], float]:
    """The regions an experiment touches, and the share of users whose first edge is among what it
    touches.

    A population whose edges are known only at run time counts in full: unknown is not safe.
    """
    components = Components(target)
    regions = {region for name in touched.components for region in components.regions_of(name)}
    hit = regions | touched.components

    def reached(edge: str) -> bool:
        return edge in hit or bool(components.regions_of(edge) & hit)

    users = math.fsum(p.share for p in target.populations if not p.edges or reached(p.edges[0]))
    return regions, users if touched.components else 0.0
