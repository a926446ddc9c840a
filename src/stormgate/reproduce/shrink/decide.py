"""When a case that may fail or not has been tried often enough: pure."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

# The chance that one step of a search is decided wrongly: 5 % over the 20 steps it usually takes.
STEP_ERROR = 0.05 / 20
MOST_UNDECIDED = 3
MOST_RUNS = 30
# Before anything contradicts itself a try is believed; from then on it is taken to be wrong as
# often as in ten tries of which one was, and whatever is seen beyond.
_PRIOR = (1, 10)
_MOST_FLAKY = 0.3


class Trying(enum.StrEnum):
    """What one try of a case came to: the objective failed, it did not, nobody can say."""

    FAILS = "fails"
    HOLDS = "holds"
    UNDECIDED = "undecided"


def lead_needed(flaky: float, error: float = STEP_ERROR) -> int:
    """By how many tries one answer must lead the other, where each try is wrong with probability
    `flaky`: Wald's sequential probability ratio test (Ann. Math. Statist. 16, 1945) between 1 -
    flaky and flaky, both errors `error`. 1 where nothing is flaky. Raises ValueError from 0.5 on.
    """
    if not 0 <= flaky < 0.5:
        raise ValueError(f"a try that is wrong with probability {flaky:g} tells nothing")
    if flaky == 0:
        return 1
    return max(1, math.ceil(math.log((1 - error) / error) / math.log((1 - flaky) / flaky) - 1e-9))


@dataclass(frozen=True, slots=True)
class TryCount:
    """The tries of one case so far."""

    fails: int = 0
    holds: int = 0
    undecided: int = 0

    @staticmethod
    def of(tries: Iterable[Trying]) -> TryCount:
        """The tally of some tries."""
        listed = list(tries)
        return TryCount(
            listed.count(Trying.FAILS), listed.count(Trying.HOLDS), listed.count(Trying.UNDECIDED)
        )

    def decided(self, lead: int) -> Trying | None:
        """The answer; None while another try is needed. It is undecided after 3 tries without an
        answer more than with one, or 30 with.
        """
        if abs(self.fails - self.holds) >= lead:
            return Trying.FAILS if self.fails > self.holds else Trying.HOLDS
        if self.undecided >= MOST_UNDECIDED + self.fails + self.holds:
            return Trying.UNDECIDED
        if self.fails + self.holds >= MOST_RUNS:
            return Trying.UNDECIDED
        return None


def flakiness(tallies: Iterable[TryCount]) -> float:
    """How often a try is wrong, as far as repeated cases show: 0 while none contradicted itself."""
    repeated = [one for one in tallies if one.fails + one.holds >= 2]
    wrong = sum(min(one.fails, one.holds) for one in repeated)
    if not wrong:
        return 0.0
    tried = sum(one.fails + one.holds for one in repeated)
    return min(_MOST_FLAKY, (wrong + _PRIOR[0]) / (tried + _PRIOR[1]))


def decide(tries: list[Trying], again: Callable[[], Trying], lead: int) -> Trying:
    """Try until it is decided; what is tried is added to `tries`."""
    while (answer := TryCount.of(tries).decided(lead)) is None:
        tries.append(again())
    return answer
