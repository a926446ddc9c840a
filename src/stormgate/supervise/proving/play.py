"""One violation after the other: a run of the gate over each, and what it proves of which
objective.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stormgate.documents.violations.planner import Unviolated, Violation
from stormgate.evidence import open_run
from stormgate.judge.violations.breach import SLOW, STALE, UNSERVED
from stormgate.judge.violations.harm import Harm, felt, harm_of, proof_of
from stormgate.model import NO_WAY, OLD_PROOF_DAYS, Judgement, ObjectiveProof, Plan, digest_of
from stormgate.supervise.detect import gate_key
from stormgate.supervise.proving.record import (
    age_days,
    decided,
    objective_digest,
    target_digest,
)

_WAYS = {"unanswered": UNSERVED, "late": SLOW, "stale": STALE, "crowded": UNSERVED}


@dataclass(frozen=True, slots=True)
class Provable:
    """A violation with the plan of its run, and of the gate it is of; `key` says which trial it
    is.
    """

    violation: Violation
    plan: Plan
    gate: Plan
    key: str


def provable(violation: Violation, plan: Plan, gate: Plan, root: Path) -> Provable:
    """With the key of the trial: its plan, and what its experiment says. Raises OSError."""
    texts = [(root / fault.experiment).read_text(encoding="utf-8") for fault in plan.faults]
    return Provable(violation, plan, gate, digest_of({"plan": gate_key(plan), "texts": texts}))


def left(trials: Sequence[Provable], there: Sequence[ObjectiveProof]) -> list[Provable]:
    """The trials that have no answer yet: not all of their objectives were decided by this very
    trial, within the days that a proof counts.
    """
    now = datetime.now(UTC)

    def fresh(one: ObjectiveProof) -> bool:
        try:
            return decided(one) and age_days(one.utc, now) <= OLD_PROOF_DAYS
        except ValueError:
            return False

    done = {(one.key, one.objective) for one in there if fresh(one)}
    return [t for t in trials if any((t.key, o) not in done for o in t.violation.objectives)]


def proofs_of(
    trial: Provable, judgement: Judgement, folder: Path, root: Path
) -> list[ObjectiveProof]:
    """What a run of a trial proves of each of its objectives."""
    violation, run = trial.violation, open_run(folder)
    harm = harm_of(run, trial.plan.faults[0]) if run.plan is not None else Harm()
    way = _WAYS.get(violation.name)
    # That somebody's own experiment violates the objective is its owner's word.
    met = felt(way, harm, violation.latency_ms) if way is not None else True
    limit = limits(violation)
    return [
        _proof(
            trial, name, folder, root, proof_of(judgement, name, met=met, harm=harm, limit=limit)
        )
        for name in violation.objectives
    ]


def limits(violation: Violation) -> Mapping[str, str]:
    """Of the objectives whose limit lets even this violation pass: why no harsher one is made."""
    if violation.latency_ms:
        told = f"its limit allows even {violation.latency_ms:g} ms more"
    else:
        told = (
            f"its limit allows even {violation.hold_s:g} s of this, and the gate lets no fault "
            "last longer (abort.maxFaultDuration)"
        )
    return dict.fromkeys(violation.within, told)


def no_ways(gate: Plan, unviolated: Sequence[Unviolated]) -> list[ObjectiveProof]:
    """What cannot be violated, as it is kept."""
    known = {one.name: one for one in gate.objectives}
    return [
        ObjectiveProof(
            objective=one.objective,
            state=NO_WAY,
            utc=datetime.now(UTC).isoformat(timespec="seconds"),
            why=one.why,
            target=gate.target.name,
            objective_digest=objective_digest(known[one.objective]),
            target_digest=target_digest(gate.target),
        )
        for one in unviolated
    ]


def _proof(
    trial: Provable, name: str, folder: Path, root: Path, found: tuple[str, str]
) -> ObjectiveProof:
    from stormgate import __version__

    objective = next(one for one in trial.gate.objectives if one.name == name)
    state, why = found
    return ObjectiveProof(
        objective=name,
        state=state,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        why=why,
        violation=f"{trial.violation.name}: {trial.violation.told}",
        run=Path(os.path.relpath(folder.resolve(), root.resolve())).as_posix(),
        stormgate=__version__,
        target=trial.gate.target.name,
        key=trial.key,
        objective_digest=objective_digest(objective),
        target_digest=target_digest(trial.gate.target),
    )
