"""Delta debugging: the smallest part of a list that still fails. Pure.

Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE Transactions on
Software Engineering 28 (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def ddmin(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of `items`, in their order, that fails and from which no single item can be taken.

    `items` themselves are known to fail, and that nothing does not; neither is asked again.
    """
    found, parts = list(items), 2
    while len(found) >= 2:
        chunks = _chunks(found, min(parts, len(found)))
        smaller = next((one for one in chunks if fails(one)), None)
        if smaller is not None:
            found, parts = smaller, 2
            continue
        # Of two halves each is the other's complement, and has just been asked.
        rests = [
            [item for other in chunks if other is not one for item in other]
            for one in (chunks if len(chunks) > 2 else ())
        ]
        rest = next((one for one in rests if fails(one)), None)
        if rest is not None:
            found, parts = rest, max(len(chunks) - 1, 2)
        elif len(chunks) == len(found):
            break
        else:
            parts = min(len(found), 2 * len(chunks))
    return found


def _chunks(items: Sequence[T], count: int) -> list[list[T]]:
    """As equal as can be, in order, none empty."""
    ends = [round(len(items) * i / count) for i in range(count + 1)]
    return [list(items[a:b]) for a, b in pairwise(ends)]


def least(
    high: float, low: float, fails: Callable[[float], bool], *, ratio: float, step: float = 0.0
) -> float:
    """The least of a number at which it still fails, where more of it never fails less: bisected
    between `low`, at which it is taken to hold, and `high`, at which it fails, until they are
    within `ratio` of each other or within `step`. `low` may be 0; it may also be above `high`,
    where less of the number is more of a fault.
    """
    while True:
        small, large = sorted((low, high))
        if large - small <= step or (small > 0 and large / small <= ratio):
            return high
        # Halfway in size; from nothing, halfway.
        middle = (small * large) ** 0.5 if small > 0 else large / 2
        if fails(middle):
            high = middle
        else:
            low = middle
