"""Which violations a gate's objectives are shown on its target, and which cannot be shown one. Pure
but for `accept`, which is asked whether the documents allow a violation.

One violation stands for all objectives that it violates: nobody is answered, everybody is answered
late, what is read is old. Each must fail by its own name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stormgate.documents.violations.ways import (
    Breakage,
    way_to_crowd,
    ways_to_age,
    ways_to_cut,
    ways_to_slow,
)
from stormgate.judge.planning import cell_shares
from stormgate.judge.registry import kinds
from stormgate.judge.violations.breach import SLOW, STALE, UNSERVED, Breach
from stormgate.model import Objective, Plan

# How long a violation stands at least, s; and of a fault's phase is nothing broken yet, about.
LEAST_HOLD_S, AROUND_S = 5.0, 6.0
# Of what a fault may last (the guard), so much is for making and undoing it, s.
SPARE_S = 10.0
# A share of bad requests as good as all is never exceeded for certain within this time.
_MOST_BLOCKS = 60
# Where nobody can say how many users meet it, and where few do: as if so many did.
_PERHAPS_MET, _LEAST_MET = 0.5, 0.25
_MOST_LATENCY_MS = 10_000
_HOW = (
    "name an experiment that violates it (--by), or see it fail over a planted defect of the lab "
    "(stormgate detect)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One run: `way` stands for `hold_s` seconds, and each of `objectives` must FAIL. `within`:
    those whose limit allows even that, since no fault of this gate may last longer. `experiment`:
    somebody's own, in place of a way.
    """

    name: str
    told: str
    objectives: tuple[str, ...]
    way: Breakage | None = None
    hold_s: float = 0.0
    latency_ms: float = 0.0
    within: tuple[str, ...] = ()
    experiment: str = ""
    configuration: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Unviolated:
    """An objective that nothing here violates, and why."""

    objective: str
    why: str


@dataclass(frozen=True, slots=True)
class Proving:
    """What `prove` does with a gate."""

    violations: tuple[Violation, ...]
    unviolated: tuple[Unviolated, ...]


# Whether the documents allow a violation on this target: None, or what they say against it.
Accept = Callable[[Violation], str | None]


def plan_violations(
    plan: Plan, accept: Accept, only: Sequence[str] = (), by: Mapping[str, str] | None = None
) -> Proving:
    """The violations for the objectives of a plan (`only` those). `by`: the experiment that its
    owner says violates an objective.
    """
    planner = _Planner(plan, accept)
    for objective in plan.objectives:
        if only and objective.name not in only:
            continue
        if own := (by or {}).get(objective.name):
            planner.take_own(objective, own)
        else:
            planner.sort_in(objective)
    planner.settle()
    order = [objective.name for objective in plan.objectives]
    unviolated = sorted(planner.unviolated, key=lambda one: order.index(one.objective))
    return Proving(tuple(planner.violations), tuple(unviolated))


