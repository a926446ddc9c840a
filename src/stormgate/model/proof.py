"""That an objective has been seen to fail over a violation really made, or that it did not."""

from __future__ import annotations

from dataclasses import dataclass

# What became of an objective that was to be violated. `PASSED_OVER`: it passed over the violation.
PROVED, PASSED_OVER, UNDECIDED, NO_WAY = "proved", "not proved", "undecided", "cannot be violated"

# Older than this a proof says little of today.
OLD_PROOF_DAYS = 30
# How a plan says that its fault is a violation, made so that objectives fail.
VIOLATED = "violated on purpose"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveProof:
    """What `stormgate prove` found of one objective on one target. `key` is that of the trial
    (gate, target, load and violation), the digests are those of the objective and the target as
    they were, `run` is the evidence: its folder, from the suite's root.
    """

    objective: str
    state: str
    utc: str
    why: str = ""
    violation: str = ""
    run: str = ""
    stormgate: str = ""
    target: str = ""
    key: str = ""
    objective_digest: str = ""
    target_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProof:
    """A proof as a later run finds it: `days` old when that run began, and what has `changed` since
    (empty: nothing).
    """

    objective: str
    state: str
    days: int
    utc: str
    changed: str = ""
    run: str = ""
