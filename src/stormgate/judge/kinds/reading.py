"""reading: what a probe read, in these phases: every value, their mean, the last one, or the
increase from first to last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from stormgate.evidence.timeline import PhaseWindow
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.rules.stale import failed, read_in, stale, usable
from stormgate.judge.spec import Names, Spec
from stormgate.judge.violations.breach import Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class ReadingSpec(Spec):
    """`probe` names it; the `aggregate` of its values lies between `gte` and `lte`. `min_samples`
    values are wanted in each phase.
    """

    probe: str = Field(min_length=1)
    phases: Names = Field(default=("steady",), min_length=1)
    aggregate: Literal["every", "mean", "last", "increase"] = "every"
    gte: float | None = Field(default=None, allow_inf_nan=False)
    lte: float | None = Field(default=None, allow_inf_nan=False)
    min_samples: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.gte is None and self.lte is None:
            raise ValueError("give gte, lte or both")
        if self.gte is not None and self.lte is not None and self.gte > self.lte:
            raise ValueError("gte is above lte: nothing can satisfy both")
        return self


class Reading:
    """FAIL if the aggregate is outside its limits, INCONCLUSIVE if a reading is missing or failed,
    else PASS. No chance in it.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: ReadingSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)

    def add(self, block: Block) -> None:
        """Readings are not samples."""

    def finish(self) -> Result:
        spec, task = self.spec, self.task
        limit = spec.lte if spec.lte is not None else spec.gte
        cells = [
            self._cell(w, read_in(task.context.readings, spec.probe, w)) for w in self.windows.apart
        ]
        cells += [
            Cell(
                name=name,
                verdict=Verdict.INCONCLUSIVE,
                why=f"phase {name} is not in the evidence whole",
            )
            for name in self.windows.missing
        ]
        decisive = max(cells, key=lambda c: (c.verdict.severity, c.name))
        finding = task.finding(
            worst(c.verdict for c in cells),
            f"{decisive.name}: {decisive.why}",
            value=decisive.value,
            bound=decisive.value,
            limit=limit,
            samples=sum(c.samples for c in cells),
            cells=cells,
            detail={"probe": spec.probe, "aggregate": spec.aggregate},
        )
        return Result(finding)

    def _cell(self, window: PhaseWindow, rows: Sequence[Mapping[str, Any]]) -> Cell:
        spec = self.spec
        values = [float(r["value"]) for r in rows if usable(r)]
        doubt = failed(rows, spec.probe)
        shown = _aggregate(values, spec)
        verdict, why = Verdict.PASS, f"{spec.aggregate} of {len(values)} readings of {spec.probe}"
        if shown is not None:
            why = f"{why} is {shown:g}"
        if shown is not None and _outside(shown, spec):
            verdict, why = Verdict.FAIL, f"{why}, outside {_limits(spec)}"
        elif doubt is not None:
            verdict, why = Verdict.INCONCLUSIVE, doubt
        elif len(values) < spec.min_samples or shown is None:
            verdict, why = (
                Verdict.INCONCLUSIVE,
                f"{len(values)} readings of {spec.probe}, {spec.min_samples} wanted",
            )
        elif (old := stale(self.task.context.plan, rows, spec.probe, window)) is not None:
            verdict, why = Verdict.INCONCLUSIVE, old
        return Cell(
            name=window.name,
            verdict=verdict,
            value=shown,
            bound=shown,
            samples=len(values),
            why=why,
        )


def _aggregate(values: Sequence[float], spec: ReadingSpec) -> float | None:
    """The number that is held against the limits; of "every" the one furthest out."""
    if not values or (spec.aggregate == "increase" and len(values) < 2):
        return None
    if spec.aggregate == "mean":
        return sum(values) / len(values)
    if spec.aggregate == "last":
        return values[-1]
    if spec.aggregate == "increase":
        return values[-1] - values[0]
    for value in sorted(values, reverse=spec.lte is not None):
        if _outside(value, spec):
            return value
    return min(values) if spec.lte is None else max(values)


def _outside(value: float, spec: ReadingSpec) -> bool:
    return (spec.gte is not None and value < spec.gte) or (
        spec.lte is not None and value > spec.lte
    )


def _limits(spec: ReadingSpec) -> str:
    limits = ((">=", spec.gte), ("<=", spec.lte))
    return " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)


def _canaries(spec: ReadingSpec) -> Sequence[Canary]:
    far = (
        (spec.lte + abs(spec.lte) + 1.0)
        if spec.lte is not None
        else (spec.gte or 0.0) - abs(spec.gte or 0.0) - 1.0
    )
    values = (0.0, far) if spec.aggregate == "increase" else (far,)
    return (Canary(outcome="ok", readings={spec.probe: values * max(1, spec.min_samples)}),)


def _need(spec: ReadingSpec, plan: Plan) -> Need:
    return Need(0, None, f"{spec.min_samples} readings of {spec.probe} in each phase")


def _reads(spec: Mapping[str, Any]) -> str | None:
    return str(spec["probe"])


def _breach(spec: ReadingSpec) -> Breach | str:
    return f"what moves the probe {spec.probe} is known to its owner alone"


KIND = Kind(
    "reading",
    ReadingSpec,
    Reading,
    _canaries,
    _need,
    timing=False,
    users="",
    reads=_reads,
    breach=_breach,
)
