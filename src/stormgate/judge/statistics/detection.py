"""How far a gate can be trusted, from runs over planted defects and over healthy systems: how many
of the violations it found, and how often it cried over nothing, each with its bound.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stormgate.judge.statistics.bounds import lower_bound, upper_bound

HEALTHY = "healthy"
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionTrial:
    """One gate over one planted defect (`HEALTHY`: none), from one seed. `failed` are the kinds of
    the objectives that failed; `measured`: its load generator kept to its plan, else whatever it
    says is no trial of the gate.
    """

    defect: str
    seed: int
    verdict: str
    failed: tuple[str, ...] = ()
    took_s: float = 0.0
    run: str = ""
    why: str = ""
    measured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionPower:
    """What trials of one defect came to. `own`: failed by an objective of a kind that the defect
    names as its own; `other`: failed by others alone; `passed`: missed. The power's bound counts
    everything but `own` as not found.
    """

    defect: str
    found_by: tuple[str, ...]
    trials: int
    own: int
    other: int
    passed: int
    undecided: int
    broken: int
    by: Mapping[str, int]
    took_s: float | None

    @property
    def power_at_least(self) -> float:
        """Lower bound of the chance to find it, one-sided at 95 %: Clopper and Pearson 1934."""
        return float(lower_bound(self.own, self.trials, ALPHA)) if self.trials else 0.0

    @property
    def found_always(self) -> bool:
        """Found by its own objective in every trial there was, and there was one."""
        return self.trials > 0 and self.own == self.trials


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """What runs over the healthy system came to."""

    trials: int
    failed: int
    passed: int
    undecided: int
    broken: int

    @property
    def rate_at_most(self) -> float:
        """Upper bound of the chance of a FAIL over a healthy system, one-sided at 95 %. 1.0 where
        nothing was tried.
        """
        return float(upper_bound(self.failed, self.trials, ALPHA)) if self.trials else 1.0


def power_of(
    defect: str, found_by: Sequence[str], trials: Iterable[DetectionTrial]
) -> DetectionPower:
    """The power over one defect, from all trials of it."""
    mine = [trial for trial in trials if trial.defect == defect]
    fails = [trial for trial in mine if trial.verdict == "FAIL" and trial.measured]
    own = [trial for trial in fails if set(trial.failed) & set(found_by)]
    by: dict[str, int] = {}
    for trial in fails:
        for kind in sorted(set(trial.failed)):
            by[kind] = by.get(kind, 0) + 1
    passed = sum(trial.verdict == "PASS" for trial in mine)
    undecided = sum(_undecided(trial) for trial in mine)
    return DetectionPower(
        defect=defect,
        found_by=tuple(found_by),
        trials=len(mine),
        own=len(own),
        other=len(fails) - len(own),
        passed=passed,
        undecided=undecided,
        broken=len(mine) - len(fails) - passed - undecided,
        by=by,
        took_s=statistics.median(trial.took_s for trial in mine) if mine else None,
    )


def _undecided(trial: DetectionTrial) -> bool:
    return trial.verdict == "INCONCLUSIVE" or (trial.verdict == "FAIL" and not trial.measured)


def false_alarms_of(trials: Iterable[DetectionTrial]) -> FalseAlarms:
    """What the healthy trials among these say."""
    mine = [trial for trial in trials if trial.defect == HEALTHY]
    count = {word: sum(t.verdict == word for t in mine) for word in ("FAIL", "PASS")}
    undecided = sum(trial.verdict == "INCONCLUSIVE" for trial in mine)
    return FalseAlarms(
        trials=len(mine),
        failed=count["FAIL"],
        passed=count["PASS"],
        undecided=undecided,
        broken=len(mine) - count["FAIL"] - count["PASS"] - undecided,
    )
