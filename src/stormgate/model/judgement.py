"""What the judge says: findings, their cells, and the verdict they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.model.proof import KnownProof
from stormgate.model.release import Attempt, Release
from stormgate.model.verdict import Verdict

VERDICT_SCHEMA = "stormgate.verdict/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line below an objective: a population, a route, a fault's cell. Numbers are None where
    nothing was measured.
    """

    name: str
    verdict: Verdict
    value: float | None = None
    bound: float | None = None
    samples: int = 0
    why: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one objective (or one validity rule) came to.

    `value` is the point estimate, `bound` the confidence bound held against `limit`, all in `unit`;
    None: not measured."""

    name: str
    kind: str
    verdict: Verdict
    value: float | None
    bound: float | None
    limit: float | None
    unit: str
    samples: int
    why: str
    cells: tuple[Cell, ...] = ()
    waived: str = ""
    source: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One way in which requests of a route failed: told beside the verdict, never part of it.

    `outcome` as in the samples, or `late`: answered correctly, after the time allowed. `expected`
    and `url` are those of the first such request, as the load said them; empty where it did not.
    Times are seconds since the run began, by intended start; the maps count requests.
    """

    route: str
    outcome: str
    status: int
    count: int
    expected: str = ""
    url: str = ""
    first_s: float = 0.0
    last_s: float = 0.0
    phases: Mapping[str, int] = field(default_factory=dict)
    populations: Mapping[str, int] = field(default_factory=dict)
    served_by: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The answer: the verdict, the exit code (0 also for a FAIL that is wholly waived), and why.

    `validity` are the findings that say whether the measurement itself can be trusted; they take
    part in the verdict. `failures` say how requests failed, what decides first. `release`, `short`,
    `attempts` and `proofs` are the plan's: what was judged, what a short try left out, the attempts
    before this one, and which objectives have been seen to fail.
    """

    gate: str
    verdict: Verdict
    exit_code: int
    plan_digest: str
    objectives: tuple[Finding, ...]
    validity: tuple[Finding, ...] = ()
    why: str = ""
    failures: tuple[Failure, ...] = ()
    release: Release = field(default_factory=Release)
    short: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    proofs: tuple[KnownProof, ...] | None = None
    schema: str = VERDICT_SCHEMA
