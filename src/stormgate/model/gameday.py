"""A game day: who does what, and steps that each say beforehand what is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.model.codec import to_json
from stormgate.model.plan import Objective, canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What is believed of a step: in words, by objectives of the gate (by name) and of the step's
    `own` held over the step's phases, and by how fast people do their part (s from the injection;
    None: not said).
    """

    says: str
    objectives: tuple[str, ...] = ()
    own: tuple[Objective, ...] = ()
    detected_within_s: float | None = None
    mitigated_within_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GameStep:
    """One step: what is broken, for how long (s), how long users are watched afterwards (s), and
    what is asked before it. `name` is that of its fault in the evidence.
    """

    name: str
    mode: str
    components: tuple[str | Mapping[str, Any], ...]
    for_s: float
    recovery_s: float
    hypothesis: Hypothesis
    go: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    heals: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the step as canonical JSON: what was believed cannot be changed after
        what was seen.
        """
        sealed = to_json(self)
        if not self.hypothesis.own:
            # As it was before steps could have objectives of their own: what was sealed stays so.
            del sealed["hypothesis"]["own"]
        return hashlib.sha256(canonical(sealed)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class GameDay:
    """A whole day. `roles`: what somebody does -> who. `source`: its file."""

    name: str
    steps: tuple[GameStep, ...]
    roles: Mapping[str, str] = field(default_factory=dict)
    rehearsal: bool = False
    source: str = ""
