"""Two runs side by side, objective by objective, with the interval of the difference. Pure: two
judgements in, rows out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stormgate.judge.registry import kinds
from stormgate.model import Finding, Judgement, Verdict


@dataclass(frozen=True, slots=True)
class Row:
    """One objective in both runs. `difference` is B - A in `unit`, with bounds where both runs say
    how sure they are.
    """

    name: str
    kind: str
    unit: str
    limit: float | None
    verdicts: tuple[str | None, str | None]
    values: tuple[float | None, float | None]
    samples: tuple[int, int]
    difference: float | None
    low: float | None
    high: float | None
    telling: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs of (ideally) one gate. `same_plan`: judged against the same plan, so that like is
    compared with like.
    """

    gates: tuple[str, str]
    verdicts: tuple[str, str]
    same_plan: bool
    confidence: float
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, keys as in the fields."""
        return asdict(self)


def compare(a: Judgement, b: Judgement, confidence: float = 0.95) -> Comparison:
    """Objectives by name, those of A first. Each bound of a difference holds at `confidence`."""
    first, second = {f.name: f for f in a.objectives}, {f.name: f for f in b.objectives}
    names = list(dict.fromkeys([*first, *second]))
    rows = tuple(_row(name, first.get(name), second.get(name), 1.0 - confidence) for name in names)
    return Comparison(
        (a.gate, b.gate),
        (a.verdict.value, b.verdict.value),
        a.plan_digest == b.plan_digest,
        confidence,
        rows,
    )


def _row(name: str, a: Finding | None, b: Finding | None, alpha: float) -> Row:
    known = a or b
    assert known is not None  # noqa: S101 - a name comes from one of the two
    low, high = _bounds(a, b, alpha) if a and b else (None, None)
    values = (a.value if a else None, b.value if b else None)
    difference = None if values[0] is None or values[1] is None else values[1] - values[0]
    return Row(
        name=name,
        kind=known.kind,
        unit=known.unit,
        limit=known.limit,
        verdicts=(a.verdict.value if a else None, b.verdict.value if b else None),
        values=values,
        samples=(a.samples if a else 0, b.samples if b else 0),
        difference=difference,
        low=low,
        high=high,
        telling=_telling(a, b, low, high),
    )


def _telling(a: Finding | None, b: Finding | None, low: float | None, high: float | None) -> str:
    if a is None or b is None:
        return "only in B" if a is None else "only in A"
    if a.kind != b.kind or a.unit != b.unit:
        return "not the same objective"
    parts = []
    if a.verdict is not b.verdict:
        parts.append(f"{a.verdict} became {b.verdict}")
    if low is None or high is None:
        parts.append("no interval: a difference of two single readings")
    elif low > 0 or high < 0:
        parts.append("differs")
    else:
        parts.append("no difference shown")
    return ", ".join(parts)


def _bounds(a: Finding, b: Finding, alpha: float) -> tuple[float | None, float | None]:
    """Each side's own bounds at alpha / 2 subtracted the far way: conservative, and true for any
    two runs.
    """
    if a.kind != b.kind or a.unit != b.unit:
        return None, None
    one, other = _interval(a, alpha / 2), _interval(b, alpha / 2)
    if one is None or other is None:
        return None, None
    return other[0] - one[1], other[1] - one[0]


def _interval(finding: Finding, alpha: float) -> tuple[float, float] | None:
    """What one run says its value could truly be."""
    kind = kinds().get(finding.kind)
    if finding.verdict in (Verdict.ERROR, Verdict.ABORTED) or finding.value is None or kind is None:
        return None
    return kind.interval(finding, alpha)
