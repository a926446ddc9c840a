"""Before a run: can it decide its objectives at all? Pure arithmetic over a plan; `stormgate plan`
prints it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stormgate.evidence.timeline import phase_names
from stormgate.judge.canary import Proof, prove
from stormgate.judge.registry import Kind, Need, kinds
from stormgate.judge.statistics import bounds as statistics
from stormgate.judge.synthetic import FAULT_S
from stormgate.model import Objective, Plan

# A gap this unlikely somewhere in the watched time counts as one that will not happen.
_GAP_RISK = 0.05


@dataclass(frozen=True, slots=True)
class CellShares:
    """The cells an objective splits its requests into, as far as the plan knows them: the share of
    all requests in each.
    """

    shares: tuple[float, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chances:
    """P(PASS) if the share of bad requests truly is what is allowed, half of it, or twice, with
    independent requests.
    """

    at_target: float
    half: float
    twice: float


@dataclass(frozen=True, slots=True)
class ObjectivePlan:
    """What a plan means for one objective. Requests are per cell where there are cells, of the
    smallest one.
    """

    name: str
    kind: str
    source: str
    requests_needed: int
    requests_expected: int
    cells: int
    chances: Chances | None
    resolution_s: float | None
    widest_outage_s: float | None
    shown_violation: str
    shown_nothing: str
    note: str
    contradictions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A plan's arithmetic. `seconds` and `requests` assume `fault_s` for each fault phase, whose
    length its experiment decides.
    """

    gate: str
    seconds: float
    requests: int
    fault_s: float
    objectives: tuple[ObjectivePlan, ...]
    green: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def decidable(self) -> bool:
        """Whether every objective can pass and can fail."""
        return not self.green and not any(o.contradictions for o in self.objectives)

    def to_json(self) -> dict[str, Any]:
        """Plain data, keys as in the fields."""
        return {**asdict(self), "decidable": self.decidable}


def assess(plan: Plan, fault_s: float = FAULT_S) -> Assessment:
    """The assessment of a plan whose fault phases last about `fault_s` seconds each."""
    lengths = phase_lengths(plan, fault_s)
    seconds = sum(lengths.values())
    proofs = prove(plan)
    objectives = tuple(
        _objective(plan, o, proof, lengths)
        for o, proof in zip(plan.objectives, proofs, strict=True)
    )
    green = tuple(problem for proof in proofs if (problem := proof.problem) is not None)
    requests = round(seconds * plan.load.rate_per_s)
    warnings = unwatched(plan)
    return Assessment(plan.gate, seconds, requests, fault_s, objectives, green, warnings)


def unwatched(plan: Plan) -> tuple[str, ...]:
    """Faults during which no objective looks at the latency or the errors of users, in words: what
    they live through there is not judged.
    """
    watched: set[str] = set()
    for objective in plan.objectives:
        kind = kinds()[objective.kind]
        spec: Any = kind.spec_model.model_validate(objective.spec)
        if kind.users == "faults":
            wanted = getattr(spec, "fault", None)
            watched |= {f"fault[{f.name}]" for f in plan.faults if wanted in (None, f.name)}
        elif kind.users == "phases":
            watched |= set(phase_names(getattr(spec, "phases", ()), plan.faults))
    return tuple(
        f"no objective looks at users' latency or errors in fault[{fault.name}]: add failover, or "
        "phases: [fault] to another"
        for fault in plan.faults
        if f"fault[{fault.name}]" not in watched
    )


def phase_lengths(plan: Plan, fault_s: float) -> dict[str, float]:
    """Seconds of every phase."""
    lengths = {"warmup": plan.warmup_s, "steady": plan.steady_s}
    for fault in plan.faults:
        lengths[f"fault[{fault.name}]"] = fault_s
        lengths[f"recovery[{fault.name}]"] = fault.recovery_s
    lengths["final"] = plan.final_s
    return lengths


