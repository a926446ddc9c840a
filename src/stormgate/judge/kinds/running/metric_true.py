"""metricTrue: what a service counts of itself agrees with what its users saw, within a stated
tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from stormgate.judge.cells import where_mask
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.rules.stale import failed, read_in, stale, usable
from stormgate.judge.spec import Names, Positive, Share, Spec, Where
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block
    from stormgate.evidence.timeline import PhaseWindow

_MS = 1_000_000


class MetricTrueSpec(Spec):
    """`probe` reads a counter that only rises. `counts` says which of the users' requests it
    counts: all that were `answered`, or those answered with a status of 500 and more (`failed`).
    An answer is with its user at most `lag_ms` after it was counted.
    """

    probe: str = Field(min_length=1)
    counts: Literal["answered", "failed"] = "answered"
    tolerance: Share = Field(default=0.02, gt=0)
    lag_ms: Positive = 300.0
    phases: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    min_samples: int = Field(default=100, ge=1)


@dataclass(slots=True)
class _Watched:
    """One phase: its readings, and how many requests its users saw between the first and the last
    of them: surely, and at most.
    """

    window: PhaseWindow
    rows: Sequence[Mapping[str, Any]]
    least: int = 0
    most: int = 0
    unheard: int = 0

    @property
    def usable(self) -> list[Mapping[str, Any]]:
        return [row for row in self.rows if usable(row)]

    def span(self) -> tuple[int, int, int, int] | None:
        """When the first and the last reading began and ended, ns; None without two."""
        ends = self.ends()
        if ends is None:
            return None
        (a, b), (c, d) = _span(ends[0]), _span(ends[1])
        return a, b, c, d

    def ends(self) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """The two readings that are compared: of the earliest quarter and of the latest the one
        that took the least time, for it says best when it was.
        """
        rows = self.usable
        if len(rows) < 2:
            return None
        few = max(1, len(rows) // 4)
        return min(rows[:few], key=_took), min(rows[-few:], key=_took)


def _took(row: Mapping[str, Any]) -> float:
    return float(row.get("duration_ms") or 0.0)


def _span(row: Mapping[str, Any]) -> tuple[int, int]:
    begin = int(row["at_ns"])
    return begin, begin + round(_took(row) * _MS)


class MetricTrue:
    """Per phase the counter's increase from the first reading to the last, against the users'
    requests whose answers came in that time. Which second an answer was counted in is not known to
    the millisecond, so users' requests are a range; outside it by more than `tolerance` is FAIL.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: MetricTrueSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        readings = task.context.readings
        self.watched = [
            _Watched(window, read_in(readings, self.spec.probe, window))
            for window in self.windows.apart
        ]
        self.again = 0

    def add(self, block: Block) -> None:
        spec, lag_ns = self.spec, round(self.spec.lag_ms * _MS)
        keep = ~block.not_sent
        where = where_mask(block, spec.where)
        if where is not None:
            keep &= where
        done, status = block.done_ns, block.status
        heard = keep & (status >= (500 if spec.counts == "failed" else 1))
        # Whoever heard nothing may have been counted all the same.
        unheard = keep & (status == 0)
        for one in self.watched:
            if (span := one.span()) is None:
                continue
            first, first_end, last, last_end = span
            surely = (done > first_end + lag_ns) & (done < last)
            maybe = (done > first) & (done < last_end + lag_ns)
            one.least += int(np.count_nonzero(heard & surely))
            one.most += int(np.count_nonzero(heard & maybe))
            one.unheard += int(np.count_nonzero(unheard & maybe))
            self.again += int(np.count_nonzero(keep & maybe & (block.attempt > 1)))

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        cells = [self._cell(one) for one in self.watched]
        cells += [
            Cell(
                name=name,
                verdict=Verdict.INCONCLUSIVE,
                why=f"phase {name} is not in the evidence whole",
            )
            for name in self.windows.missing
        ]
        decisive = max(cells, key=lambda c: (c.verdict.severity, abs((c.value or 1.0) - 1.0)))
        finding = task.finding(
            worst(c.verdict for c in cells),
            f"{decisive.name}: {decisive.why}",
            value=decisive.value,
            bound=decisive.bound,
            limit=spec.tolerance,
            unit="ratio",
            samples=sum(c.samples for c in cells),
            cells=cells,
            detail={"probe": spec.probe, "counts": spec.counts},
        )
        return Result(finding)

    def _cell(self, one: _Watched) -> Cell:
        spec, ends = self.spec, one.ends()
        told = self._doubt(one)
        if told is not None or ends is None:
            return Cell(
                name=one.window.name, verdict=Verdict.INCONCLUSIVE, why=told or "", samples=one.most
            )
        rise = float(ends[1]["value"]) - float(ends[0]["value"])
        least = one.least * (1.0 - spec.tolerance)
        most = (one.most + one.unheard) * (1.0 + spec.tolerance)
        verdict = Verdict.PASS if least <= rise <= most else Verdict.FAIL
        middle = (one.least + one.most) / 2
        why = f"{spec.probe} rose by {rise:,.0f}, users saw {one.least:,} to {one.most:,}"
        if one.unheard:
            why += f" and {one.unheard:,} heard nothing"
        # A range as wide as the tolerance shows nothing when the metric lies inside it.
        if verdict is Verdict.PASS and one.most + one.unheard - one.least > spec.tolerance * middle:
            verdict = Verdict.INCONCLUSIVE
            why += f": that is known less well than the {spec.tolerance:.3g} allowed"
        return Cell(
            name=one.window.name,
            verdict=verdict,
            value=rise / middle,
            bound=rise / middle,
            samples=one.most,
            why=why,
        )

    def _doubt(self, one: _Watched) -> str | None:
        """Why a phase decides nothing; None where it decides."""
        spec = self.spec
        bad = failed(one.rows, spec.probe)
        if bad is not None:
            return bad
        if len(one.usable) < 2:
            return f"{len(one.usable)} readings of {spec.probe}, 2 wanted"
        old = stale(self.task.context.plan, one.rows, spec.probe, one.window)
        if old is not None:
            return old
        values = [float(row["value"]) for row in one.usable]
        if any(b < a for a, b in pairwise(values)):
            return f"{spec.probe} fell: what counts it was started anew"
        if self.again:
            return f"{self.again:,} requests were tried again: earlier attempts are not told apart"
        if one.most < spec.min_samples:
            return f"users saw {one.most:,}, {spec.min_samples:,} wanted"
        return None


def _canaries(spec: MetricTrueSpec) -> Sequence[Canary]:
    # A counter that stands still while thousands are answered, rightly or with an error.
    outcome = "ok" if spec.counts == "answered" else "bad_status"
    status = 200 if spec.counts == "answered" else 503
    return (Canary(outcome=outcome, status=status, readings={spec.probe: (7.0,) * _TURNS}),)


_TURNS = 200


def _need(spec: MetricTrueSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, f"and two readings of {spec.probe} in each phase")


def _reads(spec: Mapping[str, Any]) -> str | None:
    return str(spec["probe"])


KIND = Kind(
    "metricTrue", MetricTrueSpec, MetricTrue, _canaries, _need, timing=False, users="", reads=_reads
)
