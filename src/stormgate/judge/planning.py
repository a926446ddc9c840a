"""Before a run: can it decide its objectives at all? Pure arithmetic over a plan; `stormgate plan`
prints it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from stormgate.evidence.timeline import phase_names, select
from stormgate.judge.canary import Proof, prove
from stormgate.judge.planning_failover import foresee
from stormgate.judge.registry import Kind, Need, kinds
from stormgate.judge.rules.due import area
from stormgate.judge.rules.visits import SURELY
from stormgate.judge.statistics import bounds
from stormgate.judge.synthetic import FAULT_S, stretches_of
from stormgate.model import Objective, Plan, expected_spans


@dataclass(frozen=True, slots=True)
class CellShares:
    """The cells an objective splits its requests into, as far as the plan knows them: the share of
    all requests in each, the share of the users it stands for, and that of users without requests.
    """

    shares: tuple[float, ...]
    unknown: tuple[str, ...]
    weights: tuple[float, ...] = ()
    silent: float = 0.0


@dataclass(frozen=True, slots=True)
class Chances:
    """P(PASS) if the share of bad requests truly is what is allowed, half of it, or twice, with
    independent requests; where outages are judged, if every cell is down for so long.
    """

    at_target: float
    half: float
    twice: float


@dataclass(frozen=True, slots=True)
class ObjectivePlan:
    """What a plan means for one objective. Requests are per cell where there are cells, of the
    smallest one that must pass.
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
    length its experiment decides. `unserved` are populations that no stream is dealt to; `missed`
    says that the judge will miss them.
    """

    gate: str
    seconds: float
    requests: int
    fault_s: float
    objectives: tuple[ObjectivePlan, ...]
    green: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    unserved: tuple[str, ...] = ()
    missed: bool = False

    @property
    def decidable(self) -> bool:
        """Whether every objective can pass and can fail, and nobody is missed who was promised."""
        whole = not any(o.contradictions for o in self.objectives)
        return whole and not self.green and not self.missed

    def to_json(self) -> dict[str, Any]:
        """Plain data, keys as in the fields."""
        return {**asdict(self), "decidable": self.decidable}


def assess(
    plan: Plan, fault_s: float = FAULT_S, streams: Mapping[str, int] | None = None
) -> Assessment:
    """The assessment of a plan whose fault phases last about `fault_s` seconds each. `streams`: how
    many of them each population is dealt; None: as the shares say.
    """
    lengths = phase_lengths(plan, fault_s)
    seconds = max(end for _, _, end in expected_spans(plan, fault_s))
    plan = _at_mean_rate(plan, seconds)
    populations = plan.target.populations
    unserved = [p for p in populations if streams is not None and not streams.get(p.name)]
    longest_s = max((s for name, s in lengths.items() if name != "warmup"), default=0.0)
    due = plan.load.rate_per_s * longest_s
    proofs = prove(plan)
    objectives = tuple(
        _objective(plan, o, proof, fault_s, streams)
        for o, proof in zip(plan.objectives, proofs, strict=True)
    )
    green = tuple(problem for proof in proofs if (problem := proof.problem) is not None)
    return Assessment(
        plan.gate,
        seconds,
        round(seconds * plan.load.rate_per_s),
        fault_s,
        objectives,
        green,
        unwatched(plan),
        tuple(p.name for p in unserved),
        any(due * p.share >= SURELY for p in unserved),
    )


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


def _at_mean_rate(plan: Plan, seconds: float) -> Plan:
    """A plan whose shape schedules its users, at the mean rate of its judged phases."""
    load, judged_s = plan.load, seconds - plan.warmup_s
    if not load.schedule or judged_s <= 0:
        return plan
    mean_users = area(load.schedule, plan.warmup_s, seconds) / judged_s
    rate_per_s = load.rate_per_s * mean_users / load.users
    return replace(plan, load=replace(load, rate_per_s=rate_per_s))


def phase_lengths(plan: Plan, fault_s: float) -> dict[str, float]:
    """Seconds of every phase; where faults overlap, phases do."""
    return {name: end - begin for name, begin, end in expected_spans(plan, fault_s)}


def _judged_lengths(
    plan: Plan, selectors: Sequence[str], names: Sequence[str], fault_s: float
) -> dict[str, float]:
    """Seconds of these phases as they are judged, each moment once: for the first that holds it."""
    found = dict.fromkeys(names, 0.0)
    for window in select(selectors, stretches_of(plan, fault_s), plan.faults).windows:
        found[window.phases[0]] += window.duration_s
    return found


def cell_shares(
    plan: Plan,
    by: Sequence[str],
    where: Mapping[str, Sequence[str]],
    streams: Mapping[str, int] | None = None,
) -> CellShares:
    """How requests fall into cells: by the populations' streams (without `streams`, by their
    shares) and labels; reads and writes as halves, for want of knowing better.
    """
    rows = [
        (
            p.share if streams is None else float(streams.get(p.name, 0)),
            p.share,
            {"population": p.name, **p.labels},
        )
        for p in plan.target.populations
    ] or [(1.0, 1.0, {"population": "all"})]
    total = sum(sent for sent, _, _ in rows) or 1.0
    promised = sum(share for _, share, _ in rows) or 1.0
    rows = [
        (sent / total, share / promised, labels)
        for sent, share, labels in rows
        if all(labels[c] in values for c, values in where.items() if c in labels)
    ]
    half = 0.5 if len(where.get("op", ())) == 1 else 1.0
    groups: dict[tuple[str, ...], tuple[float, float]] = {}
    known = [c for c in by if any(c in labels for _, _, labels in rows)]
    for sent, share, labels in rows:
        key = tuple(labels.get(c, "") for c in known)
        before = groups.get(key, (0.0, 0.0))
        groups[key] = (before[0] + sent * half, before[1] + share)
    cells = [pair for pair in groups.values() if pair[0] > 0]
    silent = sum(share for sent, share in groups.values() if sent <= 0)
    if "op" in by and half == 1.0:
        cells = [(sent / 2, share / 2) for sent, share in cells for _ in range(2)]
    unknown = [
        c
        for c in (*by, *where)
        if c not in ("population", "op") and not any(c in labels for _, _, labels in rows)
    ]
    return CellShares(
        tuple(sent for sent, _ in cells),
        tuple(dict.fromkeys(unknown)),
        tuple(share for _, share in cells),
        silent,
    )


def _objective(
    plan: Plan,
    objective: Objective,
    proof: Proof,
    fault_s: float,
    streams: Mapping[str, int] | None,
) -> ObjectivePlan:
    kind = kinds()[objective.kind]
    spec: Any = kind.spec_model.model_validate(objective.spec)
    need = kind.sample_need(spec, plan)
    names = _phases(objective, spec, plan)
    lengths = _judged_lengths(plan, getattr(spec, "phases", names), names, fault_s)
    watched_s = sum(lengths.values())
    by = getattr(spec, "by", ())
    by = (by,) if isinstance(by, str) else by
    coverage = float(getattr(spec, "coverage", 1.0))
    if not by and coverage < 1:
        by = ("population",)
    cells = cell_shares(plan, by, getattr(spec, "where", {}), streams)
    expected = [share * watched_s * plan.load.rate_per_s for share in cells.shares]
    smallest = math.floor(_needed_cell(expected, cells, coverage))
    foresight = None
    if kind.outage and names:
        rates = [share * plan.load.rate_per_s for share in cells.shares]
        foresight = foresee(plan, spec, names, lengths, rates)
        need = replace(need, requests=max(foresight.requests, spec.min_samples))
    contradictions = [
        *(foresight.contradictions if foresight else _sizes(need, smallest, spec)),
        *_course(kind, spec, plan, names, lengths, phase_lengths(plan, fault_s)),
        *_proof(proof),
    ]
    notes = [need.note] if need.note else []
    notes += kind.notes(spec, plan, lengths)
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
        chances=Chances(*foresight.chances)
        if foresight
        else _chances(plan, need, expected, cells, coverage),
        resolution_s=foresight.resolution_s if foresight else None,
        widest_outage_s=watched_s - float(spec.sustained_s) if foresight and watched_s else None,
        shown_violation=proof.violation.value,
        shown_nothing=proof.empty.value,
        note="; ".join(notes),
        contradictions=tuple(contradictions),
    )


def _needed_cell(expected: Sequence[float], cells: CellShares, coverage: float) -> float:
    """The requests in the smallest cell that must pass: of all, or of the largest that make up the
    coverage. 0 where what is sent cannot make it up.
    """
    if coverage >= 1:
        return min(expected, default=0.0)
    whole = sum(cells.weights) + cells.silent
    reached = 0.0
    for count, weight in sorted(zip(expected, cells.weights, strict=True), reverse=True):
        reached += weight / (whole or 1.0)
        if reached >= coverage - 1e-12:
            return count
    return 0.0


def _phases(objective: Objective, spec: Any, plan: Plan) -> list[str]:
    if hasattr(spec, "phases"):
        return phase_names(spec.phases, plan.faults)
    wanted = getattr(spec, "fault", None)
    faults = [f for f in plan.faults if wanted in (None, f.name)]
    # Trials are judged one by one: what one fault's watch holds is what counts.
    shortest = min(faults, key=lambda f: f.recovery_s, default=None)
    if shortest is None and wanted is None and kinds()[objective.kind].data:
        return ["steady"]  # operations of the whole run count
    return [] if shortest is None else [f"fault[{shortest.name}]", f"recovery[{shortest.name}]"]


def _chances(
    plan: Plan, need: Need, expected: Sequence[float], cells: CellShares, coverage: float
) -> Chances | None:
    if need.allowed is None or not expected:
        return None
    allowed, alpha = need.allowed, 1.0 - plan.confidence
    weights = [*cells.weights, *([cells.silent] if cells.silent else [])]
    if coverage < 1:
        # As the judge does: a population without requests is not covered, and its share counts.
        alpha /= bounds.conjunction_factor(weights, coverage)
    sizes = [math.floor(n) for n in expected]

    def chance(truth: float) -> float:
        each = {n: bounds.pass_probability(n, truth, allowed, alpha) for n in set(sizes)}
        passed = [each[n] for n in sizes] + ([0.0] if cells.silent else [])
        return covered_chance(passed, weights, coverage)

    return Chances(chance(allowed), chance(allowed / 2), chance(min(1.0, 2 * allowed)))


def covered_chance(
    chances: Sequence[float], weights: Sequence[float], coverage: float, steps: int = 4000
) -> float:
    """P(cells of at least `coverage` of the weight pass), cells independent."""
    if coverage >= 1:
        return math.prod(chances)
    total = sum(weights)
    reached = np.zeros(steps + 1)
    reached[0] = 1.0
    before = so_far = 0
    sum_so_far = 0.0
    for chance, weight in zip(chances, weights, strict=True):
        # Rounded as a running sum, so that many small cells do not add up to a large error.
        sum_so_far += weight
        before, so_far = so_far, round(sum_so_far / total * steps)
        part = so_far - before
        moved = reached * chance
        reached *= 1.0 - chance
        reached[part:] += moved[: len(moved) - part]
    return float(min(1.0, reached[math.ceil(coverage * steps - 1e-9) :].sum()))


def _sizes(need: Need, smallest: int, spec: Any) -> list[str]:
    if need.requests <= smallest:
        return []
    coverage = getattr(spec, "coverage", 1.0)
    cell = " in the smallest cell" if getattr(spec, "by", ()) else ""
    if coverage < 1:
        cell = f" in the smallest of the cells that make up {coverage:.1%}"
    return [
        f"cannot pass: {need.requests:,} requests are needed{cell}, about {smallest:,} are expected"
    ]


def _course(
    kind: Kind,
    spec: Any,
    plan: Plan,
    names: Sequence[str],
    lengths: Mapping[str, float],
    there: Mapping[str, float],
) -> Sequence[str]:
    """What the objectives say of each other, and of the phases they are judged in."""
    absent = [name for name in names if there.get(name, 0.0) <= 0]
    if absent or not names:
        return [
            f"phase {', '.join(absent) or 'of any fault'} does not exist: it stays INCONCLUSIVE"
        ]
    return kind.contradictions(spec, plan, lengths)


def _proof(proof: Proof) -> list[str]:
    if proof.problem is not None:
        return [proof.problem]
    if not proof.can_fail:
        return [f"cannot fail: shown a violation it only came to {proof.violation}: {proof.why}"]
    return []
