"""failover: after each fault every cell serves its users again within `lte_s`. The slowest cell
decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.evidence.arrow import UNKNOWN
from stormgate.evidence.timeline import (
    SECOND_NS,
    FaultWindow,
    calm_until_ns,
    standing_together,
)
from stormgate.judge.cells import where_mask
from stormgate.judge.failover import CellTrace, SendSeries, traces
from stormgate.judge.intervals import of_detail
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.spec import Names, Positive, Share, Spec, Where
from stormgate.judge.stages import Stages
from stormgate.judge.statistics.bounds import exceed_probability_bound
from stormgate.judge.statistics.proportion import shown, verdict_counts
from stormgate.judge.violations.breach import UNSERVED, Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block

# How far before a fault the last good send may lie: a cell that sends less often cannot resolve
# seconds anyway.
LOOK_BACK_NS = 10 * SECOND_NS
# How much of the steady state before a fault says whether a cell was well.
STEADY_NS = 30 * SECOND_NS
# How many sustained stretches beyond the recovery are read, to see whether an outage near its end
# was soon over.
LOOK_ON = 3


class FailoverSpec(Spec):
    """`lte_s`: the longest outage allowed. Good: answered correctly within `within_ms`; recovered:
    `sustained_good` of the sends good for `sustained_s`. `fault` limits it to one fault; otherwise
    every fault of the plan is held to it.
    """

    lte_s: Positive
    by: Names = ("population", "op")
    where: Where = Field(default_factory=dict)
    fault: str | None = None
    within_ms: Positive = 2000.0
    sustained_s: Positive = 1.0
    sustained_good: Share = Field(default=0.99, gt=0)
    min_samples: int = Field(default=1, ge=1)


class Failover:
    """PASS if D_hi <= T in every cell and the fault is proven; FAIL if D_lo > T in one; else
    INCONCLUSIVE. Fault and recovery are one watched stretch; a cell that came back only when the
    fault was taken back has not failed over, and one that was unwell before shows nothing.

    A saturated generator is no veto here: what it did not send, and how late it was, widen [D_lo,
    D_hi].
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: FailoverSpec = task.spec
        self.faults = [f for f in task.context.faults if self.spec.fault in (None, f.name)]
        self.cells = task.context.cells(self.spec.by)
        self.series: dict[str, SendSeries] = {}
        self.under_way: dict[str, SendSeries] = {}
        self.stages: dict[str, Stages] = {}
        self.seen_stages: dict[str, dict[str, float]] = {}
        for fault in self.faults:
            if (
                fault.requested_ns is not None
                and fault.end_ns is not None
                and fault.end_ns > fault.requested_ns
            ):
                calm_ns = calm_until_ns(fault, task.context.faults) or fault.requested_ns
                begin = self._read_from(calm_ns)
                self.series[fault.name] = SendSeries(begin, self._read_until(fault.end_ns))
                self.under_way[fault.name] = SendSeries(begin, calm_ns)
                self.stages[fault.name] = Stages(
                    task.context, begin, fault.requested_ns, fault.end_ns, calm_ns
                )

    def _read_from(self, requested_ns: int) -> int:
        """As far back as a cell's steady state goes, for rare cells say little in ten seconds: not
        into the warmup, nor into what the last fault left.
        """
        context = self.task.context
        floors = [p.begin_ns for p in context.phases if p.name == "steady"]
        floors += [f.end_ns for f in context.faults if f.end_ns and f.end_ns <= requested_ns]
        steady = max([requested_ns - STEADY_NS, *floors])
        return min(requested_ns - LOOK_BACK_NS, steady)

    def _read_until(self, end_ns: int) -> int:
        """A little beyond the end of a recovery: as far as something was measured, and nothing else
        was broken.
        """
        context = self.task.context
        measured = max((p.end_ns for p in context.phases if p.end_ns is not None), default=end_ns)
        others = [
            f.requested_ns
            for f in context.faults
            if f.requested_ns is not None and f.requested_ns > end_ns
        ]
        look_on_ns = round(LOOK_ON * self.spec.sustained_s * SECOND_NS)
        return max(end_ns, min([end_ns + look_on_ns, measured, *others]))

    def add(self, block: Block) -> None:
        low, high = int(block.intended_ns.min()), int(block.intended_ns.max())
        wanted = [
            (s, self.under_way[name], self.stages[name])
            for name, s in self.series.items()
            if s.begin_ns <= high and low < s.end_ns
        ]
        if not wanted:
            return
        keep = ~block.not_sent
        where = where_mask(block, self.spec.where)
        if where is not None:
            keep &= where
        answered = np.flatnonzero(keep & block.good(self.spec.within_ms))
        cells, good, intended = (
            self.cells.of(block),
            block.good(self.spec.within_ms),
            block.intended_ns,
        )
        done = block.done_ns
        if not keep.all():
            cells, good, intended, done = cells[keep], good[keep], intended[keep], done[keep]
        patience_ns = round(self.spec.within_ms * 1e6)
        for series, under_way, stages in wanted:
            if len(cells):
                series.add(cells, intended, good)
                # What waited for its answer when the fault came, and could still have had a good
                # one: it is the fault's, and says nothing of the time before.
                came_ns = under_way.end_ns
                waits = (done >= came_ns) & (came_ns - intended < patience_ns)
                under_way.add(cells[waits], intended[waits], good[waits])
            stages.add(block, answered)

    def finish(self) -> Result:
        task, limit = self.task, self.spec.lte_s
        base: dict[str, Any] = {"limit": limit, "unit": "s"}
        if not self.faults:
            return Result(task.finding(Verdict.INCONCLUSIVE, "the plan has no such fault", **base))
        rows: list[tuple[Cell, float, float]] = []
        absent: list[str] = []
        for fault in self.faults:
            if fault.name not in self.series:
                absent.append(
                    f"{fault.name}: fault not observed: it was never requested, or its phases "
                    "are not in the evidence"
                )
                continue
            rows += self._fault_rows(fault)
        samples = sum(cell.samples for cell, _, _ in rows)
        if not rows or absent:
            why = absent[0] if absent else "no request was sent around any fault"
            return Result(
                task.finding(
                    Verdict.INCONCLUSIVE,
                    why,
                    samples=samples,
                    cells=shown([c for c, _, _ in rows]),
                    **base,
                )
            )
        cell, low, high = max(rows, key=lambda r: (r[0].verdict.severity, r[2], r[1], r[0].name))
        verdicts = [c.verdict for c, _, _ in rows]
        detail = {
            "d_lo_s": low,
            "d_hi_s": None if math.isinf(high) else high,
            "flaps": sum(int(c.detail.get("flaps", 0)) for c, _, _ in rows),
            "trials": len(self.faults),
            "p_exceed_at_most": exceed_probability_bound(len(self.faults), task.alpha),
            "cells": verdict_counts(verdicts),
            "stages": self.seen_stages,
        }
        finding = task.finding(
            worst(verdicts),
            f"{cell.name}: {cell.why}",
            value=low,
            bound=None if math.isinf(high) else high,
            samples=samples,
            cells=shown([c for c, _, _ in rows]),
            detail=detail,
            **base,
        )
        return Result(finding)

    def _fault_rows(self, fault: FaultWindow) -> list[tuple[Cell, float, float]]:
        series = self.series[fault.name]
        assert fault.requested_ns is not None  # noqa: S101 - a series exists only for a requested fault
        sustained_ns = round(self.spec.sustained_s * SECOND_NS)
        spread = self._spread()
        lag_s = self.task.context.health.lag_s(fault.requested_ns, series.end_ns)
        # One stretch from the injection to the end of the recovery: whoever is down in it is down.
        # An outage is over only after a sustained second, so what begins later than that before the
        # end of what was measured can be neither proven nor denied.
        assert fault.end_ns is not None  # noqa: S101 - as above
        window = (fault.requested_ns, min(fault.end_ns, series.end_ns - sustained_ns))
        found = traces(
            series,
            window,
            sustained_ns,
            self.spec.sustained_good,
            spread,
            count_from_ns=fault.requested_ns - LOOK_BACK_NS,
            undecided=self.under_way[fault.name],
            # While another fault stood nobody was in a steady state.
            calm_until_ns=self.under_way[fault.name].end_ns,
        )
        rows = [self._row(fault, trace, series.begin_ns, lag_s) for trace in found]
        labels = [self.cells.labels(trace.cell) for trace in found]
        self.seen_stages[fault.name] = self.stages[fault.name].found(found, labels, series.begin_ns)
        seen = {self.cells.labels(trace.cell).get("population") for trace in found}
        if "population" in self.spec.by and "population" not in self.spec.where:
            for population in self.task.context.plan.target.populations:
                if population.share > 0 and population.name not in seen:
                    why = "no request was sent around this fault"
                    silent = Cell(
                        name=f"{fault.name}: {population.name}",
                        verdict=Verdict.INCONCLUSIVE,
                        why=why,
                    )
                    rows.append((silent, 0.0, math.inf))
        return sorted(rows, key=lambda r: r[0].name)

    def _spread(self) -> dict[int, list[int]]:
        """Cells with an unknown value (a failed request carries no response label) and the whole
        cells they may belong to.
        """
        labels = [self.cells.labels(n) for n in range(len(self.cells))]
        whole = [n for n, one in enumerate(labels) if UNKNOWN not in one.values()]
        spread: dict[int, list[int]] = {}
        for n, one in enumerate(labels):
            if UNKNOWN in one.values():
                known = {k: v for k, v in one.items() if v != UNKNOWN}
                others = [w for w in whole if all(labels[w][k] == v for k, v in known.items())]
                if others:
                    spread[n] = others
        return spread

    def _saved_by(self, fault: FaultWindow, trace: CellTrace, origin_ns: int) -> FaultWindow | None:
        """The fault by whose undo an outage ended, for all that is known: this one, or another that
        stood with it.
        """
        others = standing_together(fault, self.task.context.faults)
        return next((one for one in others if _saved_by_the_undo(one, trace, origin_ns)), None)

    def _row(
        self, fault: FaultWindow, trace: CellTrace, origin_ns: int, lag_s: float
    ) -> tuple[Cell, float, float]:
        limit = self.spec.lte_s
        # What was sent late saw the target later than its intended start says: a busy generator
        # widens, it does not veto.
        low, high = max(0.0, trace.d_lo_s - lag_s), trace.d_hi_s + lag_s
        longest = trace.longest
        told = _told(fault, trace, origin_ns, low, high)
        if math.isinf(lag_s):
            told = "generator not observed: how late it sent is not known"
        if not trace.was_well(self.spec.sustained_good):
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"was not well before the fault: {trace.bad_before} of {trace.before} requests "
                f"bad ({told})"
                if trace.before
                else f"nobody asked before the fault, so it was not seen well ({told})",
            )
        elif low > limit:
            verdict, why = Verdict.FAIL, f"{told}, allowed {limit:g} s"
        elif not fault.proven:
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"{fault.doubt} ({told})",
            )
        elif (savior := self._saved_by(fault, trace, origin_ns)) is not None:
            what = "the fault" if savior is fault else savior.name
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"served again only because {what} ended ({told})",
            )
        elif high <= limit and trace.sends >= self.spec.min_samples:
            verdict, why = Verdict.PASS, told
        elif trace.sends < self.spec.min_samples:
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"{trace.sends} requests, {self.spec.min_samples} wanted",
            )
        else:
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"{told}: too coarse to tell whether it is under {limit:g} s",
            )
            if longest is not None and longest.good_ns is None:
                why = f"{told} and not recovered by the end of what was watched"
        cell = Cell(
            name=f"{fault.name}: {self.cells.name(trace.cell)}",
            verdict=verdict,
            value=low,
            bound=None if math.isinf(high) else high,
            samples=trace.sends,
            why=why,
            detail=_detail(fault, trace, origin_ns, lag_s),
        )
        return cell, low, high


