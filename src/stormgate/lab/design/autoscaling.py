"""How many instances a region's service has: what the target asks for, and the decision, from how
many requests come and which launches are known beforehand. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.lab.errors import LabError
from stormgate.model import Target

# Of the instances' capacity: above this more are started, below that some end, towards half.
UP, DOWN, TOWARDS = 0.70, 0.30, 0.50
MOST = 4
_KEYS = {"least", "most", "capacityPerS", "aheadS", "launches"}
_LAUNCH_KEYS = {"atS", "factor", "forS"}


@dataclass(frozen=True, slots=True)
class Launch:
    """Something that will bring `factor` times the usual: from `at_s` after the first request on,
    for `for_s`.
    """

    at_s: float
    factor: float
    for_s: float

    @property
    def end_s(self) -> float:
        return self.at_s + self.for_s


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a region may have. `capacity_per_s` is what one instance serves; a launch is prepared
    for `ahead_s` before it; an instance ends once it has been calm for `cool_s`.
    """

    least: int = 1
    most: int = MOST
    capacity_per_s: float = 60.0
    ahead_s: float = 10.0
    launches: tuple[Launch, ...] = ()
    cool_s: float = 3.0

    def enough(self, rate_per_s: float, share: float = UP) -> int:
        """The fewest instances of which so many requests take no more than that share."""
        count = math.ceil(rate_per_s / (share * self.capacity_per_s) - 1e-9)
        return min(max(count, self.least), self.most)

    def comfortable(self, rate_per_s: float) -> int:
        """As many as come nearest to half of their capacity, and to no more than what would start
        another.
        """
        counts = range(self.enough(rate_per_s), self.most + 1)
        return min(counts, key=lambda n: abs(rate_per_s / (n * self.capacity_per_s) - TOWARDS))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a process's configuration."""
        return {
            "least": self.least,
            "most": self.most,
            "capacity_per_s": self.capacity_per_s,
            "ahead_s": self.ahead_s,
            "launches": [[one.at_s, one.factor, one.for_s] for one in self.launches],
            "cool_s": self.cool_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scaling:
        """The inverse of `to_json`."""
        return cls(**{**data, "launches": tuple(Launch(*one) for one in data["launches"])})


@dataclass
class Autoscaler:
    """The decision, from look to look; `step` is given the time, s."""

    scaling: Scaling
    usual_per_s: float = 0.0
    calm_since_s: float | None = field(default=None)

    def step(self, now_s: float, begun_s: float | None, rate_per_s: float, standing: int) -> int:
        """How many there ought to be. `begun_s` is when the first request came: the launches are
        counted from there.
        """
        launch = None if begun_s is None else self.launch(now_s - begun_s)
        if launch is None:
            self.usual_per_s = rate_per_s
        foreseen = (
            self.scaling.least
            if launch is None
            else self.scaling.enough(self.usual_per_s * launch.factor)
        )
        used = rate_per_s / (standing * self.scaling.capacity_per_s)
        if used > UP or foreseen > standing:
            self.calm_since_s = None
            return max(standing, foreseen, self.scaling.enough(rate_per_s))
        if used >= DOWN or standing <= max(foreseen, self.scaling.least):
            self.calm_since_s = None
            return standing
        if self.calm_since_s is None:
            self.calm_since_s = now_s
        if now_s - self.calm_since_s < self.scaling.cool_s:
            return standing
        return min(standing, max(foreseen, self.scaling.comfortable(rate_per_s)))

    def launch(self, since_s: float) -> Launch | None:
        """The launch that is on, or is to be prepared for; of several the greatest."""
        near = [
            one
            for one in self.scaling.launches
            if one.at_s - self.scaling.ahead_s <= since_s < one.end_s
        ]
        return max(near, key=lambda one: one.factor, default=None)


def scaling_of(target: Target) -> Scaling | None:
    """What `provision.lab.autoscaling` asks for, with defaults, or None. Raises LabError for what
    cannot be.
    """
    asked = ((target.provision or {}).get("lab") or {}).get("autoscaling")
    if asked is None:
        return None
    try:
        return _read(asked)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise LabError(
            f"target {target.name!r}: provision.lab.autoscaling takes least and most (1 to {MOST}),"
            " capacityPerS, aheadS and launches ([{atS, factor, forS}], factor above 1), not "
            f"{asked!r}"
        ) from error


def _read(asked: Any) -> Scaling:
    if set(asked) - _KEYS:
        raise ValueError(asked)
    launches, usual = [], Scaling()
    for one in asked.get("launches", ()):
        if set(one) != _LAUNCH_KEYS:
            raise ValueError(one)
        launch = Launch(*(_number(one[key]) for key in ("atS", "factor", "forS")))
        if launch.factor <= 1:
            raise ValueError(one)
        launches.append(launch)
    found = Scaling(
        least=asked.get("least", 1),
        most=asked.get("most", MOST),
        capacity_per_s=_number(asked.get("capacityPerS", usual.capacity_per_s)),
        ahead_s=_number(asked.get("aheadS", usual.ahead_s)),
        launches=tuple(launches),
    )
    whole = all(type(count) is int for count in (found.least, found.most))
    if not whole or not 1 <= found.least <= found.most <= MOST:
        raise ValueError(asked)
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    if not 0 < value < math.inf:
        raise ValueError(value)
    return float(value)
