"""splitBrain: no two sides acknowledge the same version of a key, and no two stores hold different
content under one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stormgate.evidence.operations import NOTHING, History
from stormgate.judge.histories.coverage import near_faults
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import Facts, OnHistory, OnKeys, counted, share_at_most
from stormgate.judge.histories.told import op_detail, op_told, wrong_cell
from stormgate.judge.histories.writes import forks_of
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Plan

Array = NDArray[Any]


class SplitBrainSpec(OnKeys):
    """A side is a `by`. `min_writes_near_fault`: acknowledged writes wanted around each fault."""

    by: Literal["region", "shard"] = "region"
    min_writes_near_fault: int = Field(default=1000, ge=1)


def _look(task: JudgeTask, data: Data) -> Facts:
    spec: SplitBrainSpec = task.spec
    users = data.users
    acked = users.take(data.keys(spec.keys)[users.key] & users.of("write") & users.ok)
    side: Array = getattr(acked, spec.by)
    forks, _ = forks_of(acked)
    sides = [f for f in forks if side[f.first] != side[f.second]]
    known = [f for f in sides if side[f.first] and side[f.second]]
    cells = [_fork(data, acked, f.first, f.second) for f in known[:CELLS_SHOWN]]
    held = _held_differently(data, spec.keys)
    cells += [cell for cell in held if len(cells) < CELLS_SHOWN]
    facts = Facts(
        wrong=cells[:CELLS_SHOWN],
        count=len(known) + len(held),
        samples=len(acked),
        value=float(len(known) + len(held)),
        bound=float(len(known) + len(held)),
        unit="forks",
        detail={"forks": len(known), "held_differently": len(held), "one_sided": len(forks)},
    )
    facts.detail["one_sided"] -= len(sides)
    if not len(acked):
        facts.doubts.append(f"nobody wrote a key like {spec.keys!r}")
    blank = int(np.count_nonzero(side == 0))
    if blank:
        facts.doubts.append(f"{counted(blank, 'acknowledged write')} of no known {spec.by}")
    facts.doubts += near_faults(
        acked.completed_ns, task.context.faults, spec.min_writes_near_fault, "writes"
    )[0]
    facts.told = (
        f"{facts.count:,} forks in {counted(len(acked), 'acknowledged write')} by "
        f"{len(set(side[side > 0].tolist()))} sides"
    )
    return facts


def _fork(data: Data, acked: History, first: int, second: int) -> Cell:
    key, version = acked.names.keys.names[int(acked.key[first])], int(acked.version[first])
    return wrong_cell(
        f"{key} version {version}",
        f"{op_told(data, acked, first)}, and {op_told(data, acked, second)}",
        **op_detail(data, acked, first),
        other=op_detail(data, acked, second),
    )


def _held_differently(data: Data, pattern: str) -> list[Cell]:
    """Keys of which two stores hold one version with different content."""
    final = data.settled
    final = final.take(
        data.keys(pattern)[final.key]
        & final.of("read")
        & (final.version != NOTHING)
        & (final.value != NOTHING)
    )
    order = np.lexsort((final.value, final.version, final.key))
    final = final.take(order)
    same = (np.diff(final.key) == 0) & (np.diff(final.version) == 0) & (np.diff(final.value) != 0)
    found = []
    for row in np.flatnonzero(same).tolist():
        key = final.names.keys.names[int(final.key[row])]
        stores = [final.names.shown("store", int(final.store[at])) for at in (row, row + 1)]
        found.append(
            wrong_cell(
                f"{key} version {int(final.version[row])}",
                f"{stores[0]} holds {int(final.value[row])}, {stores[1]} "
                f"{int(final.value[row + 1])}",
                key=key,
                stores=stores,
            )
        )
    return found


def _canaries(spec: SplitBrainSpec) -> Sequence[Canary]:
    key = spec.keys.replace("*", "canary").replace("?", "c")
    rows = [
        {
            "kind": "write",
            "key": key,
            "version": 1,
            "value": number,
            spec.by: side,
            "invoked": 0.4,
            "completed": 0.41,
        }
        for number, side in enumerate(("left", "right"))
    ]
    return (Canary(outcome="ok", operations=rows),)


def _need(spec: SplitBrainSpec, plan: Plan) -> Need:
    n = spec.min_writes_near_fault
    most = share_at_most(n, 1 - plan.confidence)
    note = f"{n:,} acknowledged writes around each fault: no fork bounds their share at {most:.2g}"
    return Need(n, None, note)


KIND = Kind(
    "splitBrain",
    SplitBrainSpec,
    lambda task: OnHistory(task, _look),
    _canaries,
    _need,
    timing=False,
    users="",
    data=True,
)
