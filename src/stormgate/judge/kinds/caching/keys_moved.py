"""keysMoved: while shards change, at most `lte` of the keys (and at least `gte`) come to be on
another shard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.judge.cells import where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.intervals import of_detail
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Share, Spec, Where
from stormgate.judge.statistics.bounds import lower_bound, upper_bound
from stormgate.model import Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class KeysMovedSpec(Spec):
    """`key` and `label` are the columns that say which key was asked and which shard answered.
    `gte` above 0 wants something to have moved. Fewer than `min_keys` keys show nothing.
    """

    phases: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    lte: Share = Field(lt=1)
    gte: Share = 0.0
    key: str = Field(default="key", min_length=1)
    label: str = Field(default="shard", min_length=1)
    min_keys: int = Field(default=50, ge=2)


class KeysMoved:
    """A key has moved when more than one shard answered for it. Only those count that were asked
    for in the first third of the time and in the last: of another nobody knows.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: KeysMovedSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.shards: dict[int, set[int]] = {}
        self.early: set[int] = set()
        self.late: set[int] = set()
        self.samples = 0

    def add(self, block: Block) -> None:
        rows, seconds = rows_in(block, self.windows)
        keys, shards = block.label(self.spec.key)[rows], block.label(self.spec.label)[rows]
        known = (keys > 0) & (shards > 0) & block.ok[rows]
        where = where_mask(block, self.spec.where)
        if where is not None:
            known &= where[rows]
        keys, shards, seconds = keys[known], shards[known], seconds[known]
        self.samples += len(keys)
        for key, shard in np.unique(np.stack([keys, shards], axis=1), axis=0).tolist():
            self.shards.setdefault(key, set()).add(shard)
        third = self.windows.blocks / 3
        self.early.update(np.unique(keys[seconds < third]).tolist())
        self.late.update(np.unique(keys[seconds >= 2 * third]).tolist())

    def finish(self) -> Result:
        task, spec, alpha = self.task, self.spec, self.task.alpha
        keys = self.early & self.late
        moved = sum(len(self.shards[key]) > 1 for key in keys)
        base: dict[str, Any] = {"limit": spec.lte, "unit": "share", "samples": self.samples}
        if self.windows.missing:
            told = f"phase {', '.join(self.windows.missing)} is not in the evidence whole"
            return Result(task.finding(Verdict.INCONCLUSIVE, told, **base))
        if len(keys) < spec.min_keys:
            told = f"{len(keys):,} keys were asked for before and after, {spec.min_keys:,} wanted"
            return Result(task.finding(Verdict.INCONCLUSIVE, told, **base))
        lower = float(lower_bound(moved, len(keys), alpha))
        upper = float(upper_bound(moved, len(keys), alpha))
        verdict = Verdict.INCONCLUSIVE
        if lower > spec.lte or upper < spec.gte:
            verdict = Verdict.FAIL
        elif upper <= spec.lte and lower >= spec.gte:
            verdict = Verdict.PASS
        allowed = f"{spec.gte:.1%} to {spec.lte:.1%}" if spec.gte else f"at most {spec.lte:.1%}"
        seen = f"{moved:,} of {len(keys):,} keys moved ({lower:.1%} to {upper:.1%})"
        detail = {"keys": len(keys), "moved": moved, "lower": lower, "upper": upper}
        bound = lower if verdict is Verdict.FAIL and lower > spec.lte else upper
        value = moved / len(keys)
        why = f"{seen}, {allowed} wanted"
        return Result(task.finding(verdict, why, value=value, bound=bound, detail=detail, **base))


def _canaries(spec: KeysMovedSpec) -> Sequence[Canary]:
    # So many that none of them is too few beyond doubt.
    count = max(spec.min_keys, math.ceil(4.0 / spec.gte) if spec.gte else 0)
    keys = tuple(f"key-{number}" for number in range(count))
    shards = ("one",) * len(keys) + ("other",) * len(keys)
    all_move = Canary(outcome="ok", dealt={spec.key: keys * 2, spec.label: shards})
    none_moves = Canary(outcome="ok", dealt={spec.key: keys, spec.label: ("one",) * len(keys)})
    return (all_move, none_moves) if spec.gte > 0 else (all_move,)


def _need(spec: KeysMovedSpec, plan: Plan) -> Need:
    told = f"of {spec.min_keys:,} keys, each asked for before and after"
    return Need(2 * spec.min_keys, None, told)


KIND = Kind(
    "keysMoved",
    KeysMovedSpec,
    KeysMoved,
    _canaries,
    _need,
    timing=False,
    users="",
    interval=of_detail("lower", "upper"),
)