def cell_shares(plan: Plan, by: Sequence[str], where: Mapping[str, Sequence[str]]) -> CellShares:
    """How requests fall into cells: by the populations' shares and labels; reads and writes as
    halves, for want of knowing better.
    """
    rows = [(p.share, {"population": p.name, **p.labels}) for p in plan.target.populations] or [
        (1.0, {"population": "all"})
    ]
    total = sum(share for share, _ in rows) or 1.0
    rows = [
        (share / total, labels)
        for share, labels in rows
        if all(labels[c] in values for c, values in where.items() if c in labels)
    ]
    half = 0.5 if len(where.get("op", ())) == 1 else 1.0
    groups: dict[tuple[str, ...], float] = {}
    known = [c for c in by if any(c in labels for _, labels in rows)]
    for share, labels in rows:
        key = tuple(labels.get(c, "") for c in known)
        groups[key] = groups.get(key, 0.0) + share * half
    shares = [s for s in groups.values() if s > 0]
    if "op" in by and half == 1.0:
        shares = [s / 2 for s in shares for _ in range(2)]
    unknown = [
        c
        for c in (*by, *where)
        if c not in ("population", "op") and not any(c in labels for _, labels in rows)
    ]
    return CellShares(tuple(shares), tuple(dict.fromkeys(unknown)))


def _objective(
    plan: Plan, objective: Objective, proof: Proof, lengths: Mapping[str, float]
) -> ObjectivePlan:
    kind = kinds()[objective.kind]
    spec: Any = kind.spec_model.model_validate(objective.spec)
    need = kind.sample_need(spec, plan)
    names = _phases(objective, spec, plan)
    watched_s = sum(lengths.get(name, 0.0) for name in names)
    by = getattr(spec, "by", ())
    if not by and getattr(spec, "coverage", 1.0) < 1:
        by = ("population",)
    cells = cell_shares(plan, by, getattr(spec, "where", {}))
    expected = [share * watched_s * plan.load.rate_per_s for share in cells.shares]
    smallest = math.floor(min(expected, default=0.0))
    sends_per_s = min(cells.shares, default=0.0) * plan.load.rate_per_s
    resolution = 2.0 / sends_per_s if kind.outage and sends_per_s > 0 else None
    contradictions = [
        *_sizes(need, smallest, spec),
        *_course(kind, spec, plan, names, lengths),
        *_gaps(plan, spec, sends_per_s, len(cells.shares), lengths, names),
        *_proof(proof),
    ]
    notes = [need.note] if need.note else []
    notes += kind.notes(spec, plan, {name: lengths.get(name, 0.0) for name in names})
    if cells.unknown:
        notes.append(
            f"how requests fall into {', '.join(cells.unknown)} is not known before: cells may "
            "be smaller"
        )
    return ObjectivePlan(
        name=objective.name,
        kind=objective.kind,
        source=objective.source,
        requests_needed=need.requests,
        requests_expected=smallest,
        cells=len(cells.shares),
        chances=_chances(plan, spec, need, expected),
        resolution_s=resolution,
        widest_outage_s=watched_s - float(getattr(spec, "sustained_s", 0.0))
        if kind.outage and watched_s
        else None,
        shown_violation=proof.violation.value,
        shown_nothing=proof.empty.value,
        note="; ".join(notes),
        contradictions=tuple(contradictions),
    )


def _phases(objective: Objective, spec: Any, plan: Plan) -> list[str]:
    if hasattr(spec, "phases"):
        return phase_names(spec.phases, plan.faults)
    wanted = getattr(spec, "fault", None)
    faults = [f for f in plan.faults if wanted in (None, f.name)]
    # Trials are judged one by one: what one fault's watch holds is what counts.
    shortest = min(faults, key=lambda f: f.recovery_s, default=None)
    return [] if shortest is None else [f"fault[{shortest.name}]", f"recovery[{shortest.name}]"]