def _told(fault: FaultWindow, trace: CellTrace, origin_ns: int, low: float, high: float) -> str:
    """The cell's longest outage in words; one that began with the undo is told as such."""
    longest = trace.longest
    if longest is None:
        return f"no bad request; no outage longer than {high:.3f} s fits between its good ones"
    told = f"down for at least {low:.3f} s"
    if math.isfinite(high):
        told = f"down for {low:.3f} to {high:.3f} s"
    returned = fault.rollback_ns is not None and longest.begin_ns + origin_ns >= fault.rollback_ns
    return f"{told} from the return" if returned else told


def _detail(fault: FaultWindow, trace: CellTrace, origin_ns: int, lag_s: float) -> dict[str, Any]:
    longest = trace.longest
    detail: dict[str, Any] = {
        "flaps": max(0, len(trace.outages) - 1),
        "widest_gap_s": trace.widest_gap_s,
        "send_lag_s": None if math.isinf(lag_s) else lag_s,
    }
    if longest is not None and fault.requested_ns is not None:
        end = (
            None
            if longest.good_ns is None
            else (longest.good_ns + origin_ns - fault.requested_ns) / 1e9
        )
        last_bad = longest.last_bad_ns + origin_ns - (fault.acknowledged_ns or fault.requested_ns)
        detail["from_injection_s"] = [max(0.0, last_bad / 1e9), end]
    return detail


