"""What was seen after a healing of what had been acknowledged before it: by users, in the region
that answered them, and in each store that was read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operations import NOTHING, History
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.segments import among, compact, distinct, pairs
from stormgate.judge.histories.writes import last_snapshots, stores_of

Array = NDArray[Any]
_NEVER = np.iinfo(np.int64).max
# (key, place, whether something was still missing, invoked, completed) of each reading.
Views = tuple[Array, Array, Array, Array, Array]


def views_after(data: Data, keys: Array, heal_ns: int) -> Views:
    """All readings that began after a healing, of keys of which something had been acknowledged
    by then. What no store has in the end is not waited for: lost writes are found elsewhere.
    """
    found = zip(_of_registers(data, keys, heal_ns), _of_lists(data, keys, heal_ns), strict=True)
    key, place, behind, invoked, completed = (np.concatenate(column) for column in found)
    return key, place, behind, invoked, completed


def place_name(data: Data, place: int) -> str:
    """The store, or the region, that a place of `views_after` is."""
    stores = data.users.names["store"].names
    if place < len(stores):
        return stores[place]
    return data.users.names["region"].names[place - len(stores)]


def _places(data: Data) -> Array:
    """The place of each region's code. A region's own edge, read back by its name, is the same
    place as the region that answered users.
    """
    stores = data.users.names["store"].names
    by_name = {name: code for code, name in enumerate(stores) if code}
    regions = data.users.names["region"].names
    found = [by_name.get(name, len(stores) + code) for code, name in enumerate(regions)]
    return np.array(found, np.int64)


def _readings(data: Data, keys: Array, kind: str) -> tuple[History, History]:
    users, final = data.users, data.final
    return (
        users.take(users.of(kind) & users.ok & keys[users.key] & (users.region > 0)),
        final.take(final.of(kind) & final.ok & keys[final.key]),
    )


def _acked(data: Data, keys: Array, kind: str, heal_ns: int) -> History:
    users = data.users
    return users.take(users.of(kind) & users.ok & keys[users.key] & (users.completed_ns <= heal_ns))


def _of_registers(data: Data, keys: Array, heal_ns: int) -> Views:
    """A reading is behind whose version is below the last that had been acknowledged."""
    acked = _acked(data, keys, "write", heal_ns)
    wanted = np.full(len(keys), NOTHING)
    np.maximum.at(wanted, acked.key, acked.version)
    held = data.settled.take(data.settled.of("read"))
    kept = np.full(len(keys), _NEVER)
    np.minimum.at(kept, held.key, held.version)
    wanted = np.minimum(wanted, kept)
    mine, back = _readings(data, keys, "read")
    key = np.concatenate([mine.key, back.key])
    place = np.concatenate([_places(data)[mine.region], back.store])
    version = np.concatenate([mine.version, back.version])
    invoked = np.concatenate([mine.invoked_ns, back.invoked_ns])
    completed = np.concatenate([mine.completed_ns, back.completed_ns])
    later = (invoked >= heal_ns) & (wanted[key] != NOTHING)
    behind = version < wanted[key]
    return key[later], place[later], behind[later], invoked[later], completed[later]


def _of_lists(data: Data, keys: Array, heal_ns: int) -> Views:
    """A reading is behind that lacks an element which had been acknowledged."""
    acked = _acked(data, keys, "append", heal_ns)
    mine, back = _readings(data, keys, "list")
    mine = mine.take(mine.invoked_ns >= heal_ns)
    back = back.take(back.invoked_ns >= heal_ns)
    settled = data.settled.take(data.settled.of("list") & keys[data.settled.key])
    sizes = [len(acked), len(mine), len(back), len(settled)]
    ends = np.cumsum(sizes)[:-1].tolist()
    columns = (acked, mine, back, settled)
    elements = compact(np.concatenate([one.version for one in columns]))
    codes = pairs(np.concatenate([one.key for one in columns]), elements)
    of_acked, of_mine, of_back, of_settled = np.split(codes, ends)
    kept = np.ones(len(acked), bool)
    row_of = {store: settled.store == code for store, code in _store_codes(settled).items()}
    for store, reads in stores_of(settled):
        last = of_settled[row_of[store]][last_snapshots(reads)]
        was_read = np.zeros(len(keys), bool)
        was_read[reads.key] = True
        kept &= ~was_read[acked.key] | among(of_acked, last)
    of_acked = distinct(of_acked[kept])
    wanted = np.bincount((of_acked >> 32).astype(np.int64), minlength=len(keys))
    # A reading is all rows of one snapshot; of users by worker, of the final reads by store.
    key = np.concatenate([mine.key, back.key]).astype(np.int64)
    place = np.concatenate([_places(data)[mine.region], back.store]).astype(np.int64)
    snapshot = np.concatenate([mine.snapshot, back.snapshot])
    source = np.concatenate([mine.worker.astype(np.int64) + 1, np.zeros(len(back), np.int64)])
    group = pairs(compact(pairs(source, compact(snapshot))), compact(pairs(key, place)))
    _, first, reading = np.unique(group, return_index=True, return_inverse=True)
    has = among(np.concatenate([of_mine, of_back]), of_acked)
    # Twice the same element is one.
    once = distinct(pairs(reading[has], compact(np.concatenate([of_mine, of_back])[has])))
    found = np.bincount((once >> 32).astype(np.int64), minlength=len(first))
    invoked = np.concatenate([mine.invoked_ns, back.invoked_ns])[first]
    completed = np.concatenate([mine.completed_ns, back.completed_ns])[first]
    key, place = key[first], place[first]
    some = wanted[key] > 0
    behind = found < wanted[key]
    return key[some], place[some], behind[some], invoked[some], completed[some]


def _store_codes(history: History) -> dict[str, int]:
    names = history.names["store"].names
    return {names[code]: code for code in distinct(history.store).tolist()}
