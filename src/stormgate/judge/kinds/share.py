"""share: at least (`gte`) or at most (`lte`) this share of the requests carries one of `values` in
a label: cache hits, tiers, regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from stormgate.judge.intervals import of_share
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Samples, Share
from stormgate.judge.statistics.bounds import requests_needed
from stormgate.judge.statistics.proportion import (
    BadShare,
    cell_verdicts,
    decisive,
    joint_p,
    shown,
    verdict_counts,
    why_cell,
)
from stormgate.judge.violations.breach import UNSERVED, Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stormgate.evidence.samples import Block


class ShareSpec(Samples):
    """`label` is a column of the samples, `values` those that count, and exactly one of `gte` and
    `lte` the limit.
    """

    label: str = Field(min_length=1)
    values: Names = Field(min_length=1)
    gte: Share | None = None
    lte: Share | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.gte is None) == (self.lte is None):
            raise ValueError("give exactly one of gte and lte")
        return self


class LabelShare:
    """Counted over the answered requests that carry the label, and all failed ones: a failure never
    helps, whichever the direction.

    A request answered without the label (a route that has no cache) says nothing and is left out.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: ShareSpec = task.spec
        self.allowed = (
            round(1.0 - self.spec.gte, 12) if self.spec.gte is not None else self.spec.lte or 0.0
        )
        self.test = BadShare(
            task, self._bad, counts=lambda block: ~block.ok | (block.label(self.spec.label) > 0)
        )

    def _bad(self, block: Block) -> NDArray[Any]:
        among = block.columns[self.spec.label].known(self.spec.values)[block.label(self.spec.label)]
        bad: NDArray[Any] = ~(block.ok & among) if self.spec.gte is not None else ~block.ok | among
        return bad

    def add(self, block: Block) -> None:
        self.test.add(block)

    def _share(self, bad: float) -> float:
        return 1.0 - bad if self.spec.gte is not None else bad

    def finish(self) -> Result:
        task, alpha, allowed = self.task, self.task.alpha, self.allowed
        counted = self.test.counted(allowed, alpha)
        limit = self.spec.gte if self.spec.gte is not None else self.spec.lte
        base: dict[str, Any] = {
            "limit": limit,
            "unit": "share",
            "samples": sum(c.total for c in counted),
        }
        unusable = self.test.unusable()
        if unusable or not counted:
            why = unusable or f"no request carries the label {self.spec.label!r} in its phases"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        verdicts = cell_verdicts(counted, allowed, alpha, self.spec.min_samples)
        blocks = self.test.windows.blocks
        cells = [
            Cell(
                name=c.name,
                verdict=v,
                value=self._share(c.bad / c.total),
                bound=self._share(c.lower if v is Verdict.FAIL else c.upper),
                samples=c.total,
                why=why_cell(c, v, allowed, alpha, blocks, self.spec.min_samples),
                detail={"bad": c.bad, "design_effect": c.deff},
            )
            for c, v in zip(counted, verdicts, strict=True)
        ]
        at = decisive(counted, verdicts)
        wanted = f"{self.spec.label} in {', '.join(self.spec.values)}"
        why = (
            f"{wanted}: {cells[at].name}: {cells[at].why}"
            if self.spec.by
            else f"{wanted}: {cells[at].why}"
        )
        detail = {"cells": verdict_counts(verdicts), "bad": sum(c.bad for c in counted)}
        finding = task.finding(
            worst(verdicts),
            why,
            value=cells[at].value,
            bound=cells[at].bound,
            cells=shown(cells),
            detail=detail,
            **base,
        )
        return Result(finding, joint_p(counted, allowed))


def _canaries(spec: ShareSpec) -> Sequence[Canary]:
    wrong = "\0none of them" if spec.gte is not None else spec.values[0]
    return (Canary(outcome="ok", labels={spec.label: wrong}), Canary(outcome="reset"))


def _need(spec: ShareSpec, plan: Plan) -> Need:
    allowed = round(1.0 - spec.gte, 12) if spec.gte is not None else spec.lte or 0.0
    if allowed <= 0:
        return Need(spec.min_samples, None, "a single exception fails it")
    return Need(max(spec.min_samples, requests_needed(allowed, 1.0 - plan.confidence)), allowed)


def _breach(spec: ShareSpec) -> Breach:
    # A failure never helps, whichever the direction.
    return Breach(UNSERVED, allowed=1.0 - spec.gte if spec.gte is not None else spec.lte or 0.0)


KIND = Kind(
    "share", ShareSpec, LabelShare, _canaries, _need, users="", interval=of_share, breach=_breach
)
