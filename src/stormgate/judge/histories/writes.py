"""What became of writes: which acknowledged ones are missing from what was read back, what is there
that nobody wrote, and what was acknowledged twice.

Sources: Jepsen's set and set-full checkers for lost, unexpected, recovered and duplicates; unlike
theirs, an element found twice is counted wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operations import NOTHING, History
from stormgate.judge.histories.segments import among, compact, distinct, latest_before, pairs

Array = NDArray[Any]


@dataclass
class FateOfWrites:
    """`lost` maps each store to the rows of `acked` that are missing there; `unexpected`,
    `recovered` and `doubled` to (key code, version) found there.
    """

    acked: History
    lost: dict[str, Array] = field(default_factory=dict)
    unexpected: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    recovered: set[tuple[int, int]] = field(default_factory=set)
    doubled: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    unclear: list[tuple[int, int]] = field(default_factory=list)


def stores_of(final: History) -> Iterator[tuple[str, History]]:
    """Each store with the final reads of it, by name."""
    names = final.names["store"].names
    for code in sorted(distinct(final.store).tolist(), key=lambda code: names[code]):
        yield names[code], final.take(final.store == code)


def fate_of_registers(writes: History, settled: History) -> FateOfWrites:
    """What became of `writes` of versioned keys, by the last read of each key in each store."""
    acked = writes.take(writes.ok)
    fate = FateOfWrites(acked)
    keys = len(writes.names.keys.names)
    lowest = np.full(keys, np.iinfo(np.int64).max)
    known = writes.version != NOTHING
    np.minimum.at(lowest, writes.key[known], writes.version[known])
    for store, reads in stores_of(settled.take(settled.of("read"))):
        order = np.argsort(reads.completed_ns, kind="stable")
        held, value = np.full(keys, NOTHING), np.full(keys, NOTHING)
        was_read = np.zeros(keys, bool)
        last = reads.take(order)  # of reads of one key the last is assigned last
        held[last.key], value[last.key], was_read[last.key] = last.version, last.value, True
        mine = was_read[acked.key]
        behind = acked.version > held[acked.key]
        other = (
            (acked.version == held[acked.key])
            & (acked.value != NOTHING)
            & (value[acked.key] != NOTHING)
            & (acked.value != value[acked.key])
        )
        fate.lost[store] = np.flatnonzero(mine & (behind | other) & (acked.version != NOTHING))
        written = np.zeros(keys, bool)
        written[writes.key] = True
        there = np.flatnonzero(was_read & written & (held != NOTHING))
        attempted = _matches(writes, there, held[there], value[there])
        confirmed = _matches(acked, there, held[there], value[there])
        before = held[there] < lowest[there]  # as it stood before the run
        odd = there[~attempted & ~before]
        fate.unexpected[store] = [(int(key), int(held[key])) for key in odd]
        back = there[attempted & ~confirmed]
        fate.recovered |= {(int(key), int(held[key])) for key in back}
    return fate


def _matches(writes: History, key: Array, version: Array, value: Array) -> Array:
    """Which of the (key, version, value) some of `writes` may have written: an unknown version or
    value fits any.
    """
    if not len(key) or not len(writes):
        return np.zeros(len(key), bool)
    count = len(writes)
    both = compact(
        np.concatenate(
            [
                pairs(writes.key, codes_of(writes.version, version)[0]),
                pairs(key, codes_of(writes.version, version)[1]),
            ]
        )
    )
    mine, asked = both[:count], both[count:]
    worth, wanted = codes_of(writes.value, value)
    blank = writes.value == NOTHING
    unversioned = writes.version == NOTHING
    same = among(pairs(asked, wanted), pairs(mine, worth)) | among(asked, mine[blank])
    same |= among(asked, mine) & (value == NOTHING)
    any_version = among(key, writes.key[unversioned & blank])
    any_version |= among(pairs(key, wanted), pairs(writes.key[unversioned], worth[unversioned])) | (
        among(key, writes.key[unversioned]) & (value == NOTHING)
    )
    found: Array = same | any_version
    return found


def codes_of(first: Array, second: Array) -> tuple[Array, Array]:
    """Two columns as small numbers in the order of the values of both."""
    both = compact(np.concatenate([first, second]))
    return both[: len(first)], both[len(first) :]


def fate_of_lists(appends: History, settled: History) -> FateOfWrites:
    """What became of `appends` to lists, by the last reading of each list in each store."""
    acked = appends.take(appends.ok)
    fate = FateOfWrites(acked)
    asked_twice = _appended_again(appends)
    for store, reads in stores_of(settled.take(settled.of("list"))):
        last = reads.take(last_snapshots(reads))
        was_read = np.zeros(len(appends.names.keys.names), bool)
        was_read[last.key] = True
        last = last.take(last.version != NOTHING)
        place, held = codes_of(np.concatenate([appends.version, acked.version]), last.version)
        found = pairs(last.key, held)
        attempted = pairs(appends.key, place[: len(appends)])
        confirmed = pairs(acked.key, place[len(appends) :])
        missing = was_read[acked.key] & ~among(confirmed, found)
        fate.lost[store] = np.flatnonzero(missing)
        mine = among(last.key, appends.key)
        _, at, times = np.unique(found, return_index=True, return_counts=True)
        odd = mine & ~among(found, attempted)
        odd_at = [row for row in at.tolist() if odd[row]]
        fate.unexpected[store] = [(int(last.key[r]), int(last.version[r])) for r in odd_at]
        twice = at[(times > 1) & mine[at]]
        doubled = [(int(last.key[r]), int(last.version[r])) for r in twice.tolist()]
        fate.doubled[store] = [one for one in doubled if one not in asked_twice]
        fate.unclear += [one for one in doubled if one in asked_twice]
        back = at[mine[at] & among(found[at], attempted) & ~among(found[at], confirmed)]
        fate.recovered |= {(int(last.key[r]), int(last.version[r])) for r in back.tolist()}
    return fate


def _appended_again(appends: History) -> set[tuple[int, int]]:
    """The (key, element) that were appended more than once."""
    element = pairs(appends.key, compact(appends.version))
    _, at, times = np.unique(element, return_index=True, return_counts=True)
    again = at[times > 1].tolist()
    return {(int(appends.key[r]), int(appends.version[r])) for r in again}


def last_snapshots(reads: History) -> Array:
    """A mask of the rows, of each key, of its last reading."""
    if not len(reads):
        return np.zeros(0, bool)
    latest = np.full(int(reads.key.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(latest, reads.key, reads.completed_ns)
    newest = np.full(len(latest), NOTHING)
    of_last = reads.completed_ns == latest[reads.key]
    np.maximum.at(newest, reads.key[of_last], reads.snapshot[of_last])
    mask: Array = of_last & (reads.snapshot == newest[reads.key])
    return mask


@dataclass(frozen=True, slots=True)
class Fork:
    """A version of a key that was acknowledged for two writes: rows of the acknowledged ones."""

    first: int
    second: int


def forks_of(acked: History) -> tuple[list[Fork], list[Fork]]:
    """(forks, what may be one): versions of a key acknowledged twice. Two writes are told apart by
    their values, and where neither has one by their sessions; the same session may have said the
    same write twice.
    """
    rows = np.flatnonzero(acked.version != NOTHING)
    code = pairs(acked.key[rows], compact(acked.version[rows]))
    ordered = np.sort(code)
    rows = rows[among(code, ordered[1:][ordered[1:] == ordered[:-1]])]
    if not len(rows):
        return [], []
    key, version = acked.key[rows], acked.version[rows]
    value, session = acked.value[rows], acked.session[rows]
    order = np.lexsort((acked.completed_ns[rows], session, value, version, key))
    key, version, value, session = (c[order] for c in (key, version, value, session))
    same = (key[1:] == key[:-1]) & (version[1:] == version[:-1])
    before, after = value[:-1], value[1:]
    known = (before != NOTHING) & (after != NOTHING)
    blank = (before == NOTHING) & (after == NOTHING)
    certain = same & ((known & (before != after)) | (blank & (session[1:] != session[:-1])))
    unclear = same & ~certain & ~(known & (before == after))
    made = [
        [Fork(int(rows[order[at]]), int(rows[order[at + 1]])) for at in np.flatnonzero(mask)]
        for mask in (certain, unclear)
    ]
    return made[0], made[1]


def out_of_order(acked: History) -> Array:
    """Rows of acknowledged writes whose version is below one of their key that had been
    acknowledged before they were begun.
    """
    known = np.flatnonzero(acked.version != NOTHING)
    some = acked.take(known)
    before, _ = latest_before(
        (some.key, some.completed_ns, some.version), (some.key, some.invoked_ns)
    )
    found: Array = known[before > some.version]
    return found
