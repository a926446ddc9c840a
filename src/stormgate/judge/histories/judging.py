"""How facts about a history become a finding: proofs are FAIL, doubts are INCONCLUSIVE, nothing of
either over enough of everything is PASS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.judge.histories.data import Data
from stormgate.judge.registry import JudgeTask, Result
from stormgate.judge.spec import Spec
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class OnKeys(Spec):
    """An objective over the operations on some keys: `keys` is a glob pattern."""

    keys: str = Field(default="*", min_length=1)


@dataclass
class Facts:
    """`wrong` are proofs, worst first, one cell each; `count` how many there are in all, where more
    than are shown. `doubts` say why a lack of proof would prove nothing. `samples`: of how many.
    `told` is what there is to say besides.
    """

    wrong: list[Cell] = field(default_factory=list)
    count: int = 0
    doubts: list[str] = field(default_factory=list)
    samples: int = 0
    value: float | None = None
    bound: float | None = None
    limit: float | None = 0.0
    unit: str = ""
    told: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    cells: Sequence[Cell] = ()


class OnHistory:
    """An accumulator that looks at the data evidence and at no sample."""

    def __init__(self, task: JudgeTask, look: Callable[[JudgeTask, Data], Facts]) -> None:
        self.task = task
        self._look = look

    def add(self, block: Block) -> None:
        """Operations are not samples."""

    def finish(self) -> Result:
        data = self.task.context.data
        if data is None:
            raise RuntimeError(f"kind {self.task.objective.kind} does not say that it needs data")
        return Result(self._finding(self._look(self.task, data), data))

    def _finding(self, facts: Facts, data: Data) -> Any:
        doubts = [*data.problems, *facts.doubts]
        if facts.count:
            verdict, why = Verdict.FAIL, facts.told
        elif doubts:
            more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
            verdict, why = Verdict.INCONCLUSIVE, f"{doubts[0]}{more}"
        else:
            verdict, why = Verdict.PASS, facts.told
        detail = dict(facts.detail)
        if doubts:
            detail["doubts"] = doubts[:50]
        if facts.count > len(facts.wrong[:CELLS_SHOWN]):
            detail["not_shown"] = facts.count - len(facts.wrong[:CELLS_SHOWN])
        return self.task.finding(
            verdict,
            why,
            value=facts.value,
            bound=facts.bound,
            limit=facts.limit,
            unit=facts.unit,
            samples=facts.samples,
            cells=[*facts.wrong[:CELLS_SHOWN], *facts.cells][:CELLS_SHOWN],
            detail=detail,
        )


def share_at_most(samples: int, alpha: float) -> float:
    """The share of bad ones above which none of so many rules it out: 1 - alpha^(1/n), about 3/n at
    95 % (the rule of three).
    """
    return 1.0 - alpha ** (1.0 / samples) if samples else 1.0


def counted(number: int, word: str) -> str:
    """`1 write`, `2 writes`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
