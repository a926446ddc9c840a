"""projectedAvailability: over a whole SLO window, with faults as often as declared, the
availability still reaches `target`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Positive, Samples, Share
from stormgate.judge.statistics.bounds import hoeffding_margin, requests_needed
from stormgate.judge.statistics.proportion import BadShare
from stormgate.judge.statistics.spend import FaultSpend
from stormgate.judge.violations.breach import UNSERVED, Breach
from stormgate.model import Cell, Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class ProjectedSpec(Samples):
    """`phases` are the steady ones. `cap_s`: the most that one fault can cost (a guard undoes it by
    then); `window_s` the SLO window.
    """

    target: Share = Field(gt=0, lt=1)
    window_s: Positive = 30 * 86400.0
    within_ms: Positive | None = None
    cap_s: Positive = 10.0


class Projected:
    """A = 1 - [U_steady + sum over experiments of rate x D_U / W].

    D_U is the mean cost of an experiment's trials plus Hoeffding's margin for values within [0,
    cap_s]; alpha is shared equally among the steady part and the experiments, so that all bounds
    hold at once.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: ProjectedSpec = task.spec
        self.steady = BadShare(task, lambda block: ~block.good(self.spec.within_ms), by=())
        self.spend = FaultSpend(
            task.context, task.context.faults, self.spec.within_ms, self.spec.where
        )

    def add(self, block: Block) -> None:
        self.steady.add(block)
        self.spend.add(block)

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        base: dict[str, Any] = {"limit": spec.target, "unit": "share"}
        problem = self._problem()
        experiments = sorted({f.experiment for f in task.context.plan.faults})
        alpha = task.alpha / (1 + len(experiments))
        counted = self.steady.counted(1.0 - spec.target, alpha)
        seen = counted[0].total if counted else 0
        if problem is not None or seen < spec.min_samples:
            why = problem or f"{seen:,} requests in its steady phases, {spec.min_samples:,} wanted"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        steady = counted[0]
        share = steady.bad / steady.total
        cells = [
            Cell(
                name="steady",
                verdict=Verdict.PASS,
                value=share,
                bound=steady.upper,
                samples=steady.total,
            )
        ]
        value, upper, lower, unproven, over_cap = share, steady.upper, steady.lower, [], []
        for experiment in experiments:
            trials = [f for f in task.context.plan.faults if f.experiment == experiment]
            rate = max(f.rate_per_window or 0.0 for f in trials)
            spent = [self.spend.spent(f.name, alpha) for f in trials]
            unproven += [
                f.name
                for f in task.context.faults
                if f.name in {t.name for t in trials} and not f.proven
            ]
            over_cap += [f"{s.fault} ({s.upper_s:.1f} s)" for s in spent if s.upper_s > spec.cap_s]
            margin = hoeffding_margin(spec.cap_s, len(spent), alpha)
            mean = sum(s.bad_s for s in spent) / len(spent)
            high = sum(s.upper_s for s in spent) / len(spent) + margin
            low = max(0.0, sum(s.lower_s for s in spent) / len(spent) - margin)
            value += rate * mean / spec.window_s
            upper += rate * high / spec.window_s
            lower += rate * low / spec.window_s
            why = (
                f"{len(spent)} trials, {mean:.2f} s each, {rate:g} per window: "
                f"{rate * mean:.2f} s, at most {rate * high:.2f} s"
            )
            cells.append(
                Cell(
                    name=experiment,
                    verdict=Verdict.PASS,
                    value=mean,
                    bound=high,
                    samples=sum(s.sent for s in spent),
                    why=why,
                )
            )
        value, upper = min(value, 1.0), min(upper, 1.0)
        verdict, why = self._verdict(upper, lower, unproven, over_cap)
        bound = 1.0 - (lower if verdict is Verdict.FAIL else upper)
        samples = sum(c.samples for c in cells)
        return Result(
            task.finding(
                verdict, why, value=1.0 - value, bound=bound, samples=samples, cells=cells, **base
            )
        )

    def _problem(self) -> str | None:
        unusable = self.steady.unusable()
        if unusable or self.spend.missing:
            return unusable or f"phase {', '.join(self.spend.missing)} is not in the evidence whole"
        undeclared = [f.name for f in self.task.context.plan.faults if f.rate_per_window is None]
        if undeclared:
            return (
                f"fault {', '.join(undeclared)} declares no ratePerWindow: how often it "
                "happens is not known"
            )
        return None

    def _verdict(
        self, upper: float, lower: float, unproven: list[str], over_cap: list[str]
    ) -> tuple[Verdict, str]:
        told = f"projected {1 - upper:.6f} to {1 - lower:.6f}, {self.spec.target:g} wanted"
        if lower > 1.0 - self.spec.target:
            return Verdict.FAIL, told
        if unproven:
            return Verdict.INCONCLUSIVE, f"fault not observed: {', '.join(unproven)} ({told})"
        if over_cap:
            costly = ", ".join(over_cap)
            return (
                Verdict.INCONCLUSIVE,
                f"a fault may cost more than the cap of {self.spec.cap_s:g} s: {costly} ({told})",
            )
        if upper <= 1.0 - self.spec.target:
            return Verdict.PASS, told
        return Verdict.INCONCLUSIVE, told


def _canaries(spec: ProjectedSpec) -> Sequence[Canary]:
    return (Canary(outcome="reset"),)


def _need(spec: ProjectedSpec, plan: Plan) -> Need:
    parts = 1 + len({f.experiment for f in plan.faults})
    allowed = 1.0 - spec.target
    needed = requests_needed(allowed, (1.0 - plan.confidence) / parts)
    return Need(
        max(spec.min_samples, needed), allowed, "and what is left of the budget pays for the faults"
    )


def _contradictions(spec: ProjectedSpec, plan: Plan, lengths: Mapping[str, float]) -> Sequence[str]:
    undeclared = [f.name for f in plan.faults if f.rate_per_window is None]
    if undeclared:
        return [
            f"fault {', '.join(undeclared)} declares no ratePerWindow: how often it happens is "
            "not known"
        ]
    experiments = sorted({f.experiment for f in plan.faults})
    alpha = (1.0 - plan.confidence) / (1 + len(experiments))
    margin = 0.0
    for experiment in experiments:
        trials = [f for f in plan.faults if f.experiment == experiment]
        rate = max(f.rate_per_window or 0.0 for f in trials)
        margin += rate * hoeffding_margin(spec.cap_s, len(trials), alpha)
    budget = (1.0 - spec.target) * spec.window_s
    if margin > budget:
        return [
            f"cannot pass: with so few trials the doubt about the faults alone is {margin:.1f} "
            f"s, the budget {budget:.1f} s"
        ]
    return []


def _breach(spec: ProjectedSpec) -> Breach:
    return Breach(UNSERVED, allowed=1.0 - spec.target)


KIND = Kind(
    "projectedAvailability",
    ProjectedSpec,
    Projected,
    _canaries,
    _need,
    users="faults",
    contradictions=_contradictions,
    breach=_breach,
)
