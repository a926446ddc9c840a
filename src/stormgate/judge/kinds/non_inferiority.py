"""nonInferiority: a latency quantile is at most `margin` worse than in the last run of this gate
that passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from stormgate.judge.comparison import PhaseLatency, compared
from stormgate.judge.intervals import of_detail
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Spec, Where
from stormgate.judge.statistics.jackknife import Estimate
from stormgate.judge.violations.breach import Breach
from stormgate.model import Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class Baseline(Spec):
    """The run compared with, as judge/baseline.py found it before this run began: part of the plan,
    so that a verdict can be repeated.
    """

    run: str
    log_ms: float
    error: float = Field(gt=0)
    freedom: int = Field(ge=1)
    samples: int = Field(ge=1)


class NonInferioritySpec(Spec):
    """`margin`: how much worse is allowed (0.1: a tenth). `baseline` is filled in when a run
    starts, not written by hand.
    """

    quantile: float = Field(default=0.99, gt=0, lt=1)
    margin: float = Field(gt=0)
    phases: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    min_samples: int = Field(default=100, ge=1)
    baseline: Baseline | None = None


class NonInferiority:
    """PASS if the upper bound of the ratio to the baseline is at most 1 + margin. Without a
    baseline INCONCLUSIVE, and it becomes one.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: NonInferioritySpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.one = PhaseLatency(self.windows, self.spec.where)

    def add(self, block: Block) -> None:
        self.one.add(block)

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        samples = self.one.samples()
        estimate = self.one.estimate(spec.quantile)
        # What a later run is compared with.
        kept = (
            {}
            if estimate is None
            else {"log_ms": estimate.log_ms, "error": estimate.error, "freedom": estimate.freedom}
        )

        def stop(verdict: Verdict, why: str) -> Result:
            base = {"limit": 1.0 + spec.margin, "unit": "ratio", "samples": samples}
            return Result(
                task.finding(
                    verdict,
                    why,
                    detail={"estimate": {**kept, "samples": samples}} if kept else {},
                    **base,
                )
            )

        if self.windows.missing:
            return stop(
                Verdict.INCONCLUSIVE,
                f"phase {', '.join(self.windows.missing)} is not in the evidence whole",
            )
        if task.context.health.closed_loop:
            return stop(
                Verdict.INCONCLUSIVE, "closed-loop load: its latency is reported, not gated"
            )
        if estimate is None:
            failing = samples >= spec.min_samples and self.one.failing(spec.quantile)
            few = f"{samples:,} requests, {spec.min_samples:,} wanted"
            why = f"p{spec.quantile * 100:g} is a failed request" if failing else few
            return stop(Verdict.FAIL if failing else Verdict.INCONCLUSIVE, why)
        if spec.baseline is None:
            return stop(
                Verdict.INCONCLUSIVE, "no earlier run of this gate passed: nothing to compare with"
            )
        b = spec.baseline
        base = Estimate(b.log_ms, b.error, b.freedom, b.samples)
        return compared(
            task,
            estimate,
            base,
            1.0 + spec.margin,
            f"in {b.run}",
            {"estimate": {**kept, "samples": samples}},
        )


def _canaries(spec: NonInferioritySpec) -> Sequence[Canary]:
    return (Canary(outcome="reset"),)


def _need(spec: NonInferioritySpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, "over at least 3 s, and a baseline")


def _breach(_: NonInferioritySpec) -> Breach | str:
    return (
        "it is held against an earlier run of the whole gate, and no run is that with a violation "
        "in it; a latency objective over the same quantile can be proved"
    )


KIND = Kind(
    "nonInferiority",
    NonInferioritySpec,
    NonInferiority,
    _canaries,
    _need,
    latency=True,
    against_baseline=True,
    interval=of_detail("ratio_low", "ratio_high"),
    breach=_breach,
)
