"""Arithmetic on columns that fall into segments (a key, a session and key), without a loop over
rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LOWEST = np.iinfo(np.int64).min
# Products of codes stay below this: they are compared as 64 bits.
_FAR = 1 << 62


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


def distinct(values: Array) -> Array:
    """The distinct values, sorted. np.unique hashes, which takes ten times as long for these."""
    if not len(values):
        return values
    ordered = np.sort(values)
    found: Array = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    return found


def among(values: Array, wanted: Array) -> Array:
    """Which values are among the wanted."""
    if not len(values) or not len(wanted):
        return np.zeros(len(values), bool)
    ordered = np.sort(wanted)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: Array = ordered[at] == values
    return found


def compact(values: Array, limit: int = 1 << 31) -> Array:
    """The values as numbers from 0 up in the same order, below `limit`: their distance from the
    least, or their ranks where that is too far.
    """
    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    return values.astype(np.int64) - low if high - low < limit else ranks(values)


def latest_before(
    sources: tuple[Array, Array, Array], asked: tuple[Array, Array]
) -> tuple[Array, Array]:
    """For each asked (segment, time): the largest value among the sources (segment, time, value) of
    that segment whose time is not later, and the row of one source that has it (-1: none).
    """
    segment, time, value = sources
    count = len(segment)
    if not count or not len(asked[0]):
        return np.full(len(asked[0]), _LOWEST), np.full(len(asked[0]), -1)
    codes = compact(np.concatenate([segment, asked[0]]), _FAR >> 31)
    room = _FAR // (int(codes.max()) + 1)
    times = compact(np.concatenate([time, asked[1]]), room)
    at = codes * (int(times.max()) + 1) + times
    order = np.argsort(at[:count])
    mine = codes[:count][order]
    worth = compact(value, room)[order]
    # A later segment lies wholly above those before it, so one running maximum serves all.
    height = mine * (int(worth.max()) + 1) + worth
    best = np.maximum.accumulate(height)
    record = np.maximum.accumulate(np.where(height == best, np.arange(count), 0))
    where = np.searchsorted(at[:count][order], at[count:], side="right") - 1
    known = (where >= 0) & (mine[where] == codes[count:])
    row = np.where(known, order[record[where]], -1)
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
    places = compact(np.concatenate([value, asked[1]]))
    mine, theirs = places[: len(value)], places[len(value) :]
    best, row = latest_before((segment, -mine, -time), (asked[0], -theirs - 1))
    found: Array = np.where(row >= 0, -best, np.iinfo(np.int64).max)
    return found, row
