"""Whether a second run shows what a first one did: pure. Two judgements in, one answer out."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stormgate.judge.registry import kinds
from stormgate.model import Finding, Judgement, Verdict

SCHEMA = "stormgate.reproduction/1"
TOLERANCE = 0.25
"""How far the value of another run may lie beyond the interval of the first, as a share of what the
first one missed its limit by: an interval says what chance does within a run, not what another
machine and another day do."""
_ALPHA = 0.05


class ReproductionAnswer(enum.StrEnum):
    """What came of playing a run again. It ends the command with the exit code of the verdict it
    means: a gate that still fails, one that does not, one that decided nothing.
    """

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """1, 0 and 3, as `git bisect run` wants the first two."""
        verdicts = {
            ReproductionAnswer.REPRODUCED: Verdict.FAIL,
            ReproductionAnswer.NOT_REPRODUCED: Verdict.PASS,
            ReproductionAnswer.INCONCLUSIVE: Verdict.INCONCLUSIVE,
        }
        return verdicts[self].exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One objective that failed, then and now. `low` and `high`: where its value now has to lie,
    None where a single number is all there is.
    """

    objective: str
    kind: str
    unit: str
    limit: float | None
    verdicts: tuple[str, str | None]
    values: tuple[float | None, float | None]
    samples: tuple[int, int]
    low: float | None
    high: float | None
    answer: ReproductionAnswer
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The answer over all objectives that failed; `rows` also show those that did not."""

    answer: ReproductionAnswer
    why: str
    runs: tuple[str, str]
    verdicts: tuple[str, str]
    rows: tuple[SideBySide, ...]
    others: tuple[SideBySide, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, keys as in the fields."""
        return {"schema": SCHEMA, **asdict(self)}


def compare(
    then: Judgement, now: Judgement, runs: tuple[str, str], tolerance: float = TOLERANCE
) -> Reproduction:
    """Reproduced: every objective that failed then fails now, its value within its interval then.
    Not: one of them does not, or by another amount. Inconclusive: one of them was not decided.
    """
    found = {one.name: one for one in now.objectives}
    rows = [
        _row(one, found.get(one.name), tolerance)
        for one in then.objectives
        if one.verdict is Verdict.FAIL
    ]
    others = [
        _row(one, found.get(one.name), tolerance)
        for one in then.objectives
        if one.verdict is not Verdict.FAIL
    ]
    answer, why = _overall(rows, now)
    return Reproduction(
        answer=answer,
        why=why,
        runs=runs,
        verdicts=(then.verdict.value, now.verdict.value),
        rows=tuple(rows),
        others=tuple(others),
    )


def _overall(rows: Sequence[SideBySide], now: Judgement) -> tuple[ReproductionAnswer, str]:
    if not rows:
        return ReproductionAnswer.INCONCLUSIVE, "nothing failed in the first run"
    if now.verdict in (Verdict.ERROR, Verdict.ABORTED, Verdict.DIRTY):
        return ReproductionAnswer.INCONCLUSIVE, f"the run ended as {now.verdict}: {now.why}"
    for wanted in (ReproductionAnswer.INCONCLUSIVE, ReproductionAnswer.NOT_REPRODUCED):
        for row in rows:
            if row.answer is wanted:
                return wanted, f"{row.objective}: {row.why}"
    return ReproductionAnswer.REPRODUCED, "; ".join(f"{row.objective}: {row.why}" for row in rows)


def _row(then: Finding, now: Finding | None, tolerance: float) -> SideBySide:
    low, high = bounds(then, tolerance)
    answer, why = _answer(then, now, low, high)
    return SideBySide(
        objective=then.name,
        kind=then.kind,
        unit=then.unit,
        limit=then.limit,
        verdicts=(then.verdict.value, now.verdict.value if now else None),
        values=(then.value, now.value if now else None),
        samples=(then.samples, now.samples if now else 0),
        low=low,
        high=high,
        answer=answer,
        why=why,
    )


def _answer(
    then: Finding, now: Finding | None, low: float | None, high: float | None
) -> tuple[ReproductionAnswer, str]:
    if now is None or now.verdict not in (Verdict.PASS, Verdict.FAIL):
        return ReproductionAnswer.INCONCLUSIVE, "not judged" if now is None else now.why
    if now.verdict is Verdict.PASS:
        return ReproductionAnswer.NOT_REPRODUCED, f"it holds here: {now.why}"
    if low is None or high is None or now.value is None:
        return ReproductionAnswer.REPRODUCED, "fails here as well (it has no value to compare)"
    if low <= now.value <= high:
        return ReproductionAnswer.REPRODUCED, "fails here as well, its value within the interval"
    return (
        ReproductionAnswer.NOT_REPRODUCED,
        f"it fails here as well, but at {now.value:.6g} {now.unit}, not between {low:.6g} and "
        f"{high:.6g}",
    )


def bounds(finding: Finding, tolerance: float) -> tuple[float | None, float | None]:
    """Where the value of another run has to lie: the finding's own interval at 95 %, and on either
    side `tolerance` of what it missed its limit by. None where it has no value.
    """
    if finding.value is None:
        return None, None
    kind = kinds().get(finding.kind)
    interval = None if kind is None else kind.interval(finding, _ALPHA)
    low, high = interval or (finding.value, finding.value)
    low, high = min(low, high, finding.value), max(low, high, finding.value)
    missed = 0.0 if finding.limit is None else abs(finding.value - finding.limit)
    return low - tolerance * missed, high + tolerance * missed
