"""knee: how much load there may be until users notice: the last step of a rising load that was
borne and the first that was not, and what more than was tried would take.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.judge.cells import where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive, Share, Spec, Where
from stormgate.judge.statistics.bounds import lower_bound, upper_bound
from stormgate.model import Cell, Plan, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stormgate.evidence.samples import Block


class KneeSpec(Spec):
    """The load rises in steps of `step_s` whole seconds, from the phase's beginning on. A step is
    borne when at least `target` of its requests are good within `within_ms`. `gte` requests per
    second have to be. `project_rate` is a rate that nobody tries: what it would take is reckoned
    from the knee, and said to be.
    """

    phases: Names = Field(default=("steady",), min_length=1, max_length=1)
    where: Where = Field(default_factory=dict)
    step_s: int = Field(ge=2, le=3600)
    target: Share = Field(default=0.95, gt=0, lt=1)
    within_ms: Positive
    gte: Positive
    project_rate: Positive | None = None


@dataclass(frozen=True, slots=True)
class LoadStep:
    """One step: how much came, and whether it was borne (None: not decided)."""

    rate_per_s: float
    bad: int
    total: int
    borne: bool | None


class Knee:
    """The knee lies above the last step up to which all were borne, and below the first that was
    not, each beyond doubt (Clopper-Pearson on its requests, at the plan's confidence). PASS if the
    lower is at least `gte`, FAIL if the upper is not above it or no step at all was borne; else
    INCONCLUSIVE, as for a load that never rose.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: KneeSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.total: NDArray[np.int64] = np.zeros(self.windows.blocks, np.int64)
        self.bad: NDArray[np.int64] = np.zeros(self.windows.blocks, np.int64)

    def add(self, block: Block) -> None:
        rows, seconds = rows_in(block, self.windows)
        keep = ~block.not_sent[rows]
        where = where_mask(block, self.spec.where)
        if where is not None:
            keep &= where[rows]
        bad = ~block.good(self.spec.within_ms)[rows]
        np.add.at(self.total, seconds[keep], 1)
        np.add.at(self.bad, seconds[keep & bad], 1)

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        base: dict[str, Any] = {
            "limit": spec.gte,
            "unit": "1/s",
            "samples": int(self.total.sum()),
        }
        steps = self._steps()
        if self.windows.missing or len(steps) < 2:
            why = (
                f"phase {', '.join(self.windows.missing)} is not in the evidence whole"
                if self.windows.missing
                else f"{len(steps)} whole steps of {spec.step_s} s with requests, 2 wanted"
            )
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        low, high = knee(steps)
        verdict, why = self._verdict(low, high, max(step.rate_per_s for step in steps))
        if all(step.borne is False for step in steps):
            verdict, why = Verdict.FAIL, f"no step was borne, the lowest of {high:.0f}/s"
        detail = {"knee_low_per_s": low, "knee_high_per_s": high}
        if spec.project_rate is not None and low:
            times = math.ceil(spec.project_rate / low)
            detail["projected"] = times
            why += (
                f"; {spec.project_rate:,.0f}/s would be {times:,} times this, if parts add up: "
                "reckoned, not tried"
            )
        bound = high if verdict is Verdict.FAIL else low
        cells = [self._cell(number, step) for number, step in enumerate(steps, start=1)]
        finding = task.finding(
            verdict, why, value=low, bound=bound, cells=cells, detail=detail, **base
        )
        return Result(finding)

    def _verdict(self, low: float, high: float | None, most: float) -> tuple[Verdict, str]:
        gte = self.spec.gte
        if high is None:
            seen = f"{low:.0f}/s was borne, and up to {most:.0f}/s nothing was found that is not"
        else:
            seen = f"the knee is between {low:.0f}/s and {high:.0f}/s"
        why = f"{seen}, {gte:g}/s wanted"
        if high is not None and high <= gte:
            return Verdict.FAIL, why
        return (Verdict.PASS if low >= gte else Verdict.INCONCLUSIVE), why

    def _steps(self) -> list[LoadStep]:
        spec, alpha = self.spec, self.task.alpha
        found = []
        for window in self.windows.windows:
            whole = int(window.duration_s) // spec.step_s
            for number in range(whole):
                begin = window.first_block + number * spec.step_s
                total = int(self.total[begin : begin + spec.step_s].sum())
                bad = int(self.bad[begin : begin + spec.step_s].sum())
                if total:
                    allowed = 1 - spec.target
                    surely = float(upper_bound(bad, total, alpha)) <= allowed
                    surely_not = float(lower_bound(bad, total, alpha)) > allowed
                    borne = True if surely else False if surely_not else None
                    found.append(LoadStep(total / spec.step_s, bad, total, borne))
        return found

    def _cell(self, number: int, step: LoadStep) -> Cell:
        words = {True: Verdict.PASS, False: Verdict.FAIL, None: Verdict.INCONCLUSIVE}
        good = 1 - step.bad / step.total
        return Cell(
            name=f"step {number}",
            verdict=words[step.borne],
            value=step.rate_per_s,
            samples=step.total,
            why=f"{step.rate_per_s:.0f}/s, {good:.1%} good, {self.spec.target:.1%} wanted",
        )


def knee(steps: Sequence[LoadStep]) -> tuple[float, float | None]:
    """The highest rate up to which every step was borne (0: not even the lowest), and the lowest
    that was not borne beyond doubt (None: there is none).
    """
    low = 0.0
    for step in sorted(steps, key=lambda one: one.rate_per_s):
        if step.borne is not True:
            break
        low = step.rate_per_s
    broken = [step.rate_per_s for step in steps if step.borne is False]
    return low, min(broken, default=None)


def _canaries(spec: KneeSpec) -> Sequence[Canary]:
    return (Canary(), Canary(outcome="ok", latency_ms=spec.within_ms * 10))


def _need(spec: KneeSpec, plan: Plan) -> Need:
    return Need(0, None, f"steps of {spec.step_s} s; each is one more try, not one more certainty")


def _good_within_ms(spec: Mapping[str, Any]) -> float | None:
    return float(spec["within_ms"])


KIND = Kind(
    "knee",
    KneeSpec,
    Knee,
    _canaries,
    _need,
    good_within_ms=_good_within_ms,
)
