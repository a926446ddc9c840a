"""What is known of a gate's objectives from violations made on purpose: `proofs/GATE.json` in the
suite's root, meant to be kept with the suite, and found by every later run of that gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from stormgate.model import (
    PASSED_OVER,
    PROVED,
    VIOLATED,
    KnownProof,
    Objective,
    ObjectiveProof,
    Plan,
    Target,
    digest_of,
    from_json,
    to_json,
)
from stormgate.system.files import write_atomically

SCHEMA = "stormgate.proofs/1"
FOLDER = "proofs"


def record_of(root: Path, gate: str) -> Path:
    """Where the proofs of a gate lie."""
    return root / FOLDER / f"{gate}.json"


def read_proofs(root: Path, gate: str) -> list[ObjectiveProof]:
    """The proofs there are. Raises OSError, ValueError for a file that is not a record of them."""
    path = record_of(root, gate)
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ValueError(f"it is no {SCHEMA}")
        return [from_json(ObjectiveProof, row) for row in data["proofs"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error


def keep(root: Path, gate: str, fresh: Iterable[ObjectiveProof]) -> None:
    """Write proofs among those there are, the newest of each objective and target. What decided
    nothing displaces nothing that did. Raises OSError, ValueError.
    """
    kept = {(one.target, one.objective): one for one in read_proofs(root, gate)}
    for one in fresh:
        before = kept.get((one.target, one.objective))
        if before is None or decided(one) or not decided(before):
            kept[(one.target, one.objective)] = one
    rows = [to_json(kept[place]) for place in sorted(kept)]
    path = record_of(root, gate)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, "gate": gate, "proofs": rows}, indent=1) + "\n"
    write_atomically(path, text)


def decided(proof: ObjectiveProof) -> bool:
    """Whether it says that the objective can fail, or that it did not."""
    return proof.state in {PROVED, PASSED_OVER}


def objective_digest(objective: Objective) -> str:
    """What is asked, whatever it is called and wherever it is written; not the run it is compared
    with.
    """
    spec = {key: value for key, value in objective.spec.items() if key != "baseline"}
    return digest_of({"kind": objective.kind, "spec": spec})


def target_digest(target: Target) -> str:
    """A target as its document says it, before anything of it was started."""
    return digest_of(to_json(target))


def age_days(utc: str, now: datetime) -> int:
    """Whole days since then; 0 for a time that is yet to come. Raises ValueError."""
    return max(0, (now - datetime.fromisoformat(utc)).days)


def with_proofs(plan: Plan, root: Path) -> Plan:
    """The plan (not sealed, its target as its document says it) with what is known of each of its
    objectives on its target. A record that cannot be read is none: no verdict rests on it.
    """
    if any(told.startswith(VIOLATED) for told in plan.short):
        return plan  # it is such a violation itself
    try:
        there = read_proofs(root, plan.gate)
    except (OSError, ValueError):
        there = []
    now = datetime.fromisoformat(plan.started_utc) if plan.started_utc else datetime.now(UTC)
    mine = {one.objective: one for one in there if one.target == plan.target.name}
    where = target_digest(plan.target)
    known = []
    for objective in plan.objectives:
        proof = mine.get(objective.name)
        if proof is None:
            continue
        changed = ""
        if proof.objective_digest != objective_digest(objective):
            changed = "objective"
        elif proof.target_digest != where:
            changed = "target"
        try:
            days = age_days(proof.utc, now)
        except ValueError:
            continue
        known.append(
            KnownProof(
                objective=objective.name,
                state=proof.state,
                days=days,
                utc=proof.utc,
                changed=changed,
                run=proof.run,
            )
        )
    return replace(plan, proofs=tuple(known))
