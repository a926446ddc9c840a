"""What a fault cost its users in bad seconds, with bounds: shared by the budget of one fault and
the projection of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.samples import Block
from stormgate.evidence.timeline import FaultWindow
from stormgate.judge.cells import where_mask
from stormgate.judge.context import JudgeContext, rows_in
from stormgate.judge.statistics import bounds

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """Bad seconds over `watched_s`, the sum of bad / sent over 1 s blocks, with bounds at `alpha`
    each; `silent_s` had no request.
    """

    fault: str
    watched_s: float
    silent_s: float
    sent: int
    bad: int
    bad_s: float
    lower_s: float
    upper_s: float


class FaultSpend:
    """Good and bad requests per second of each fault's fault and recovery phases."""

    def __init__(
        self,
        context: JudgeContext,
        faults: Sequence[FaultWindow],
        within_ms: float | None,
        where: dict[str, tuple[str, ...]],
    ) -> None:
        self.faults = list(faults)
        self.windows = {
            f.name: context.windows([f"fault[{f.name}]", f"recovery[{f.name}]"])
            for f in self.faults
        }
        self._within_ms, self._where = within_ms, where
        self._sent = {name: np.zeros(w.blocks, np.int64) for name, w in self.windows.items()}
        self._bad = {name: np.zeros(w.blocks, np.int64) for name, w in self.windows.items()}

    @property
    def missing(self) -> list[str]:
        """Phases that the evidence does not hold whole."""
        return [name for windows in self.windows.values() for name in windows.missing]

    def add(self, block: Block) -> None:
        where = where_mask(block, self._where)
        for name, windows in self.windows.items():
            rows, seconds = rows_in(block, windows)
            if not len(rows):
                continue
            keep = ~block.not_sent[rows]
            if where is not None:
                keep &= where[rows]
            rows, seconds = rows[keep], seconds[keep]
            self._sent[name] += np.bincount(seconds, minlength=windows.blocks)
            bad = ~block.good(self._within_ms)[rows]
            self._bad[name] += np.bincount(seconds[bad], minlength=windows.blocks)

    def spent(self, fault: str, alpha: float) -> Spent:
        """Bounds: Clopper-Pearson over all requests of the fault (conservative for a sum of
        blocks), and a silent second may be all bad.
        """
        sent, bad, windows = self._sent[fault], self._bad[fault], self.windows[fault]
        watched = sum(w.duration_s for w in windows.windows)
        lengths = _block_lengths(windows.windows)
        seen = sent > 0
        bad_s = float((bad[seen] / sent[seen] * lengths[seen]).sum())
        silent = float(lengths[~seen].sum())
        n, k = int(sent.sum()), int(bad.sum())
        if n == 0:
            return Spent(fault, watched, silent, 0, 0, 0.0, 0.0, watched)
        share = k / n
        upper = (float(bounds.upper_bound(k, n, alpha)) - share) * watched
        lower = (share - float(bounds.lower_bound(k, n, alpha))) * watched
        return Spent(
            fault,
            watched,
            silent,
            n,
            k,
            bad_s,
            max(0.0, bad_s - lower),
            min(watched, bad_s + upper + silent),
        )


def _block_lengths(windows: Sequence[Any]) -> Array:
    """Seconds of each block; the last of a window may be short."""
    lengths = []
    for window in windows:
        whole = [1.0] * window.blocks
        if whole:
            whole[-1] = window.duration_s - (window.blocks - 1)
        lengths += whole
    return np.array(lengths, float)