def _chances(plan: Plan, spec: Any, need: Need, expected: Sequence[float]) -> Chances | None:
    if need.allowed is None or not expected:
        return None
    allowed, alpha, coverage = need.allowed, 1.0 - plan.confidence, getattr(spec, "coverage", 1.0)
    if coverage < 1:
        alpha /= statistics.conjunction_factor(expected, coverage)
    sizes = [math.floor(n) for n in expected]

    def chance(truth: float) -> float:
        return _covered(
            [statistics.pass_probability(n, truth, allowed, alpha) for n in sizes],
            expected,
            coverage,
        )

    return Chances(chance(allowed), chance(allowed / 2), chance(min(1.0, 2 * allowed)))


def _covered(chances: Sequence[float], weights: Sequence[float], coverage: float) -> float:
    """P(cells of at least `coverage` of the weight pass), cells independent."""
    if coverage >= 1:
        return math.prod(chances)
    steps = 1000
    total = sum(weights)
    reached = {0: 1.0}
    for chance, weight in zip(chances, weights, strict=True):
        part = round(weight / total * steps)
        following: dict[int, float] = {}
        for weight_so_far, p in reached.items():
            following[weight_so_far] = following.get(weight_so_far, 0.0) + p * (1 - chance)
            following[weight_so_far + part] = following.get(weight_so_far + part, 0.0) + p * chance
        reached = following
    # Rounding each cell to a step may lose a step in all.
    return min(
        1.0,
        sum(
            p
            for weight, p in reached.items()
            if weight >= coverage * steps - 0.5 * math.sqrt(len(weights))
        ),
    )


def _sizes(need: Need, smallest: int, spec: Any) -> list[str]:
    if need.requests > smallest:
        cell = " in the smallest cell" if getattr(spec, "by", ()) else ""
        return [
            f"cannot pass: {need.requests:,} requests are needed{cell}, about {smallest:,} are "
            "expected"
        ]
    return []


def _course(
    kind: Kind, spec: Any, plan: Plan, names: Sequence[str], lengths: Mapping[str, float]
) -> Sequence[str]:
    """What the objectives say of each other, and of the phases they are judged in."""
    absent = [name for name in names if name not in lengths or lengths[name] <= 0]
    if absent or not names:
        return [
            f"phase {', '.join(absent) or 'of any fault'} does not exist: it stays INCONCLUSIVE"
        ]
    return kind.contradictions(spec, plan, {name: lengths[name] for name in names})


def _gaps(
    plan: Plan,
    spec: Any,
    sends_per_s: float,
    cells: int,
    lengths: Mapping[str, float],
    names: Sequence[str],
) -> list[str]:
    """A cell that sends so seldom that a silence as long as the limit is to be expected decides
    nothing.
    """
    limit = getattr(spec, "lte_s", None)
    if limit is None or not names:
        return []
    if sends_per_s <= 0:
        return ["no population sends what it looks at"]
    watched = sum(lengths.get(name, 0.0) for name in names) * max(1, len(plan.faults))
    gap = math.log(max(2.0, cells * sends_per_s * watched / _GAP_RISK)) / sends_per_s
    if gap > limit:
        return [
            f"the smallest of {cells} cells sends {sends_per_s:.2g}/s: silences up to "
            f"{gap:.1f} s are to be expected, "
            f"{limit:g} s is the limit; send more, or group by fewer columns"
        ]
    recovery = min(lengths[name] for name in names if name.startswith("recovery["))
    if recovery < spec.sustained_s:
        return [
            f"a recovery of {recovery:g} s cannot show {spec.sustained_s:g} s of sustained "
            "good answers"
        ]
    return []


def _proof(proof: Proof) -> list[str]:
    if proof.problem is not None:
        return [proof.problem]
    if not proof.can_fail:
        return [f"cannot fail: shown a violation it only came to {proof.violation}: {proof.why}"]
    return []
