"""The search for the cause: faults, then how many times, how long and how strong, then traffic.
Pure but for whoever is asked.

A case is tried by `Ask`; what it says is kept by `Notes`, so that a search that was stopped goes
on where it stood: it is the same search, and what it asks first has been answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from stormgate.reproduce.shrink.case import Case, strengths, with_room
from stormgate.reproduce.shrink.ddmin import ddmin, least
from stormgate.reproduce.shrink.decide import TryCount, Trying, decide, flakiness, lead_needed

Ask = Callable[[Case], Trying]
CONFIRM_LEAD = 2
STRENGTH_RATIO = 1.25
# Two strengths nearer than this are not told apart.
STEPS = {"latency_ms": 2.0, "share": 0.02, "factor": 0.1, "rate_kb_per_s": 2.0}
LENGTH_RATIO = 1.3
LENGTH_STEP_S = 0.5
RATE_RATIO = 1.5
LEAST_RATE_PER_S = 10.0


class BudgetSpent(Exception):  # noqa: N818 - it is how a search ends, often rightly
    """No time is left for another try."""


class Notes(Protocol):
    """What was tried before, and what is told while it goes on."""

    def tries(self, case: Case) -> list[Trying]:
        """Of a case, oldest first."""

    def tried(self, case: Case, what: Trying, step: str) -> None:
        """Keep one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is not shrunk further: `length_s`, below which an outage would be the undo's; and how
    often a try is wrong, as far as is known.
    """

    length_s: float = 0.5
    flaky: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """What a search came to. `case` fails (`confirmed`: by a lead of two tries); `ended` says
    whether the search was, or time was; `least` is what it was found to take, without the room that
    `case` has; `needs_faults`: whether it holds without any fault.
    """

    case: Case
    least: Case | None
    confirmed: bool
    ended: bool
    needs_faults: bool | None
    flaky: float
    why: str


class Search:
    """One search. `ask` tries a case once, and raises BudgetSpent."""

    def __init__(self, whole: Case, ask: Ask, notes: Notes, limits: Limits) -> None:
        self._whole = whole
        self._ask = ask
        self._notes = notes
        self._limits = limits
        self._flaky = limits.flaky
        self._tallies: dict[str, TryCount] = {}
        self._best = whole
        self._least: Case | None = None
        self._needs_faults: bool | None = None

    def run(self) -> Shrunk:
        """The smallest case found. Never raises BudgetSpent."""
        try:
            first = self._decide(self._whole, CONFIRM_LEAD, "everything")
            if first is not Trying.FAILS:
                return self._shrunk(self._whole, False, True, f"everything together {first}")
            return self._search()
        except BudgetSpent:
            return self._shrunk(self._best, False, False, "no time was left")

    def _search(self) -> Shrunk:
        while True:
            flaky, self._best = self._flaky, self._whole
            nothing = self._whole.with_units(())
            if not self._whole.units:
                self._needs_faults = False
            elif self._decide(nothing, self._lead, "no fault") is Trying.FAILS:
                self._needs_faults, self._best = False, nothing
            else:
                self._needs_faults = True
                self._faults()
                self._turns()
                self._lengths()
                self._strengths()
            self._traffic()
            # At the very edge chance decides: what is handed on has room, and is tried so.
            self._least = self._best
            self._best = with_room(self._least, self._whole)
            last = self._decide(self._best, CONFIRM_LEAD, "the smallest with some room")
            if last is not Trying.FAILS:
                # More of it fails less, or it was believed too soon: then it contradicts itself.
                self._best = self._least
                last = self._decide(self._best, CONFIRM_LEAD, "the smallest, again")
            if last is Trying.FAILS:
                return self._shrunk(self._best, True, True, "it fails again and again")
            if self._flaky <= flaky:
                return self._shrunk(self._best, False, True, f"the smallest, tried again, {last}")
            # It contradicts itself, and was believed too soon: from the beginning, with more tries
            # for each step. What was tried counts.

    @property
    def _lead(self) -> int:
        return lead_needed(self._flaky)

    def _shrunk(self, case: Case, confirmed: bool, ended: bool, why: str) -> Shrunk:
        return Shrunk(
            case=case,
            least=self._least,
            confirmed=confirmed,
            ended=ended,
            needs_faults=self._needs_faults,
            flaky=self._flaky,
            why=why,
        )

    def _decide(self, case: Case, lead: int, step: str) -> Trying:
        tries = list(self._notes.tries(case))

        def again() -> Trying:
            what = self._ask(case)
            self._notes.tried(case, what, step)
            return what

        answer = decide(tries, again, lead)
        self._tallies[case.key] = TryCount.of(tries)
        self._flaky = max(self._limits.flaky, flakiness(self._tallies.values()))
        return answer

    def _fails(self, case: Case, step: str) -> bool:
        """Whether it does; what cannot be decided is not taken for smaller. What does is the best
        so far.
        """
        if self._decide(case, self._lead, step) is not Trying.FAILS:
            return False
        self._best = case
        return True

    def _faults(self) -> None:
        whole = self._best

        def fails(kept: Sequence[tuple[str, str]]) -> bool:
            names = ", ".join(fault for _, fault in kept)
            return self._fails(whole.with_units(kept), f"only {names}")

        self._best = whole.with_units(ddmin(whole.units, fails))

    def _turns(self) -> None:
        """Of what goes and comes several times, no more turns than it takes."""
        for trial, fault in self._best.units:
            whole = self._best
            begins = whole.begins(trial, fault)
            if len(begins) < 2:
                continue
            only = partial(whole.with_turns, trial, fault)
            kept = ddmin(begins, partial(self._turns_fail, only))
            self._best = only(kept)

    def _turns_fail(self, only: Callable[[Sequence[float]], Case], kept: Sequence[float]) -> bool:
        return self._fails(only(kept), f"{len(kept)} times")

    def _lengths(self) -> None:
        for trial, fault in self._best.units:
            longest = max(one.length_s for one in self._best.segments(trial, fault))
            low = min(self._limits.length_s, longest)
            fails = partial(self._short_fails, partial(self._best.with_length, trial, fault))
            if longest > low and not fails(low):
                least(longest, low, fails, ratio=LENGTH_RATIO, step=LENGTH_STEP_S)

    def _short_fails(self, made: Callable[[float], Case], length_s: float) -> bool:
        return self._fails(made(length_s), f"for {length_s:.3g} s")

    def _strengths(self) -> None:
        for trial, fault in self._best.units:
            own = self._best.segments(trial, fault)
            for name, value, nothing in strengths(own[0]):
                if len({one.params.get(name) for one in own}) > 1:
                    continue  # a measured series: its shape is what it is
                made = partial(self._best.with_param, trial, fault, name)
                fails = partial(self._weak_fails, name, made)
                least(value, nothing, fails, ratio=STRENGTH_RATIO, step=STEPS[name])

    def _weak_fails(self, name: str, made: Callable[[float], Case], strength: float) -> bool:
        return self._fails(made(strength), f"{name} {strength:.3g}")

    def _traffic(self) -> None:
        whole = self._best
        if len(whole.populations) > 1:

            def asked(kept: Sequence[str]) -> bool:
                case = replace(whole, populations=tuple(kept))
                return self._fails(case, f"only users of {', '.join(kept)}")

            kept = ddmin(whole.populations, asked)
            self._best = replace(whole, populations=tuple(kept))
        if len(self._best.tags) > 1:
            before = self._best

            def tagged(kept: Sequence[str]) -> bool:
                return self._fails(replace(before, tags=tuple(kept)), f"only {', '.join(kept)}")

            self._best = replace(before, tags=tuple(ddmin(before.tags, tagged)))
        slower = self._best

        def rated(rate_per_s: float) -> bool:
            case = replace(slower, rate_per_s=round(rate_per_s, 1))
            return self._fails(case, f"at {rate_per_s:.3g} requests/s")

        if slower.rate_per_s > LEAST_RATE_PER_S:
            least(slower.rate_per_s, LEAST_RATE_PER_S, rated, ratio=RATE_RATIO)
