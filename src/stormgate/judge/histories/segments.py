"""Arithmetic on columns that fall into segments (a key, a session and key), without a loop over
rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LOWEST = np.iinfo(np.int64).min


def pairs(first: Array, second: Array) -> Array:
    """One code for each pair of codes: equal where both are."""
    wide = np.int64(1) << 32
    joined: Array = first.astype(np.int64) * wide + second.astype(np.int64)
    return joined


def ranks(values: Array) -> Array:
    """Each value's place among the distinct ones, from 0."""
    if not len(values):
        return np.zeros(0, np.int64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    step = np.concatenate([[0], (ordered[1:] != ordered[:-1]).astype(np.int64)])
    placed = np.empty(len(values), np.int64)
    placed[order] = np.cumsum(step)
    return placed


def running_max(segment: Array, values: Array) -> Array:
    """For rows sorted by segment: the largest value of the segment so far, with the row's own."""
    if not len(values):
        return values
    place = ranks(values)
    step = np.concatenate([[0], (segment[1:] != segment[:-1]).astype(np.int64)])
    offset = np.cumsum(step) * (int(place.max()) + 1)
    # A later segment lies wholly above those before it, so one running maximum serves all.
    highest = np.maximum.accumulate(place + offset) - offset
    distinct = np.unique(values)
    found: Array = distinct[highest]
    return found


def latest_before(
    sources: tuple[Array, Array, Array], asked: tuple[Array, Array]
) -> tuple[Array, Array]:
    """For each asked (segment, time): the largest value among the sources (segment, time, value) of
    that segment whose time is not later, and the row of one source that has it (-1: none).
    """
    segment, time, value = sources
    if not len(segment) or not len(asked[0]):
        return np.full(len(asked[0]), _LOWEST), np.full(len(asked[0]), -1)
    both = ranks(np.concatenate([time, asked[1]]))
    span = int(both.max()) + 1
    codes = ranks(np.concatenate([segment, asked[0]]))
    at = codes[: len(segment)] * span + both[: len(segment)]
    wanted = codes[len(segment) :] * span + both[len(segment) :]
    order = np.lexsort((value, at))
    ordered, sorted_codes = at[order], codes[: len(segment)][order]
    # The row of the largest so far: value and row as one number.
    place = ranks(value[order])
    best = running_max(sorted_codes, place * len(order) + np.arange(len(order)))
    where = np.searchsorted(ordered, wanted, side="right") - 1
    known = (where >= 0) & (sorted_codes[where] == codes[len(segment) :])
    row = np.where(known, order[best[where] % len(order)], -1)
    return np.where(known, value[row], _LOWEST), row


def earliest_above(
    sources: tuple[Array, Array, Array], asked: tuple[Array, Array]
) -> tuple[Array, Array]:
    """For each asked (segment, value): the earliest time among the sources (segment, value, time)
    of that segment whose value is larger, and the row of the source (-1: none).
    """
    segment, value, time = sources
    # The same question with value and time turned about: the largest -time among those whose
    # -value is strictly lower, that is not later than the value before it.
    if not len(segment) or not len(asked[0]):
        return np.full(len(asked[0]), np.iinfo(np.int64).max), np.full(len(asked[0]), -1)
    places = ranks(np.concatenate([value, asked[1]]))
    mine, theirs = places[: len(value)], places[len(value) :]
    best, row = latest_before((segment, -mine, -time), (asked[0], -theirs - 1))
    found: Array = np.where(row >= 0, -best, np.iinfo(np.int64).max)
    return found, row
