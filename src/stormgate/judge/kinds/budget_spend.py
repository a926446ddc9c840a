"""budgetSpend: no fault costs its users more than `lte` of the error budget of one SLO window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result, allowed_outage_s
from stormgate.judge.spec import Positive, Share, Spec, Where
from stormgate.judge.statistics.bounds import holm, tail_p
from stormgate.judge.statistics.proportion import shown
from stormgate.judge.statistics.spend import FaultSpend, Spent
from stormgate.judge.violations.breach import UNSERVED, Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class BudgetSpendSpec(Spec):
    """`target` over `window_s` makes the budget, W (1 - target) seconds; `lte` is the share of it
    that one fault may spend.
    """

    target: Share = Field(gt=0, lt=1)
    window_s: Positive = 30 * 86400.0
    lte: float = Field(gt=0, le=1)
    within_ms: Positive | None = None
    where: Where = Field(default_factory=dict)
    fault: str | None = None
    min_samples: int = Field(default=1, ge=1)

    @property
    def budget_s(self) -> float:
        """Bad seconds in one window; 259.2 for 99.99 % over 30 days."""
        return self.window_s * (1.0 - self.target)


class BudgetSpend:
    """Spend = sum of bad fraction x time over the fault and its recovery / (W (1 - target)); every
    fault is held to it.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: BudgetSpendSpec = task.spec
        faults = [f for f in task.context.faults if self.spec.fault in (None, f.name)]
        self.spend = FaultSpend(task.context, faults, self.spec.within_ms, self.spec.where)

    def add(self, block: Block) -> None:
        self.spend.add(block)

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        base: dict[str, Any] = {"limit": spec.lte, "unit": "share of budget"}
        if not self.spend.faults or self.spend.missing:
            missing = ", ".join(self.spend.missing)
            why = (
                f"phase {missing} is not in the evidence whole"
                if missing
                else "the plan has no such fault"
            )
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        spent = [self.spend.spent(f.name, task.alpha) for f in self.spend.faults]
        p_values = [self._p(s) for s in spent]
        failed = holm(p_values, task.alpha)
        proven = {f.name: f.proven for f in self.spend.faults}
        cells = [
            self._cell(s, fails, proven[s.fault]) for s, fails in zip(spent, failed, strict=True)
        ]
        decisive = max(cells, key=lambda c: (c.verdict.severity, c.bound or 0.0, c.name))
        finding = task.finding(
            worst(c.verdict for c in cells),
            f"{decisive.name}: {decisive.why}",
            value=decisive.value,
            bound=decisive.bound,
            samples=sum(c.samples for c in cells),
            cells=shown(cells),
            detail={"budget_s": spec.budget_s, "bad_s": {s.fault: s.bad_s for s in spent}},
            **base,
        )
        return Result(finding, min(1.0, min(p_values) * len(p_values)))

    def _p(self, spent: Spent) -> float:
        if not spent.sent:
            return 1.0
        allowed = self.spec.lte * self.spec.budget_s / spent.watched_s
        return float(tail_p(spent.bad, spent.sent, allowed)) if allowed < 1 else 1.0

    def _cell(self, spent: Spent, fails: bool, proven: bool) -> Cell:
        limit, budget = self.spec.lte, self.spec.budget_s
        told = (
            f"{spent.bad_s:.2f} bad seconds, at most {spent.upper_s:.2f}, of "
            f"{limit * budget:.2f} allowed"
        )
        if spent.silent_s:
            told += f" ({spent.silent_s:.0f} s without a request count as bad)"
        verdict = Verdict.INCONCLUSIVE
        if fails:
            verdict = Verdict.FAIL
            told = (
                f"{spent.bad_s:.2f} bad seconds, at least {spent.lower_s:.2f}, "
                f"{limit * budget:.2f} allowed"
            )
        elif not proven:
            told = f"fault not observed ({told})"
        elif spent.sent < self.spec.min_samples:
            told = f"{spent.sent:,} requests, {self.spec.min_samples:,} wanted"
        elif spent.upper_s <= limit * budget:
            verdict = Verdict.PASS
        bound = (spent.lower_s if verdict is Verdict.FAIL else spent.upper_s) / budget
        return Cell(
            name=spent.fault,
            verdict=verdict,
            value=spent.bad_s / budget,
            bound=bound,
            samples=spent.sent,
            why=told,
        )


def _canaries(spec: BudgetSpendSpec) -> Sequence[Canary]:
    return (Canary(outcome="reset"),)


def _need(spec: BudgetSpendSpec, plan: Plan) -> Need:
    return Need(
        spec.min_samples, None, f"{spec.lte * spec.budget_s:.2f} bad seconds allowed per fault"
    )


def _notes(spec: BudgetSpendSpec, plan: Plan, lengths: Mapping[str, float]) -> Sequence[str]:
    outage_s = allowed_outage_s(plan)
    if outage_s <= spec.lte * spec.budget_s:
        return []
    return [
        f"a failover of {outage_s:g} s, which another objective allows, would spend "
        f"{outage_s / spec.budget_s:.2%} of the budget"
    ]


def _breach(spec: BudgetSpendSpec) -> Breach:
    return Breach(UNSERVED, seconds=spec.lte * spec.budget_s)


KIND = Kind(
    "budgetSpend",
    BudgetSpendSpec,
    BudgetSpend,
    _canaries,
    _need,
    users="faults",
    over_faults=True,
    notes=_notes,
    breach=_breach,
)
