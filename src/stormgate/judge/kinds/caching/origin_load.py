"""originLoad: at most `lte` of the requests are answered by an origin, which all would be without
caches: 40 % is a load that caches make 60 % less.
"""

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


class OriginLoadSpec(Samples):
    """`label` says what an answer came from, `origins` which of its values are an origin. An answer
    without the label may have come from one, so it counts as one.
    """

    lte: Share = Field(gt=0, lt=1)
    label: str = Field(default="tier", min_length=1)
    origins: Names = Field(default=("origin", "primary", "replica"), min_length=1)


class OriginLoad(LabelShare):
    """Every request that was sent counts; one that failed is taken to have cost the origin."""

    def __init__(self, task: JudgeTask) -> None:
        asked: OriginLoadSpec = task.spec
        share = ShareSpec(
            label=asked.label,
            values=asked.origins,
            lte=asked.lte,
            **{name: getattr(asked, name) for name in Samples.model_fields},
        )
        super().__init__(JudgeTask(task.objective, share, task.context))
        self.test = BadShare(self.task, self._bad)  # without a label, too

    def _bad(self, block: Block) -> NDArray[Any]:
        bad: NDArray[Any] = super()._bad(block) | (block.label(self.spec.label) == 0)
        return bad


def _canaries(spec: OriginLoadSpec) -> Sequence[Canary]:
    at_origin = Canary(outcome="ok", labels={spec.label: spec.origins[0]})
    return (at_origin, Canary(outcome="reset"))


def _need(spec: OriginLoadSpec, plan: Plan) -> Need:
    return Need(max(spec.min_samples, requests_needed(spec.lte, 1.0 - plan.confidence)), spec.lte)


KIND = Kind("originLoad", OriginLoadSpec, OriginLoad, _canaries, _need, users="", interval=of_share)