class _Planner:
    def __init__(self, plan: Plan, accept: Accept) -> None:
        self._plan = plan
        self._accept = accept
        self._waiting: dict[str, dict[str, Breach]] = {SLOW: {}, STALE: {}, UNSERVED: {}}
        self._objectives = {one.name: one for one in plan.objectives}
        self.violations: list[Violation] = []
        self.unviolated: list[Unviolated] = []

    def sort_in(self, objective: Objective) -> None:
        """By what violates it, if anything does."""
        kind = kinds()[objective.kind]
        breach = kind.breach(kind.spec_model.model_validate(objective.spec))
        if "outcome" in (objective.spec.get("where") or {}):
            breach = "it looks at some outcomes alone, and no backend makes a target answer so"
        if isinstance(breach, str):
            self.unviolated.append(Unviolated(objective.name, f"{breach}; {_HOW}"))
        else:
            self._waiting[breach.way][objective.name] = breach

    def take_own(self, objective: Objective, experiment: str) -> None:
        """Its owner says what violates it."""
        one = Violation(
            name=f"by-{objective.name}",
            told=f"your experiment {experiment}",
            objectives=(objective.name,),
            experiment=experiment,
        )
        why = self._accept(one)
        if why is None:
            self.violations.append(one)
        else:
            self.unviolated.append(Unviolated(objective.name, why))

    def settle(self) -> None:
        """A way for each group, the first that the documents allow."""
        target, waiting = self._plan.target, self._waiting
        cut = waiting[UNSERVED]
        if slow := waiting[SLOW]:
            latency_ms = _latency_ms(slow.values())
            why = self._first("late", slow, ways_to_slow(target, latency_ms), latency_ms)
            if why is not None:
                # A request that fails is later than any limit.
                cut |= {name: replace(b, way=UNSERVED, seconds=0.0) for name, b in slow.items()}
        if stale := waiting[STALE]:
            why = self._first("stale", stale, ways_to_age(target), 0.0)
            if why is not None:
                self._give_up(stale, why)
        if cut:
            self._cut(cut)

    def _cut(self, cut: Mapping[str, Breach]) -> None:
        why = self._first("unanswered", cut, ways_to_cut(self._plan.target), 0.0)
        if why is None:
            return
        short = {name: b for name, b in cut.items() if not b.seconds}
        crowd = way_to_crowd(self._plan.load.rate_per_s)
        crowded = self._first("crowded", short, [crowd], 0.0) is None if short else False
        self._give_up({name: b for name, b in cut.items() if not crowded or name not in short}, why)

    def _give_up(self, group: Mapping[str, Breach], why: str) -> None:
        self.unviolated += [Unviolated(name, why) for name in group]

    def _first(
        self, name: str, group: Mapping[str, Breach], ways: Sequence[Breakage], latency_ms: float
    ) -> str | None:
        """Take the first way that is allowed; else why there is none."""
        said = ""
        for way in ways:
            missed = [one for one in group if not self._reaches(way, self._objectives[one])]
            if len(missed) == len(group):
                said = said or f"it looks only at users that nothing here reaches ({way.told})"
                continue
            taken = {one: breach for one, breach in group.items() if one not in missed}
            one = self._violation(name, taken, way, latency_ms)
            why = self._accept(one)
            if why is None:
                self.violations.append(one)
                self._give_up(
                    {m: group[m] for m in missed},
                    f"it looks at other users than {way.told} reaches",
                )
                return None
            said = said or why
        return said or (
            f"no component or link of target {self._plan.target.name!r} can be broken so: name one "
            "(links: and stormgate wire put Toxiproxy before an edge), or an experiment (--by)"
        )

    def _violation(
        self, name: str, group: Mapping[str, Breach], way: Breakage, latency_ms: float
    ) -> Violation:
        most_s = max(1.0, self._plan.guard.max_fault_s - SPARE_S)
        reached = sum(p.share for p in self._plan.target.populations if p.name in way.populations)
        wanted = {
            one: self._needed_s(self._objectives[one], breach, reached)
            for one, breach in group.items()
        }
        hold_s = min(most_s, max(LEAST_HOLD_S, *(max(both) for both in wanted.values())))
        within = [one for one, (limit_s, _) in wanted.items() if limit_s > hold_s]
        within += [one for one, b in group.items() if latency_ms and b.latency_ms >= latency_ms]
        return Violation(
            name=name,
            told=f"{way.told}, for {hold_s:g} s",
            objectives=tuple(group),
            way=way,
            hold_s=hold_s,
            latency_ms=latency_ms,
            within=tuple(dict.fromkeys(within)),
        )

    def _needed_s(
        self, objective: Objective, breach: Breach, reached: float
    ) -> tuple[float, float]:
        """How long it has to stand to exceed the objective's limit, and to do so beyond chance, s.
        `reached`: the share of users who surely meet it; 0 where nobody can say.
        """
        plan, model = self._plan, kinds()[objective.kind].spec_model
        spec = model.model_validate(objective.spec)
        by, where = getattr(spec, "by", None), getattr(spec, "where", {})
        needed_s = 0.0
        if breach.seconds:
            cells = cell_shares(plan, (by,) if isinstance(by, str) else tuple(by or ()), where)
            rate_per_s = min(cells.shares, default=0.0) * plan.load.rate_per_s
            # Between two requests of the smallest cell nobody sees anything: once at either end.
            blind_s = 2.0 / rate_per_s if rate_per_s > 0 else 0.0
            # Without cells those who are still served thin out what the others lose.
            thinned = 1.0 if by is not None else reached or 1.0
            needed_s = breach.seconds / thinned + 2.0 * blind_s + 1.0
        least = _blocks_needed(breach.allowed, 1.0 - plan.confidence, len(plan.objectives))
        met = 1.0 if by else max(_LEAST_MET, reached or _PERHAPS_MET)
        if breach.way == STALE:
            # Nothing read is too old before the limit has passed; it has to be read after that.
            least += breach.seconds
        return math.ceil(10.0 * needed_s) / 10.0, math.ceil(10.0 * least / met) / 10.0

    def _reaches(self, way: Breakage, objective: Objective) -> bool:
        wanted = (objective.spec.get("where") or {}).get("population")
        wanted = [wanted] if isinstance(wanted, str) else wanted
        return not wanted or not way.populations or bool(set(wanted) & set(way.populations))


def _latency_ms(breaches: Sequence[Breach] | Any) -> int:
    """Half as much again as the laxest limit, and a little: that cannot be called chance."""
    most = max(breach.latency_ms for breach in breaches)
    return min(_MOST_LATENCY_MS, math.ceil(1.5 * most + 50))


def _blocks_needed(allowed: float, alpha: float, among: int) -> float:
    """How many seconds in a row all requests have to be bad, in a phase that is so much longer, for
    `allowed` bad ones to be ruled out among so many objectives: P(X >= h), X binomial of h +
    AROUND_S whole seconds.
    """
    if allowed <= 0:
        return LEAST_HOLD_S
    for h in range(math.ceil(LEAST_HOLD_S), _MOST_BLOCKS):
        n = h + math.ceil(AROUND_S)
        tail = sum(math.comb(n, k) * allowed**k * (1 - allowed) ** (n - k) for k in range(h, n + 1))
        if tail <= alpha / (10.0 * among):
            return float(h)
    # So much is allowed that no stretch of one phase exceeds it: the run will say so.
    return LEAST_HOLD_S
