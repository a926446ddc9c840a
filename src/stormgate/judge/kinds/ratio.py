"""ratio: a latency quantile in some phases is at most `lte` times what it is in others (after a
fault against before it, say).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from stormgate.judge.comparison import PhaseLatency, compared
from stormgate.judge.intervals import of_detail
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive, Spec, Where
from stormgate.judge.violations.breach import SLOW, Breach
from stormgate.model import Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class RatioSpec(Spec):
    """`quantile` in `phases` over the same in `versus`, at most `lte` (1.1: a tenth slower)."""

    quantile: float = Field(gt=0, lt=1)
    lte: Positive
    phases: Names = Field(default=("recovery",), min_length=1)
    versus: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    min_samples: int = Field(default=100, ge=1)


class Ratio:
    """Both quantiles with jackknifed errors over time, then Welch's interval of their ratio."""

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: RatioSpec = task.spec
        self.windows = task.context.windows([*self.spec.phases, *self.spec.versus])
        self.one = PhaseLatency(task.context.windows(self.spec.phases), self.spec.where)
        self.base = PhaseLatency(task.context.windows(self.spec.versus), self.spec.where)

    def add(self, block: Block) -> None:
        self.one.add(block)
        self.base.add(block)

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        samples = self.one.samples()

        def stop(verdict: Verdict, why: str) -> Result:
            return Result(task.finding(verdict, why, limit=spec.lte, unit="ratio", samples=samples))

        if self.windows.missing:
            return stop(
                Verdict.INCONCLUSIVE,
                f"phase {', '.join(self.windows.missing)} is not in the evidence whole",
            )
        if task.context.health.closed_loop:
            return stop(
                Verdict.INCONCLUSIVE, "closed-loop load: its latency is reported, not gated"
            )
        one, base = self.one.estimate(spec.quantile), self.base.estimate(spec.quantile)
        if base is None:
            return stop(
                Verdict.INCONCLUSIVE, f"{', '.join(spec.versus)} has no latency to compare with"
            )
        if one is None and samples >= spec.min_samples:
            # Somewhere in time the quantile is a failure: infinitely slower, if not by how sure we
            # are.
            verdict = Verdict.FAIL if self.one.failing(spec.quantile) else Verdict.INCONCLUSIVE
            return stop(
                verdict, f"p{spec.quantile * 100:g} in {', '.join(spec.phases)} is a failed request"
            )
        if one is None:
            return stop(
                Verdict.INCONCLUSIVE,
                f"{samples:,} requests in {', '.join(spec.phases)}, {spec.min_samples:,} wanted",
            )
        return compared(task, one, base, spec.lte, f"in {', '.join(spec.versus)}", {})


def _canaries(spec: RatioSpec) -> Sequence[Canary]:
    return (
        Canary(outcome="reset", everywhere=False),
        Canary(outcome="ok", latency_ms=20.0 * spec.lte * 2 + 1, everywhere=False),
    )


def _need(spec: RatioSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, "in each of the two, over at least 3 s")


def _breach(spec: RatioSpec) -> Breach:
    # How fast it is before is known only then: a request of half a second is a slow one.
    return Breach(SLOW, latency_ms=500.0 * max(1.0, spec.lte), allowed=1.0 - spec.quantile)


KIND = Kind(
    "ratio",
    RatioSpec,
    Ratio,
    _canaries,
    _need,
    latency=True,
    interval=of_detail("ratio_low", "ratio_high"),
    breach=_breach,
)
