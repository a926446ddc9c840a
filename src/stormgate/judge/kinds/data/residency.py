"""residency: data of a class is where it may be, and nowhere else, whatever is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from stormgate.evidence.timeline import phase_names
from stormgate.judge.histories.data import FINAL_PHASE, Data
from stormgate.judge.histories.judging import Facts, OnHistory, counted
from stormgate.judge.histories.told import op_detail, op_told, wrong_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.spec import Names, Spec
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Plan, Store

# Readers that can look through all that a store holds; a command can where it has a scan.
_LOOKED_AT = frozenset({"postgres", "redis", "file"})
# Rounds of looks within which one that did not answer must have answered.
_SOON = 2.0


class ResidencySpec(Spec):
    """Canaries of class `data_class` may be found in the regions (or stores by name) `allow` alone.
    `scan`: the stores that must be looked through in each of `phases` (or, where they did not
    answer in one, within two rounds after it); without, all that were ever looked through.
    `shards`: whose operations may be answered in `allow` alone.
    """

    data_class: str = Field(min_length=1)
    allow: Names = Field(min_length=1)
    scan: Names = ()
    phases: Names = Field(default=("fault", FINAL_PHASE), min_length=1)
    shards: Names = ()


def _look(task: JudgeTask, data: Data) -> Facts:
    spec: ResidencySpec = task.spec
    rows = [row for row in data.residency if row["class"] == spec.data_class]
    scanned = [row for row in rows if row["scanned"]]
    leaks = [row for row in scanned if row["found"] and not _allowed(spec, row)]
    facts = Facts(samples=len(scanned), unit="leaks")
    seen: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in leaks:
        seen.setdefault((row["store"], row["canary"], row["phase"]), []).append(row)
    facts.wrong = [_leak(data, *key, found) for key, found in sorted(seen.items())]
    served = _served_elsewhere(data, spec)
    facts.count = len(seen) + len(served)
    facts.wrong = [*facts.wrong[: CELLS_SHOWN // 2], *served][:CELLS_SHOWN]
    facts.value = facts.bound = float(facts.count)
    facts.detail = {"looks": len(scanned), "leaks": len(seen), "served_elsewhere": len(served)}
    _unseen(task, spec, rows, facts)
    stores = len({row["store"] for row in scanned})
    facts.told = (
        f"{counted(facts.count, 'leak')} of {spec.data_class} out of {', '.join(spec.allow)}, in "
        f"{counted(len(scanned), 'look')} through {counted(stores, 'store')}"
    )
    return facts


def _allowed(spec: ResidencySpec, row: Mapping[str, Any]) -> bool:
    return row["store"] in spec.allow or row.get("region") in spec.allow


def _leak(
    data: Data, store: str, canary: str, phase: str, rows: Sequence[Mapping[str, Any]]
) -> Cell:
    first = min(rows, key=lambda row: int(row["at_ns"]))
    where = f" ({first['why']})" if first.get("why") else ""
    at_s = data.seconds(int(first["at_ns"]))
    return wrong_cell(
        f"{canary} in {store}, {phase}",
        f"found{where}, first at {at_s:.3f} s, in {counted(len(rows), 'look')}",
        canary=canary,
        store=store,
        region=first.get("region"),
        phase=phase,
        first_s=at_s,
    )


def _served_elsewhere(data: Data, spec: ResidencySpec) -> list[Cell]:
    """Operations of the class's shards that somebody answered who may not."""
    if not spec.shards:
        return []
    users = data.users
    names = users.names
    mine = np.array([name in spec.shards for name in names["shard"].names], bool)
    fine = np.array([name in spec.allow for name in names["region"].names], bool)
    mine[0] = False
    fine[0] = True  # of whom nobody knows it, nothing is proven
    rows = np.flatnonzero(users.ok & mine[users.shard] & ~fine[users.region])
    return [
        wrong_cell(
            f"{names.keys.names[int(users.key[row])]} at "
            f"{data.seconds(int(users.invoked_ns[row])):.3f} s",
            op_told(data, users, row),
            **op_detail(data, users, row),
        )
        for row in rows.tolist()
    ]


def _unseen(
    task: JudgeTask, spec: ResidencySpec, rows: Sequence[Mapping[str, Any]], facts: Facts
) -> None:
    """What was not looked through, or where a look that finds nothing says nothing."""
    if not rows:
        facts.doubts.append(f"nobody looked for a canary of class {spec.data_class}")
        return
    scanned = [row for row in rows if row["scanned"]]
    if not any(row["found"] and _allowed(spec, row) for row in scanned):
        facts.doubts.append(
            f"no canary of class {spec.data_class} was found where it may be: nobody knows that "
            "there was one, or that a look would find it"
        )
    blind = [row for row in scanned if _is_blind(row)]
    if blind:
        row = blind[0]
        facts.doubts.append(
            f"a look through {row['store']} in {row['phase']} found not even what is surely there "
            f"({counted(len(blind), 'such look')})"
        )
    plan = task.context.plan
    known = {store.name for store in plan.target.stores if _is_looked_at(store)}
    stores = set(spec.scan) or known | {row["store"] for row in rows}
    soon_ns = round(_SOON * plan.target.final_read.scan_every_s * 1e9)
    late = 0
    for phase in phase_names(spec.phases, plan.faults):
        done = {row["store"] for row in scanned if row["phase"] == phase}
        for store in sorted(stores - done):
            mine = [row for row in rows if row["store"] == store]
            tried = [row for row in mine if row["phase"] == phase]
            if tried and _answered_soon(mine, int(tried[-1]["at_ns"]), soon_ns):
                late += 1
                continue
            why = f": {tried[0]['why']}" if tried else ""
            facts.doubts.append(f"{store} was not looked through in {phase}{why}")
    facts.detail["looked_through_after"] = late


def _answered_soon(looks: Sequence[Mapping[str, Any]], since_ns: int, soon_ns: int) -> bool:
    """Whether a store that let the tries of a phase go unanswered was looked through soon after.

    What a fault holds still can neither be read nor written, and is found in it once it moves: a
    frozen server is no reason to doubt what was seen of it a moment later.
    """
    return any(
        look["scanned"] and since_ns < int(look["at_ns"]) <= since_ns + soon_ns for look in looks
    )


def _is_looked_at(store: Store) -> bool:
    """Whether the target lists a store as one to look through."""
    return store.reader in _LOOKED_AT or bool(store.scan)


def _is_blind(row: Mapping[str, Any]) -> bool:
    if row["found"]:
        return False
    control = row.get("control")
    return control is False or (row["searched"] == 0 and control is not True)


def _canaries(spec: ResidencySpec) -> Sequence[Canary]:
    stores = [name for name in spec.scan if name not in spec.allow] or ["elsewhere"]
    base = {"class": spec.data_class, "canary": "canary", "scanned": True, "searched": 1}
    looks = [
        {**base, "store": name, "region": "nowhere", "found": True, "phase": "final", "at": 0.9}
        for name in stores
    ]
    return (Canary(outcome="ok", residency=looks),)


def _need(spec: ResidencySpec, plan: Plan) -> Need:
    phases = phase_names(spec.phases, plan.faults)
    where = ", ".join(spec.scan) or "every store that the target lists"
    return Need(0, None, f"a look through {where} in each of {', '.join(phases)}")


KIND = Kind(
    "residency",
    ResidencySpec,
    lambda task: OnHistory(task, _look),
    _canaries,
    _need,
    timing=False,
    users="",
    data=True,
)
