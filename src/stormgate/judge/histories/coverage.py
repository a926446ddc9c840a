"""Whether enough was read back for a lack of loss to mean anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operations import KINDS, NOTHING, Names
from stormgate.evidence.timeline import SECOND_NS, FaultWindow
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.segments import among, distinct, pairs
from stormgate.model import Store

Array = NDArray[np.int64]
_READERS = {"write": "read", "append": "list", "transfer": "balance", "add": "count"}
# Writes at risk are those from so long before a fault was requested on.
BEFORE_NS = SECOND_NS


@dataclass
class Coverage:
    """`attempted` keys were written, `read` of them are read back in every store that they were
    planned for. `sampled`: stores of which only some keys were planned, as (planned, should hold).
    """

    attempted: int = 0
    read: int = 0
    sampled: dict[str, tuple[int, int]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @property
    def is_sample(self) -> bool:
        return self.read < self.attempted


def coverage_of(
    data: Data, kind: str, keys: Array, stores: Sequence[str], listed: Sequence[Store] = ()
) -> Coverage:
    """Held against what was planned: every key written by operations of `kind` (a mask `keys` over
    their codes) is read back in each store it was planned for, and in `stores` at least; and it was
    planned for the stores that the target lists, `listed`, unless for a sample.
    """
    reader = KINDS.index(_READERS[kind])
    names = data.users.names
    planned_key, planned_store, planned_kind = data.planned
    mine = (planned_kind == reader) & keys[planned_key]
    planned_key, planned_store = planned_key[mine], planned_store[mine]
    attempted = distinct(data.users.key[data.users.of(kind) & keys[data.users.key]])
    planned = among(attempted, planned_key)
    settled = data.settled
    settled = settled.take((settled.kind == reader) & keys[settled.key])
    found = Coverage(attempted=len(attempted))
    if not len(attempted):
        return found
    if not len(data.final):
        found.doubts.append("nothing was read back (operations/final.arrow has no row)")
        return found
    if not len(planned_key):
        found.doubts.append("nobody says what was to be read back (operations/planned.arrow)")
        return found
    there = {names["store"].names[code] for code in distinct(planned_store).tolist()}
    for store in sorted(set(stores) - there):
        found.doubts.append(f"store {store} was not to be read back")
    asked = pairs(planned_key, planned_store)
    missing = ~among(asked, pairs(settled.key, settled.store)) & among(planned_key, attempted)
    if missing.any():
        at = int(np.argmax(missing))
        key, place = int(planned_key[at]), int(planned_store[at])
        found.doubts.append(
            f"{int(missing.sum()):,} of {len(asked):,} final reads are missing, such as "
            f"{names.keys.names[key]} in {names['store'].names[place]}"
            + _why_not(data, key, place, reader)
        )
    for one in listed:
        if one.query or one.key or one.url or one.read:
            code = names["store"].names.index(one.name) if one.name in there else -1
            _held_to_its_list(found, names, attempted, planned_key[planned_store == code], one)
    unread = distinct(planned_key[missing])
    found.read = int(np.count_nonzero(planned & ~among(attempted, unread)))
    return found


def _held_to_its_list(
    found: Coverage, names: Names, attempted: Array, planned: Array, store: Store
) -> None:
    """Whether a store was to be read for what it should hold, all of it or a sample."""
    keys = names.keys.names
    mine = [
        key
        for key in attempted.tolist()
        if not store.holds or keys[key].startswith(tuple(store.holds))
    ]
    count = int(np.count_nonzero(among(np.array(mine, np.int64), planned)))
    if mine and not count:
        found.doubts.append(
            f"store {store.name} should hold {keys[mine[0]]} and was not to be read back"
        )
    elif count < len(mine):
        found.sampled[store.name] = count, len(mine)


def _why_not(data: Data, key: int, store: int, reader: int) -> str:
    final = data.final
    rows = np.flatnonzero((final.key == key) & (final.store == store) & (final.kind == reader))
    if not len(rows):
        return ": nobody tried"
    row = int(rows[-1])
    told = final.names.shown("error", int(final.error[row]))
    if told is not None:
        return f": {told}"
    return ": read before the last write had ended" if final.ok[row] else ": it failed"


def near_faults(
    completed_ns: Array, faults: Sequence[FaultWindow], least: int, word: str
) -> tuple[list[str], dict[str, int]]:
    """(doubts, count per fault): acknowledged operations from a second before each fault to the end
    of its recovery; without faults those of the whole run.
    """
    doubts: list[str] = []
    counts: dict[str, int] = {}
    if not faults and len(completed_ns) < least:
        doubts.append(f"{len(completed_ns):,} acknowledged {word}, {least:,} wanted")
    for fault in faults:
        if fault.requested_ns is None or fault.end_ns is None:
            doubts.append(f"{fault.name}: not in the evidence whole")
            continue
        inside = (completed_ns >= fault.requested_ns - BEFORE_NS) & (completed_ns <= fault.end_ns)
        counts[fault.name] = int(np.count_nonzero(inside))
        if counts[fault.name] < least:
            doubts.append(
                f"{fault.name}: {counts[fault.name]:,} acknowledged {word} from a second before "
                f"the fault to the end of its recovery, {least:,} wanted"
            )
    return doubts, counts


def rows_without_version(version: Array) -> int:
    """How many acknowledged writes have no version: nobody can look for them."""
    return int(np.count_nonzero(version == NOTHING))
