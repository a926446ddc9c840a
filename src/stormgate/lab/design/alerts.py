"""Alert rules, evaluated as a Prometheus would: a condition that holds for so long fires, and one
that has not held for so long is resolved. Pure: times and counts are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# How far back a rate looks, s, and how many requests it needs to be one.
RATE_S = 3.0
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Scrape:
    """What all processes said at one time: requests and errors by process; those that did not
    answer are missing.
    """

    at_s: float
    requests: Mapping[str, float]
    errors: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """`above` is the limit of its condition; see `AlertBook.active`."""

    name: str
    above: float
    for_s: float
    severity: str = "page"


RULES = (
    AlertRule(name="ErrorRateHigh", above=0.02, for_s=0.5),
    AlertRule(name="InstanceDown", above=0.0, for_s=2.0),
)
# A condition has to be gone for so long before its alert is resolved.
RESOLVED_AFTER_S = 2.0


@dataclass(slots=True)
class _State:
    since_s: float | None = None
    quiet_s: float | None = None
    firing: bool = False


@dataclass(slots=True)
class AlertBook:
    """The state of every alert. `edges` are the processes whose errors users see, `known` all that
    ought to answer.
    """

    edges: frozenset[str]
    known: frozenset[str]
    rules: Iterable[AlertRule] = RULES
    _seen: list[Scrape] = field(default_factory=list)
    _states: dict[str, _State] = field(default_factory=dict)

    def take(self, scrape: Scrape) -> list[dict[str, Any]]:
        """Take a scrape in; what begins or ends to fire with it, in Alertmanager's words."""
        self._seen.append(scrape)
        while self._seen[0].at_s < scrape.at_s - RATE_S:
            self._seen.pop(0)
        changes = []
        for rule in self.rules:
            state = self._states.setdefault(rule.name, _State())
            before = state.firing
            self._turn(rule, state, scrape.at_s)
            if state.firing != before:
                status = "firing" if state.firing else "resolved"
                labels = {"alertname": rule.name, "severity": rule.severity}
                changes.append({"status": status, "labels": labels})
        return changes

    def _turn(self, rule: AlertRule, state: _State, at_s: float) -> None:
        if self.active(rule):
            state.quiet_s = None
            state.since_s = at_s if state.since_s is None else state.since_s
            state.firing = state.firing or at_s - state.since_s >= rule.for_s
            return
        state.since_s = None
        state.quiet_s = at_s if state.quiet_s is None else state.quiet_s
        if at_s - state.quiet_s >= RESOLVED_AFTER_S:
            state.firing = False

    def active(self, rule: AlertRule) -> bool:
        """Whether a rule's condition holds now."""
        if rule.name == "InstanceDown":
            return len(self.known - set(self._seen[-1].requests)) > rule.above
        share = self.error_share()
        return share is not None and share > rule.above

    def error_share(self) -> float | None:
        """The share of errors among what the edges answered lately; None with too little to say.
        A counter that fell was started anew: it counts from 0.
        """
        first, last = self._seen[0], self._seen[-1]

        def rise(of: str) -> float:
            new: Mapping[str, float] = getattr(last, of)
            old: Mapping[str, float] = getattr(first, of)
            return sum(
                value - old[name] if value >= old.get(name, value) else value
                for name, value in new.items()
                if name in self.edges and name in old
            )

        requests = rise("requests")
        return rise("errors") / requests if requests >= FEWEST else None
