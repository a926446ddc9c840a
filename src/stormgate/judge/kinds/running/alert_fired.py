"""alertFired: after a fault the right alert fires within its limit and is resolved after it; while
all is calm it does not fire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stormgate.evidence.timeline import (
    SECOND_NS,
    FaultWindow,
    PhaseWindow,
    standing_together,
)
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.rules.stale import usable
from stormgate.judge.spec import Names, Positive, Spec
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block

# The receiver says once a second that it is there (supervise/receiver.py); a longer silence is one
# of ours.
_HEARTBEAT = "receiver"
_MOST_SILENT_S = 4.0


class AlertFiredSpec(Spec):
    """`alert` is its name. It fires within `within_s` of each fault's request (or of `fault`'s
    alone), and is resolved within `clears_s` of the fault's end. In the phases of `quiet` it does
    not fire.
    """

    alert: str = Field(min_length=1)
    within_s: Positive
    clears_s: Positive = 60.0
    fault: str | None = None
    quiet: Names = ("steady",)


class AlertFired:
    """A fact, not a sample: FAIL for an alert that is late, missing, false or never resolved.
    INCONCLUSIVE where nobody was there to be told, the fault was not proven, or it fired already.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: AlertFiredSpec = task.spec
        rows = [row for row in task.context.readings if usable(row)]
        rows.sort(key=lambda row: int(row["at_ns"]))
        self.beats = [int(row["at_ns"]) for row in rows if row.get("probe") == _HEARTBEAT]
        self.told = [
            (int(row["at_ns"]), float(row["value"]) > 0)
            for row in rows
            if row.get("probe") == f"alert/{self.spec.alert}"
        ]

    def add(self, block: Block) -> None:
        """Alerts are not samples."""

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        faults = [f for f in task.context.faults if spec.fault in (None, f.name)]
        quiet = task.context.windows(spec.quiet)
        cells = [self._after(fault) for fault in faults]
        cells += [self._calm(window) for window in quiet.apart]
        cells += [
            Cell(
                name=name,
                verdict=Verdict.INCONCLUSIVE,
                why=f"phase {name} is not in the evidence whole",
            )
            for name in quiet.missing
        ]
        base: dict[str, Any] = {"limit": spec.within_s, "unit": "s", "samples": len(self.told)}
        if not faults:
            why = "no fault is in the evidence"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        decisive = max(cells, key=lambda c: (c.verdict.severity, c.value or 0.0))
        slowest = max((c.value for c in cells if c.value is not None), default=None)
        finding = task.finding(
            worst(c.verdict for c in cells),
            f"{decisive.name}: {decisive.why}",
            value=slowest,
            bound=slowest,
            cells=cells,
            detail={"alert": spec.alert},
            **base,
        )
        return Result(finding)

    def _after(self, fault: FaultWindow) -> Cell:
        spec = self.spec
        begin, end = fault.requested_ns, fault.end_ns
        # What stood with it may have it fire on.
        others = standing_together(fault, self.task.context.faults)
        cleared = max((one.cleared_ns or 0 for one in others), default=0)
        over = max((one.end_ns or 0 for one in others), default=0)

        def cell(verdict: Verdict, why: str, value: float | None = None) -> Cell:
            return Cell(name=fault.name, verdict=verdict, why=why, value=value, samples=1)

        if not fault.proven or begin is None or end is None or fault.cleared_ns is None:
            return cell(Verdict.INCONCLUSIVE, fault.doubt or "the fault was not proven")
        if (silent := self._silent(begin, over)) is not None:
            return cell(Verdict.INCONCLUSIVE, silent)
        if self._firing(begin):
            return cell(Verdict.INCONCLUSIVE, f"{spec.alert} fired already before the fault")
        fired = [at for at, on in self.told if on and begin <= at < end]
        watched_s = (end - begin) / SECOND_NS
        if not fired and watched_s < spec.within_s:
            return cell(Verdict.INCONCLUSIVE, f"watched for {watched_s:.1f} s only")
        if not fired:
            return cell(Verdict.FAIL, f"{spec.alert} did not fire in {watched_s:.1f} s")
        took_s = (fired[0] - begin) / SECOND_NS
        why = f"{spec.alert} fired after {took_s:.2f} s, {spec.within_s:g} s allowed"
        if took_s > spec.within_s:
            return cell(Verdict.FAIL, why, took_s)
        if self._firing(over):
            lasted_s = (over - cleared) / SECOND_NS
            if lasted_s < spec.clears_s:
                more = f"still fires {lasted_s:.1f} s after the end, {spec.clears_s:g} s allowed"
                return cell(Verdict.INCONCLUSIVE, f"{why}; {more}", took_s)
            return cell(Verdict.FAIL, f"{why}; never resolved", took_s)
        ended = [at for at, on in self.told if not on and fired[0] < at < over]
        late_s = max(0.0, (ended[-1] - cleared) / SECOND_NS)
        why += f"; resolved {late_s:.2f} s after the fault's end"
        return cell(Verdict.FAIL if late_s > spec.clears_s else Verdict.PASS, why, took_s)

    def _calm(self, window: PhaseWindow) -> Cell:
        spec = self.spec
        verdict, why = Verdict.PASS, f"{spec.alert} did not fire"
        if self._firing(window.begin_ns) or any(
            on and window.begin_ns <= at < window.end_ns for at, on in self.told
        ):
            verdict, why = Verdict.FAIL, f"{spec.alert} fired although nothing was broken"
        elif (silent := self._silent(window.begin_ns, window.end_ns)) is not None:
            verdict, why = Verdict.INCONCLUSIVE, silent
        return Cell(name=window.name, verdict=verdict, why=why, samples=1)

    def _firing(self, at_ns: int) -> bool:
        """Whether it fired at that moment."""
        before = [on for at, on in self.told if at < at_ns]
        return bool(before) and before[-1]

    def _silent(self, begin: int, end: int) -> str | None:
        """Where nobody was there to be told, in words."""
        beats = [begin, *(at for at in self.beats if begin <= at < end), end]
        gap_s = max((b - a) / SECOND_NS for a, b in pairwise(beats))
        if gap_s <= _MOST_SILENT_S:
            return None
        return f"for {gap_s:.1f} s nobody was there to be told of an alert"


def _canaries(spec: AlertFiredSpec) -> Sequence[Canary]:
    """Somebody listens all the time, and no alert comes."""
    return (Canary(outcome="ok", readings={_HEARTBEAT: (1.0,) * _BEATS}),)


_BEATS = 400


def _need(spec: AlertFiredSpec, plan: Plan) -> Need:
    return Need(0, None, "a receiver that listens, and a fault")


def _contradictions(
    spec: AlertFiredSpec, plan: Plan, lengths: Mapping[str, float]
) -> Sequence[str]:
    if not plan.receive:
        return ["nothing listens for alerts: add receive: {listen: 127.0.0.1:PORT} to the gate"]
    return []


KIND = Kind(
    "alertFired",
    AlertFiredSpec,
    AlertFired,
    _canaries,
    _need,
    timing=False,
    users="",
    over_faults=True,
    contradictions=_contradictions,
)
