"""convergence: so long after a fault was healed every store has all that had been acknowledged by
then, and in the end all hold the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.operations import NOTHING, History
from stormgate.evidence.timeline import FaultWindow, standing_together
from stormgate.judge.histories.catching_up import place_name, views_after
from stormgate.judge.histories.coverage import coverage_of
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import Facts, OnHistory, OnKeys
from stormgate.judge.histories.segments import distinct, pairs, ranks
from stormgate.judge.histories.told import wrong_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.spec import Names, Positive
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Plan, Verdict

Array = NDArray[Any]
_NEVER = np.iinfo(np.int64).max


class ConvergenceSpec(OnKeys):
    """Every store has caught up `within_s` of each healing. `stores`: which must be among them."""

    within_s: Positive
    stores: Names = ()


@dataclass(frozen=True, slots=True)
class Caught:
    """When the stores had caught up after a fault: not before `least_s` after it was healed, and by
    `most_s` (None: nobody saw them to). `behind` and `late` are the (key, place) that say so.
    """

    fault: str
    least_s: float
    most_s: float | None
    behind: tuple[str, str] | None
    late: tuple[str, str] | None


def _look(task: JudgeTask, data: Data) -> Facts:
    spec: ConvergenceSpec = task.spec
    keys = data.keys(spec.keys)
    facts = Facts(unit="s", limit=spec.within_s)
    for kind in ("write", "append"):
        facts.doubts += coverage_of(data, kind, keys, spec.stores).doubts
    settled = data.settled
    settled = settled.take(keys[settled.key] & settled.of("read", "list"))
    facts.samples = len(settled)
    if not len(settled):
        facts.doubts.append("nothing was read back in the end")
    faults = task.context.faults
    if not faults:
        facts.doubts.append("nothing was broken: there is nothing to converge from")
    after = (_after(data, fault, _healed(fault, faults), keys, facts) for fault in faults)
    caught = [one for one in after if one is not None]
    cells = [_cell(one, spec) for one in caught]
    apart = _apart(settled)
    heal = max((f.cleared_ns or f.rollback_ns or 0 for f in faults), default=0)
    final = [cell for cell, at in apart if at >= heal + spec.within_s * 1e9]
    if len(final) < len(apart):
        facts.doubts.append(f"{apart[0][0].name}: {apart[0][0].why}, read less than within after")
    failed = [cell for cell in cells if cell.verdict is Verdict.FAIL]
    facts.wrong = [*failed, *final[: CELLS_SHOWN - len(failed)]]
    facts.count = len(failed) + len(final)
    facts.cells = [cell for cell in cells if cell.verdict is not Verdict.FAIL]
    facts.doubts += [f"{c.name}: {c.why}" for c in cells if c.verdict is Verdict.INCONCLUSIVE]
    facts.value = max((one.least_s for one in caught), default=None)
    most = [one.most_s for one in caught]
    facts.bound = None if not most or None in most else max(m for m in most if m is not None)
    facts.detail = {"apart": len(apart), "stores": len(distinct(settled.store))}
    if final:
        facts.told = f"{len(final):,} keys differ between stores in the end: {final[0].name}"
    elif failed:
        facts.told = f"{failed[0].name}: {failed[0].why}"
    else:
        facts.told = f"every store had caught up within {facts.bound or 0.0:.3f} s of each healing"
    return facts


def _healed(fault: FaultWindow, faults: Sequence[FaultWindow]) -> int | None:
    """When it was healed, and all that stood with it: until then nobody has to converge."""
    healed = [one.cleared_ns or one.rollback_ns for one in standing_together(fault, faults)]
    return None if None in healed else max(at for at in healed if at is not None)


def _after(
    data: Data, fault: FaultWindow, heal: int | None, keys: Array, facts: Facts
) -> Caught | None:
    """When every place had what was acknowledged before the healing; or of lost writes, as much of
    it as all have in the end.
    """
    if heal is None:
        facts.doubts.append(f"{fault.name}: nobody says when it was healed")
        return None
    key, place, behind, invoked, completed = views_after(data, keys, heal)
    _, spot = np.unique(pairs(key, place), return_inverse=True)
    count = int(spot.max()) + 1 if len(spot) else 0
    last_bad = np.full(count, -1, np.int64)
    np.maximum.at(last_bad, spot[behind], invoked[behind])
    good = ~behind & (invoked > last_bad[spot])
    first_good = np.full(count, _NEVER)
    np.minimum.at(first_good, spot[good], completed[good])
    if not count:
        facts.doubts.append(f"{fault.name}: nothing was read after it was healed")
        return None
    row_of = np.zeros(count, np.int64)
    row_of[spot] = np.arange(len(spot))

    def named(at: int) -> tuple[str, str]:
        row = int(row_of[at])
        return data.users.names.keys.names[int(key[row])], place_name(data, int(place[row]))

    worst, latest = int(np.argmax(last_bad)), int(np.argmax(first_good))
    most = int(first_good[latest])
    return Caught(
        fault.name,
        max(0.0, (int(last_bad[worst]) - heal) / 1e9) if last_bad[worst] >= 0 else 0.0,
        None if most == _NEVER else (most - heal) / 1e9,
        named(worst) if last_bad[worst] >= 0 else None,
        named(latest),
    )


def _cell(one: Caught, spec: ConvergenceSpec) -> Cell:
    behind = f"{one.behind[0]} was still behind in {one.behind[1]}" if one.behind else ""
    late = f"{one.late[0]} in {one.late[1]}" if one.late else ""
    verdict, why = Verdict.PASS, f"caught up within {one.most_s or 0.0:.3f} s"
    if one.least_s > spec.within_s:
        verdict = Verdict.FAIL
        why = f"{behind} {one.least_s:.3f} s after it was healed, {spec.within_s:g} s are allowed"
    elif one.most_s is None:
        verdict, why = Verdict.INCONCLUSIVE, f"nobody saw {late} catch up"
    elif one.most_s > spec.within_s:
        verdict = Verdict.INCONCLUSIVE
        why = (
            f"{late} was first seen to have caught up {one.most_s:.3f} s after it was healed, "
            f"{spec.within_s:g} s are allowed: nobody read it earlier"
        )
    return Cell(
        name=one.fault, verdict=verdict, value=one.least_s, bound=one.most_s, samples=1, why=why
    )


def _apart(settled: History) -> list[tuple[Cell, int]]:
    """Keys that stores hold differently in the end, each with when the earlier of both was read."""
    order = np.lexsort((settled.completed_ns, settled.store, settled.key))
    reads = settled.take(order)
    lists = reads.of("list")
    found = []
    for held in (*_registers(reads.take(~lists)), *_digests(reads.take(lists))):
        order = np.lexsort((held[2], held[0]))
        key, store, content, at = (column[order] for column in held)
        odd = (key[1:] == key[:-1]) & (content[1:] != content[:-1])
        for row in np.flatnonzero(odd).tolist():
            name = reads.names.keys.names[int(key[row])]
            stores = [reads.names["store"].names[int(store[n])] for n in (row, row + 1)]
            cell = wrong_cell(
                name, f"{stores[0]} and {stores[1]} hold it differently", key=name, stores=stores
            )
            found.append((cell, int(min(at[row], at[row + 1]))))
    return found


def _registers(reads: History) -> Iterator[tuple[Array, Array, Array, Array]]:
    """(key, store, content, when) of the last read of each key in each store: once with versions,
    once with values as far as they are known.
    """
    where = pairs(reads.key, reads.store)
    last = np.ones(len(reads), bool)
    last[:-1] = where[1:] != where[:-1]
    reads = reads.take(last)
    yield reads.key, reads.store, reads.version, reads.invoked_ns
    known = reads.take(reads.value != NOTHING)
    # Of one version: another one is told already.
    code = pairs(known.key, ranks(known.version))
    yield from _of_same(known, code)


def _of_same(known: History, code: Array) -> Iterator[tuple[Array, Array, Array, Array]]:
    order = np.lexsort((known.value, code))
    known, code = known.take(order), code[order]
    odd = (code[1:] == code[:-1]) & (known.value[1:] != known.value[:-1])
    for row in np.flatnonzero(odd).tolist():
        both = known.take(np.array([row, row + 1]))
        yield both.key, both.store, both.value, both.invoked_ns


def _digests(reads: History) -> Iterator[tuple[Array, Array, Array, Array]]:
    """The same of lists: once with a sum over their elements, once with how many they are."""
    where = pairs(reads.key, reads.store)
    places, spot = np.unique(where, return_inverse=True)
    newest = np.full(len(places), NOTHING)
    np.maximum.at(newest, spot, reads.snapshot)
    mine = reads.snapshot == newest[spot]
    reads, spot = reads.take(mine), spot[mine]
    has = reads.version != NOTHING
    mixed = reads.version.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    total, count = np.zeros(len(places), np.uint64), np.zeros(len(places), np.int64)
    np.add.at(total, spot[has], mixed[has])
    np.add.at(count, spot[has], 1)
    row = np.zeros(len(places), np.int64)
    row[spot] = np.arange(len(spot))
    for content in (total.astype(np.int64), count):
        yield reads.key[row], reads.store[row], content, reads.invoked_ns[row]


def _canaries(spec: ConvergenceSpec) -> Sequence[Canary]:
    key = spec.keys.replace("*", "canary").replace("?", "c")
    stores = spec.stores if len(spec.stores) > 1 else (*spec.stores, "one", "other")
    rows = [{"kind": "write", "key": key, "version": 2, "invoked": 0.1, "completed": 0.11}]
    back = [
        {
            "kind": "read",
            "key": key,
            "version": 2 if number else 1,
            "store": store,
            "invoked": 0.999,
            "completed": 0.9995,
        }
        for number, store in enumerate(stores)
    ]
    return (Canary(outcome="ok", operations=rows, final=back),)


def _need(spec: ConvergenceSpec, plan: Plan) -> Need:
    return Need(
        0, None, f"every key read in every store within {spec.within_s:g} s of each healing"
    )


KIND = Kind(
    "convergence",
    ConvergenceSpec,
    lambda task: OnHistory(task, _look),
    _canaries,
    _need,
    timing=False,
    users="",
    data=True,
)
