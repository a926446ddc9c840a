"""The stages of a failover, where labels show them: users noticed, were rerouted, were all served
again, and caches were warm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.timeline import SECOND_NS
from stormgate.judge.cells import Tally
from stormgate.judge.failover import CellTrace

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block
    from stormgate.judge.context import JudgeContext

Array = NDArray[Any]
_NEVER = np.iinfo(np.int64).max
# Caches are warm in the first second in which the mix of their answers is this close (total
# variation) to the mix before.
_WARM_WITHIN = 0.1
_WARM_MIN_REQUESTS = 20


class Stages:
    """Watches good answers from `begin_ns` on: who served them and what the caches said, before and
    after a fault's request.
    """

    def __init__(
        self,
        context: JudgeContext,
        begin_ns: int,
        requested_ns: int,
        end_ns: int,
        calm_until_ns: int | None = None,
    ) -> None:
        self._begin, self._requested, self._end = begin_ns, requested_ns, end_ns
        # While another fault stood already nothing was as usual.
        self._calm = requested_ns if calm_until_ns is None else calm_until_ns
        self._served = context.cells(("population", "served_by"))
        self._caches = context.cells(("cache",))
        self._before, self._cache_before = Tally(), Tally()
        self._first: Array = np.zeros(0, np.int64)
        self._seconds = max(1, -(-(end_ns - requested_ns) // SECOND_NS))
        self._cache_after = Tally(self._seconds)

    def add(self, block: Block, rows: Array) -> None:
        """Good rows of a block (indices); those outside the time watched are left out."""
        intended = block.intended_ns[rows]
        inside = (intended >= self._begin) & (intended < self._end)
        rows, intended = rows[inside], intended[inside]
        if not len(rows):
            return
        after, before = intended >= self._requested, intended < self._calm
        known = block.label("served_by")[rows] > 0
        if known.any():
            cells = self._served.of(block)[rows]
            self._before.add(cells[known & before], None, len(self._served))
            grown = np.full(len(self._served), _NEVER)
            grown[: len(self._first)] = self._first
            np.minimum.at(grown, cells[known & after], intended[known & after])
            self._first = grown
        known = block.label("cache")[rows] > 0
        if known.any():
            cells = self._caches.of(block)[rows]
            seconds = (intended - self._requested) // SECOND_NS
            self._cache_before.add(cells[known & before], None, len(self._caches))
            now = known & after
            self._cache_after.add(cells[now], seconds[now], len(self._caches))

    def found(
        self, traces: Sequence[CellTrace], names: Sequence[dict[str, str]], origin_ns: int
    ) -> dict[str, float]:
        """Seconds since the request, only of what was seen: `noticed_s` first bad request,
        `rerouted_s` first good answer from elsewhere for the last population that lost its home,
        `recovered_s` the slowest cell's recovery, `warm_s` the caches' mix as before.
        """
        struck = [(t, labels) for t, labels in zip(traces, names, strict=True) if t.outages]
        if not struck:
            return {}
        stages = {
            "noticed_s": min(t.outages[0].begin_ns for t, _ in struck) + origin_ns - self._requested
        }
        ends = [o.good_ns for t, _ in struck for o in t.outages]
        recovered = (
            None
            if any(end is None for end in ends)
            else max(end or 0 for end in ends) + origin_ns - self._requested
        )
        rerouted = self._rerouted(
            {labels["population"] for _, labels in struck if "population" in labels}
        )
        if rerouted is not None:
            stages["rerouted_s"] = rerouted - self._requested
        if recovered is not None:
            stages["recovered_s"] = recovered
            warm = self._warm(recovered)
            if warm is not None:
                stages["warm_s"] = warm
        return {name: max(0, ns) / 1e9 for name, ns in stages.items()}

    def _rerouted(self, populations: set[str]) -> int | None:
        """When the last of these populations first got a good answer from another place than most
        came from before.
        """
        size = len(self._served)
        before, first = self._before.column(size), np.full(size, _NEVER)
        first[: len(self._first)] = self._first
        moved: list[int] = []
        for population in sorted(populations):
            mine = [
                n
                for n in self._served.ordered()
                if self._served.labels(n)["population"] == population
            ]
            home = max(mine, key=lambda n: (int(before[n]), self._served.name(n)), default=None)
            elsewhere = [int(first[n]) for n in mine if n != home and first[n] != _NEVER]
            if elsewhere:
                moved.append(min(elsewhere))
        return max(moved, default=None)

    def _warm(self, recovered_ns: int) -> int | None:
        size = len(self._caches)
        before = self._cache_before.column(size).astype(float)
        if not before.sum():
            return None
        for second in range(recovered_ns // SECOND_NS, self._seconds):
            now = self._cache_after.column(size, second).astype(float)
            if now.sum() < _WARM_MIN_REQUESTS:
                continue
            if np.abs(now / now.sum() - before / before.sum()).sum() / 2 <= _WARM_WITHIN:
                return max(recovered_ns, (second + 1) * SECOND_NS)
        return None
