"""stampede: of one thing at most `lte` requests miss the cache at the same time, so that an answer
which runs out, or a cache that is lost, costs the origin one request and not everybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Samples
from stormgate.judge.statistics.proportion import BadShare, shown
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stormgate.evidence.samples import Block

_CANARY_MS = 20_000.0


class StampedeSpec(Samples):
    """`by` is what makes one thing in one cache (route and edge, say); `label` says which requests
    missed. `min_misses` of them, in all, are the least that show anything.
    """

    by: Names = Field(default=("route",), min_length=1)
    lte: int = Field(default=1, ge=1)
    label: str = Field(default="cache", min_length=1)
    misses: Names = Field(default=("miss",), min_length=1)
    min_misses: int = Field(default=10, ge=1)


class Stampede:
    """The most requests of a cell that were under way at one moment and all missed. A count: who
    waits for another's answer has not missed.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: StampedeSpec = task.spec
        self.test = BadShare(task, self._missed)
        self._spans: dict[int, list[NDArray[Any]]] = {}

    def _missed(self, block: Block) -> NDArray[Any]:
        codes = block.label(self.spec.label)
        missed: NDArray[Any] = block.columns[self.spec.label].known(self.spec.misses)[codes]
        return missed

    def add(self, block: Block) -> None:
        rows = self.test.add(block)
        if rows is None or not rows.bad.any():
            return
        at, cells = rows.index[rows.bad], rows.cells[rows.bad]
        spans = np.stack([block.intended_ns[at], block.done_ns[at]], axis=1)
        for cell in np.unique(cells):
            self._spans.setdefault(int(cell), []).append(spans[cells == cell])

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        counted = self.test.counted(1.0, task.alpha)
        misses, samples = sum(c.bad for c in counted), sum(c.total for c in counted)
        base: dict[str, Any] = {
            "limit": float(spec.lte),
            "unit": "requests",
            "samples": samples,
            "detail": {"misses": misses},
        }
        unusable = self.test.unusable()
        if unusable or not counted:
            why = unusable or "no request was seen in its phases"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        cells = [self._cell(c.number, c.name, c.total) for c in counted if c.number in self._spans]
        if not cells or misses < spec.min_misses:
            why = f"{misses:,} requests missed, {spec.min_misses:,} wanted to show anything"
            if not any(cell.verdict is Verdict.FAIL for cell in cells):
                return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        most = max(cells, key=lambda cell: (cell.value or 0.0, cell.name))
        why = f"{most.name}: {most.value:.0f} missed at the same time, {spec.lte} allowed"
        verdict = worst([cell.verdict for cell in cells])
        return Result(task.finding(verdict, why, value=most.value, cells=shown(cells), **base))

    def _cell(self, number: int, name: str, total: int) -> Cell:
        most = _most_at_once(np.concatenate(self._spans[number]))
        verdict = Verdict.FAIL if most > self.spec.lte else Verdict.PASS
        return Cell(name=name, verdict=verdict, value=float(most), samples=total)


def _most_at_once(spans: NDArray[Any]) -> int:
    """How many spans (begin, end) overlap at most; one that ends as another begins is over."""
    begins, ends = np.sort(spans[:, 0]), np.sort(spans[:, 1])
    open_then = np.arange(1, len(begins) + 1) - np.searchsorted(ends, begins, side="right")
    return int(open_then.max())


def _canaries(spec: StampedeSpec) -> Sequence[Canary]:
    return (Canary(outcome="ok", latency_ms=_CANARY_MS, labels={spec.label: spec.misses[0]}),)


def _need(spec: StampedeSpec, plan: Plan) -> Need:
    told = f"with {spec.min_misses:,} misses among them"
    return Need(max(spec.min_samples, spec.min_misses), None, told)


KIND = Kind("stampede", StampedeSpec, Stampede, _canaries, _need, users="")
