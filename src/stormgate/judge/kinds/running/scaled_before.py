"""scaledBefore: when the load rises above what there was capacity for, the capacity is there
before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.evidence.timeline import SECOND_NS, PhaseWindow
from stormgate.judge.cells import where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.rules.stale import failed, read_in, stale, usable
from stormgate.judge.spec import Names, Spec, Where
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stormgate.evidence.samples import Block

_READINGS = 20


class ScaledBeforeSpec(Spec):
    """`probe` reads how many requests per second can be served; the load is what users sent
    (`where`), as the mean over `over_s` whole seconds. Capacity for the highest of it is there at
    least `lead_s` before the load is above what was there in the phase's beginning.
    """

    probe: str = Field(min_length=1)
    phases: Names = Field(default=("steady",), min_length=1)
    where: Where = Field(default_factory=dict)
    lead_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    over_s: int = Field(default=3, ge=1, le=60)


class ScaledBefore:
    """The lead is known between two readings: the last with too little, and the one after it. FAIL
    if even the longest lead that could be is too short, or capacity never came; PASS if the
    shortest is long enough. INCONCLUSIVE between them, where a reading is missing or failed, and
    where the load never rose above what was there: then nothing had to be scaled.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: ScaledBeforeSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.counts: NDArray[np.int64] = np.zeros(self.windows.blocks, np.int64)

    def add(self, block: Block) -> None:
        rows, seconds = rows_in(block, self.windows)
        where = where_mask(block, self.spec.where)
        # Whatever was meant to be sent was asked for, be it answered or not.
        np.add.at(self.counts, seconds if where is None else seconds[where[rows]], 1)

    def finish(self) -> Result:
        spec, task = self.spec, self.task
        cells = [self._cell(window) for window in self.windows.windows]
        cells += [
            Cell(
                name=name,
                verdict=Verdict.INCONCLUSIVE,
                why=f"phase {name} is not in the evidence whole",
            )
            for name in self.windows.missing
        ]
        decisive = max(cells, key=lambda c: (c.verdict.severity, -(c.value or 0.0)))
        finding = task.finding(
            worst(c.verdict for c in cells),
            f"{decisive.name}: {decisive.why}",
            value=decisive.value,
            bound=decisive.bound,
            limit=spec.lead_s,
            unit="s",
            samples=int(self.counts.sum()),
            cells=cells,
            detail={"probe": spec.probe},
        )
        return Result(finding)

    def _load(self, window: PhaseWindow) -> NDArray[np.float64]:
        """Requests per second from each whole second of the phase on, over `over_s` of them."""
        whole = (window.end_ns - window.begin_ns) // SECOND_NS
        seconds = self.counts[window.first_block : window.first_block + whole]
        over = min(self.spec.over_s, len(seconds))
        return np.convolve(seconds, np.ones(over), "valid") / over if over else np.zeros(0)

    def _cell(self, window: PhaseWindow) -> Cell:
        spec, load = self.spec, self._load(window)
        rows = read_in(self.task.context.readings, spec.probe, window)
        found = [row for row in rows if usable(row)]

        def cell(verdict: Verdict, why: str, low: float | None = None, **more: Any) -> Cell:
            samples = int(self.counts[window.first_block :][: window.blocks].sum())
            return Cell(
                name=window.name, verdict=verdict, why=why, bound=low, samples=samples, **more
            )

        if not found or not load.sum():
            told = f"{len(found)} readings of {spec.probe}, {int(load.sum())} requests: no answer"
            return cell(Verdict.INCONCLUSIVE, told)
        before, peak = float(found[0]["value"]), float(load.max())
        above = np.flatnonzero(load > before)
        if not len(above):
            told = (
                f"at most {peak:.0f}/s came, and there was capacity for {before:g}/s at once: "
                "nothing had to be scaled"
            )
            return cell(Verdict.INCONCLUSIVE, told)
        rise_ns = window.begin_ns + int(above[0]) * SECOND_NS
        fall_ns = window.begin_ns + int(above[-1]) * SECOND_NS
        came = f"the load rose above {before:g}/s to {peak:.0f}/s"
        low, high = _lead(found, peak, rise_ns, fall_ns)
        if low is None:
            if high < spec.lead_s:
                return cell(Verdict.FAIL, f"{came}, and never there was capacity for it", None)
            return cell(Verdict.INCONCLUSIVE, f"{came}, and no reading says whether it was there")
        lead = f"capacity for it was there {low:.1f} to {high:.1f} s before"
        told = f"{came}; {lead}, {spec.lead_s:g} s wanted"
        detail = {"lead_low_s": low, "lead_high_s": high, "peak_per_s": peak, "before": before}
        if high < spec.lead_s:
            return cell(Verdict.FAIL, told, high, value=high, detail=detail)
        doubt = failed(rows, spec.probe) or stale(self.task.context.plan, rows, spec.probe, window)
        verdict = Verdict.PASS if low >= spec.lead_s and doubt is None else Verdict.INCONCLUSIVE
        if doubt is not None:
            told = f"{told}; {doubt}"
        return cell(verdict, told, low, value=low, detail=detail)


def _lead(
    readings: Sequence[Mapping[str, Any]], peak: float, rise_ns: int, fall_ns: int
) -> tuple[float | None, float]:
    """The least and the most seconds by which capacity for the peak was there before the load rose;
    of one that went away again while the load stood, the last time counts. The first is None where
    no reading says that it was there.
    """
    short = max(
        (i for i, r in enumerate(readings) if r["value"] < peak and int(r["at_ns"]) <= fall_ns),
        default=0,
    )
    high_s = (rise_ns - int(readings[short]["at_ns"])) / SECOND_NS
    after = next((row for row in readings[short + 1 :] if row["value"] >= peak), None)
    if after is None:
        return None, high_s
    read_ns = int(after["at_ns"]) + int(float(after.get("duration_ms") or 0.0) * 1e6)
    return (rise_ns - read_ns) / SECOND_NS, high_s


def _canaries(spec: ScaledBeforeSpec) -> Sequence[Canary]:
    """There is no capacity, whatever comes."""
    return (Canary(outcome="ok", readings={spec.probe: (0.0,) * _READINGS}),)


def _need(spec: ScaledBeforeSpec, plan: Plan) -> Need:
    return Need(0, None, f"readings of {spec.probe}, and a load that rises above what is there")


def _reads(spec: Mapping[str, Any]) -> str | None:
    return str(spec["probe"])


KIND = Kind(
    "scaledBefore",
    ScaledBeforeSpec,
    ScaledBefore,
    _canaries,
    _need,
    timing=False,
    users="",
    reads=_reads,
)