def _saved_by_the_undo(fault: FaultWindow, trace: CellTrace, origin_ns: int) -> bool:
    """Whether an outage, the first or a later one, went on until the fault was taken back: what
    ended it was the undo, not a failover.
    """
    if fault.rollback_ns is None:
        return False
    back = fault.rollback_ns - origin_ns
    return any(o.begin_ns < back and (o.good_ns is None or o.good_ns > back) for o in trace.outages)


def _canaries(spec: FailoverSpec) -> Sequence[Canary]:
    slow_ms = spec.within_ms * 2 + 1
    return (
        Canary(outcome="reset", from_fault=True),
        Canary(outcome="ok", latency_ms=slow_ms, from_fault=True),
    )


def _need(spec: FailoverSpec, plan: Plan) -> Need:
    # What a cell needs is a matter of its silences: judge/planning_failover.py.
    return Need(spec.min_samples)


def _allowed_outage_s(spec: FailoverSpec) -> float:
    return spec.lte_s


def _breach(spec: FailoverSpec) -> Breach:
    return Breach(UNSERVED, seconds=spec.lte_s)


KIND = Kind(
    "failover",
    FailoverSpec,
    Failover,
    _canaries,
    _need,
    timing=False,
    users="faults",
    over_faults=True,
    outage=True,
    allowed_outage_s=_allowed_outage_s,
    served=lambda spec: (spec.sustained_good, spec.within_ms),
    interval=of_detail("d_lo_s", "d_hi_s"),
    breach=_breach,
)
