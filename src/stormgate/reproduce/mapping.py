"""Whether another target has what a recorded run broke, before anything starts: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stormgate.documents.components import Components
from stormgate.documents.problems import nearest
from stormgate.model import Plan, Target
from stormgate.reproduce.recorded import LOAD, Recorded
from stormgate.reproduce.schedule import FidelityGap

_LINK = "link:"


def parse_map(texts: Sequence[str]) -> dict[str, str]:
    """THERE=HERE of a command line, by the name there. Raises ValueError for anything else."""
    found: dict[str, str] = {}
    for text in texts:
        there, equals, here = text.rpartition("=")
        if not (equals and there.strip() and here.strip()):
            raise ValueError(f"{text!r} is not THERE=HERE; write --map eu/web=web")
        found[there.strip()] = here.strip()
    return found


def unmapped(
    run: Recorded, target: Target, places: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Every component and link of the run that `target` lacks, under the name that `places` gives
    it: (name there, what is missing, fix). A lab's links get their names when it starts: of those
    the two ends are looked at. Also names in `places` that the run never broke.
    """
    components = Components(target)
    names = components.names
    for there in run.places:
        here = places.get(there, there)
        if here in names or (components.lab and _lab_has(here, names, target)):
            continue
        fix = f"{nearest(here, names, what='it has')}; or --map {there}=NAME"
        yield there, f"target {target.name!r} has no component {here!r}", fix
    for there in places:
        if there not in run.places:
            yield there, "the run never broke it", nearest(there, run.places, what="it broke")
    users = {one.name for one in target.populations}
    for trial in run.trials:
        for one in trial.schedule.segments:
            population = one.params.get("population") if one.where == LOAD else None
            if population is not None and population not in users:
                what = f"target {target.name!r} has no population {population!r}"
                yield f"load of {population}", what, nearest(str(population), users, what="it has")


def _lab_has(name: str, names: Sequence[str], target: Target) -> bool:
    ends = name.removeprefix(_LINK).split("->")
    if not name.startswith(_LINK) or len(ends) != 2:
        return False
    users = [f"population/{one.name}" for one in target.populations]
    return all(end in names or end in users for end in ends)


def differing_users(plan: Plan, target: Target) -> Iterator[FidelityGap]:
    """How the users of a target differ from those of the plan."""
    there = {one.name: one.share for one in plan.target.populations}
    here = {one.name: one.share for one in target.populations}
    for name in dict.fromkeys([*there, *here]):
        told = f"{there.get(name, 0.0):.3g} of the users there, {here.get(name, 0.0):.3g} here"
        if abs(there.get(name, 0.0) - here.get(name, 0.0)) > 1e-9:
            yield FidelityGap(what=f"population {name}", why=told, source="plan.json")
