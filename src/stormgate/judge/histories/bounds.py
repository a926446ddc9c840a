"""What a sum may be when some of what was added to it is certain and some is not.

Source: Jepsen's counter checker: at least what had ended before the read began, at most all that
had begun before it ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operations import FAIL, OK

Array = NDArray[Any]


def sum_bounds(
    amounts: Array,
    outcome: Array,
    spans: tuple[Array, Array],
    asked: tuple[Array, Array],
) -> tuple[Array, Array]:
    """(least, most) of the sum at each asked (begin, end), of `amounts` that took effect somewhere
    in their `spans` (invoked, completed): certainly those that are ok, perhaps the others, never
    those that failed. What lessens the sum counts the other way round.
    """
    invoked, completed = spans
    certain, possible = outcome == OK, outcome != FAIL
    up, down = amounts > 0, amounts < 0

    def before(mask: Array, at: Array, until: Array) -> Array:
        order = np.argsort(at[mask], kind="stable")
        sums = np.concatenate([[0], np.cumsum(amounts[mask][order])])
        found: Array = sums[np.searchsorted(at[mask][order], until, side="right")]
        return found

    begin, end = asked
    least = before(certain & up, completed, begin) + before(possible & down, invoked, end)
    most = before(possible & up, invoked, end) + before(certain & down, completed, begin)
    return least, most
