"""The cells an objective has by its plan and its workload: one in which nobody asked was not
measured, and is not green because the others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stormgate.evidence.arrow import UNKNOWN
from stormgate.evidence.timeline import phase_names
from stormgate.judge.registry import Kind, Result
from stormgate.judge.rules.visits import Visits
from stormgate.model import Plan, Population, Verdict

_POPULATION, _OP = "population", "op"


def held(result: Result, kind: Kind, spec: Any, plan: Plan, visits: Visits) -> Result:
    """The result; INCONCLUSIVE instead of PASS when a cell it should have was not measured.

    With a coverage below 1 a cell that nobody measured is one that is not covered: the kind itself
    counts it so.
    """
    if result.finding.verdict is not Verdict.PASS or getattr(spec, "coverage", 1.0) < 1:
        return result
    absent = unmeasured(kind, spec, plan, visits)
    if not absent:
        return result
    more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
    finding = result.finding
    detail = {**finding.detail, "unmeasured": absent[:50], "without_them": finding.verdict.value}
    why = f"{absent[0]}{more}"
    return replace(
        result,
        finding=replace(finding, verdict=Verdict.INCONCLUSIVE, why=why, detail=detail),
    )


def unmeasured(kind: Kind, spec: Any, plan: Plan, visits: Visits) -> list[str]:
    """Cells of an objective without any request in its phases, in words. Cells are known before
    only as far as the plan and the workload know them: populations, facts of them (their labels),
    and the operations that they were seen to do at any time of the run.
    """
    by = tuple(getattr(spec, "by", ()))
    where: Mapping[str, Sequence[str]] = getattr(spec, "where", {})
    people = [p for p in plan.target.populations if p.share > 0 and _wanted(p, where)]
    known = [c for c in by if c == _POPULATION or any(c in p.labels for p in people)]
    if not people or not (known or _OP in by):
        return []
    found = []
    for phases in _stretches(kind, spec, plan):
        asked = visits.asked(phases)
        for name, pairs in _cells(people, known, _OP in by, where, visits):
            if not any(asked.get(pair) for pair in pairs):
                found.append(f"{name}: nobody asked in {', '.join(phases)}")
    return found


def _stretches(kind: Kind, spec: Any, plan: Plan) -> Iterator[list[str]]:
    """The phases in which each of an objective's cells must be seen."""
    if kind.over_faults:
        for fault in plan.faults:
            if getattr(spec, "fault", None) in (None, fault.name):
                yield [f"fault[{fault.name}]", f"recovery[{fault.name}]"]
    elif getattr(spec, "phases", None):
        yield phase_names(spec.phases, plan.faults)


def _cells(
    people: Sequence[Population],
    known: Sequence[str],
    by_op: bool,
    where: Mapping[str, Sequence[str]],
    visits: Visits,
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each expected cell by name, and the (population, op) pairs that make it."""
    wanted = where.get(_OP)
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for person in people:
        facts = {**person.labels, _POPULATION: person.name}
        ops = sorted(visits.ops(person.name))
        key = tuple(facts.get(column, UNKNOWN) for column in known)
        if by_op:
            for op in ops:
                if wanted is None or op in wanted:
                    groups.setdefault((*key, op), []).append((person.name, op))
        else:
            # One that never asked for anything at all has no operation, and is missed all the same.
            pairs = [(person.name, op) for op in ops if wanted is None or op in wanted]
            groups.setdefault(key, []).extend(pairs)
        if by_op and not ops:
            groups.setdefault(key, [])
    for key, pairs in sorted(groups.items()):
        yield " / ".join(key) or "all", pairs


def _wanted(population: Population, where: Mapping[str, Sequence[str]]) -> bool:
    facts = {**population.labels, _POPULATION: population.name}
    return all(facts[c] in values for c, values in where.items() if c in facts)
