"""hitRatio: of the requests that went through a cache at least `gte` were answered from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.judge.intervals import of_share
from stormgate.judge.kinds.share import LabelShare, ShareSpec
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.spec import Names, Samples, Share
from stormgate.judge.statistics.bounds import requests_needed
from stormgate.judge.statistics.proportion import BadShare
from stormgate.model import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stormgate.evidence.samples import Block


class HitRatioSpec(Samples):
    """`label` says how an answer came: one of `hits` or of `misses`. Any other value went through
    no cache and says nothing.
    """

    gte: Share = Field(gt=0)
    label: str = Field(default="cache", min_length=1)
    hits: Names = Field(default=("hit",), min_length=1)
    misses: Names = Field(default=("miss",), min_length=1)


class HitRatio(LabelShare):
    """A failed request is a miss: it was answered from nowhere."""

    def __init__(self, task: JudgeTask) -> None:
        asked: HitRatioSpec = task.spec
        share = ShareSpec(
            label=asked.label,
            values=asked.hits,
            gte=asked.gte,
            **{name: getattr(asked, name) for name in Samples.model_fields},
        )
        super().__init__(JudgeTask(task.objective, share, task.context))
        self.through = (*asked.hits, *asked.misses)
        self.test = BadShare(self.task, self._bad, counts=self._counts)

    def _counts(self, block: Block) -> NDArray[Any]:
        codes = block.label(self.spec.label)
        through: NDArray[Any] = block.columns[self.spec.label].known(self.through)[codes]
        return through | ~block.ok


def _canaries(spec: HitRatioSpec) -> Sequence[Canary]:
    missed = Canary(outcome="ok", labels={spec.label: spec.misses[0]})
    return (missed, Canary(outcome="reset"))


def _need(spec: HitRatioSpec, plan: Plan) -> Need:
    allowed = round(1.0 - spec.gte, 12)
    if allowed <= 0:
        return Need(spec.min_samples, None, "a single miss fails it")
    return Need(max(spec.min_samples, requests_needed(allowed, 1.0 - plan.confidence)), allowed)


KIND = Kind("hitRatio", HitRatioSpec, HitRatio, _canaries, _need, users="", interval=of_share)
