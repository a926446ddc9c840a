"""The words every part of Stormgate shares, as frozen types. Imports no sibling.

Times are CLOCK_MONOTONIC nanoseconds of the run's clock (`_ns`), shares and confidences are
fractions of one. `to_json` / `from_json` are the only way these types cross a process or reach
disk, so a Plan read back equals the Plan written.
"""

from __future__ import annotations

from stormgate.model.codec import from_json, to_json
from stormgate.model.course import company, expected_spans, groups, phases_of_faults
from stormgate.model.events import Event
from stormgate.model.judgement import VERDICT_SCHEMA, Cell, Failure, Finding, Judgement
from stormgate.model.plan import (
    PLAN_SCHEMA,
    Fault,
    Guard,
    Load,
    Objective,
    Plan,
    Sampling,
    Validity,
    Waiver,
    When,
    digest_of,
    plan_digest,
)
from stormgate.model.proof import (
    NO_WAY,
    OLD_PROOF_DAYS,
    PASSED_OVER,
    PROVED,
    UNDECIDED,
    VIOLATED,
    KnownProof,
    ObjectiveProof,
)
from stormgate.model.release import LEFT_OUT, Attempt, Release
from stormgate.model.target import (
    Component,
    FinalRead,
    GivenTrip,
    Observe,
    Population,
    Region,
    Steering,
    Store,
    Target,
)
from stormgate.model.verdict import EXIT_USAGE, Outcome, Verdict, worst

__all__ = [
    "EXIT_USAGE",
    "LEFT_OUT",
    "NO_WAY",
    "OLD_PROOF_DAYS",
    "PASSED_OVER",
    "PLAN_SCHEMA",
    "PROVED",
    "UNDECIDED",
    "VERDICT_SCHEMA",
    "VIOLATED",
    "Attempt",
    "Cell",
    "Component",
    "Event",
    "Failure",
    "Fault",
    "FinalRead",
    "Finding",
    "GivenTrip",
    "Guard",
    "Judgement",
    "KnownProof",
    "Load",
    "Objective",
    "ObjectiveProof",
    "Observe",
    "Outcome",
    "Plan",
    "Population",
    "Region",
    "Release",
    "Sampling",
    "Steering",
    "Store",
    "Target",
    "Validity",
    "Verdict",
    "Waiver",
    "When",
    "company",
    "digest_of",
    "expected_spans",
    "from_json",
    "groups",
    "phases_of_faults",
    "plan_digest",
    "to_json",
    "worst",
]
