"""deployLoss: while the release is rolled out not one request is lost (or at most `max_bad`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive, Samples
from stormgate.judge.statistics.proportion import BadShare, shown
from stormgate.judge.violations.breach import UNSERVED, Breach
from stormgate.model import Cell, Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class DeployLossSpec(Samples):
    """`max_bad` requests may be bad in all, none by default; `within_ms` counts slower ones as bad.
    The rollout is a fault of the gate.
    """

    phases: Names = Field(default=("fault",), min_length=1)
    max_bad: int = Field(default=0, ge=0)
    within_ms: Positive | None = None
    min_samples: int = Field(default=1000, ge=1)


class DeployLoss:
    """A count, not a share: FAIL above `max_bad`, PASS at or below it if at least `min_samples`
    requests were made.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: DeployLossSpec = task.spec
        self.test = BadShare(task, lambda block: ~block.good(self.spec.within_ms))

    def add(self, block: Block) -> None:
        self.test.add(block)

    def finish(self) -> Result:
        counted = self.test.counted(1.0, self.task.alpha)
        total, bad = sum(c.total for c in counted), sum(c.bad for c in counted)
        base: dict[str, Any] = {
            "limit": float(self.spec.max_bad),
            "unit": "requests",
            "samples": total,
        }
        unusable = self.test.unusable()
        if unusable or not total:
            return Result(
                self.task.finding(
                    Verdict.INCONCLUSIVE, unusable or "no request was seen in its phases", **base
                )
            )
        cells = [
            Cell(
                name=c.name,
                verdict=Verdict.FAIL if c.bad > self.spec.max_bad else Verdict.PASS,
                value=float(c.bad),
                samples=c.total,
            )
            for c in counted
        ]
        verdict, why = (
            Verdict.PASS,
            f"{bad:,} of {total:,} requests lost, {self.spec.max_bad:,} allowed",
        )
        if bad > self.spec.max_bad:
            verdict = Verdict.FAIL
        elif total < self.spec.min_samples:
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"{total:,} requests, {self.spec.min_samples:,} wanted",
            )
        # What zero losses say about the next rollout: the rule of three, at this confidence.
        detail = {"share_at_most": max((c.upper for c in counted), default=1.0)} if bad == 0 else {}
        finding = self.task.finding(
            verdict,
            why,
            value=float(bad),
            bound=float(bad),
            cells=shown(cells),
            detail=detail,
            **base,
        )
        return Result(finding)


def _canaries(spec: DeployLossSpec) -> Sequence[Canary]:
    return (Canary(outcome="reset"),)


def _need(spec: DeployLossSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, "a count: every bad request is one too many")


def _breach(spec: DeployLossSpec) -> Breach:
    return Breach(UNSERVED)


KIND = Kind("deployLoss", DeployLossSpec, DeployLoss, _canaries, _need, breach=_breach)
