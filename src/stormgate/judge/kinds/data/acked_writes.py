"""ackedWrites: no acknowledged write is lost, nothing is there that nobody wrote, nothing stands
there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stormgate.evidence.operations import NOTHING, History
from stormgate.evidence.timeline import FaultWindow
from stormgate.judge.histories.coverage import Coverage, coverage_of, near_faults
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import Facts, OnHistory, OnKeys, counted, share_at_most
from stormgate.judge.histories.writes import (
    FateOfWrites,
    fate_of_lists,
    fate_of_registers,
    forks_of,
    out_of_order,
)
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.spec import Names
from stormgate.judge.statistics.bounds import requests_needed
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Plan, Verdict

Array = NDArray[Any]


class AckedWritesSpec(OnKeys):
    """At most so many `lost`, `unexpected` and `duplicates`: none by default. `stores`: which must
    be among those read back. `min_writes_near_fault`: acknowledged writes wanted around each fault.
    `sampled_lte`: where not every key is read back, the share of keys with a loss that must be
    ruled out; 0: every key is read.
    """

    lost: int = Field(default=0, ge=0)
    unexpected: int = Field(default=0, ge=0)
    duplicates: int = Field(default=0, ge=0)
    min_writes_near_fault: int = Field(default=1000, ge=1)
    stores: Names = ()
    sampled_lte: float = Field(default=0.0, ge=0, lt=1)


def _look(task: JudgeTask, data: Data) -> Facts:
    spec: AckedWritesSpec = task.spec
    keys = data.keys(spec.keys)
    users = data.users
    writes = users.take(users.of("write", "append") & keys[users.key])
    registers, lists = writes.take(writes.of("write")), writes.take(writes.of("append"))
    settled = data.settled
    settled = settled.take(keys[settled.key])
    fates = [fate_of_registers(registers, settled), fate_of_lists(lists, settled)]
    facts = Facts(unit="writes", limit=float(spec.lost), samples=int(np.count_nonzero(writes.ok)))
    if not len(writes):
        facts.doubts.append(f"nobody wrote a key like {spec.keys!r}")
        return facts
    listed = task.context.plan.target.stores
    coverage = [coverage_of(data, kind, keys, spec.stores, listed) for kind in ("write", "append")]
    facts.doubts += [doubt for one in coverage for doubt in one.doubts]
    _sampled(task, coverage, facts)
    near, counts = near_faults(
        writes.completed_ns[writes.ok],
        task.context.faults,
        spec.min_writes_near_fault,
        "writes",
    )
    facts.doubts += near
    lost = _lost(data, fates, task.context.faults, facts)
    doubtful = data.unnoted > 0 or bool(data.problems)
    unexpected = {(s, *one) for f in fates for s, found in f.unexpected.items() for one in found}
    doubled = {(s, *one) for f in fates for s, found in f.doubled.items() for one in found}
    facts.detail |= {
        "lost": lost,
        "unexpected": len(unexpected),
        "recovered": len(fates[0].recovered | fates[1].recovered),
        "duplicates": len(doubled),
        "near_fault": counts,
    }
    if len(unexpected) > spec.unexpected and doubtful:
        facts.doubts.append(
            f"{counted(len(unexpected), 'value')} that nobody noted having written, but "
            "operations went unnoted (flows that raised, or lost evidence)"
        )
        unexpected = set()
    for found, allowed, word in (
        (unexpected, spec.unexpected, "there, and nobody wrote it"),
        (doubled, spec.duplicates, "stands there more than once"),
    ):
        if len(found) > allowed:
            facts.wrong += _found(users, sorted(found)[:CELLS_SHOWN], word)
            facts.count += len(found)
    if lost > spec.lost:
        facts.count += lost
    else:
        facts.wrong = [cell for cell in facts.wrong if cell.value != 1.0]
    _unordered(data, fates, facts)
    facts.value = facts.bound = float(lost)
    _tell(facts, task.alpha)
    return facts


def _tell(facts: Facts, alpha: float) -> None:
    """What was found in a sentence, and what finding nothing says."""
    detail = facts.detail
    facts.told = (
        f"{detail['lost']:,} of {counted(facts.samples, 'acknowledged write')} lost, "
        f"{detail['unexpected']:,} unexpected, {detail['duplicates']:,} duplicates"
    )
    if not detail["lost"]:
        most = detail["share_at_most"] = share_at_most(facts.samples, alpha)
        facts.told += f"; at {1 - alpha:g} confidence at most {most:.2g} lost"
        if sampled := detail.get("sampled"):
            store, one = max(sampled.items(), key=lambda pair: pair[1]["keys_lost_at_most"])
            facts.told += (
                f"; of {store} a sample was read ({one['keys']:,} of {one['of']:,} keys): it has "
                f"losses in at most {one['keys_lost_at_most']:.2g} of them"
            )
    elif "rpo_s" in detail:
        facts.told += f"; {_rpo_told(detail['rpo_s'])}"


def _sampled(task: JudgeTask, coverage: Sequence[Coverage], facts: Facts) -> None:
    """Keys that nobody planned to read back are a sample's, where one is allowed."""
    attempted, read = sum(c.attempted for c in coverage), sum(c.read for c in coverage)
    facts.detail |= {"keys": attempted, "keys_read": read}
    for one in coverage:
        for store, (count, held) in sorted(one.sampled.items()):
            most = share_at_most(count, task.alpha)
            facts.detail.setdefault("sampled", {})[store] = {
                "keys": count,
                "of": held,
                "keys_lost_at_most": most,
            }
            if 0 < task.spec.sampled_lte < most:
                facts.doubts.append(
                    f"{count:,} of {held:,} keys were read back in {store}: a loss in {most:.2g} "
                    f"of them cannot be ruled out, sampledLte is {task.spec.sampled_lte:g}"
                )
    if read == attempted or any(c.doubts for c in coverage):
        return
    allowed, bound = task.spec.sampled_lte, share_at_most(read, task.alpha)
    facts.detail["keys_lost_at_most"] = bound
    if bound > allowed:
        rest = f": that rules out no less than {bound:.2g} of them, sampledLte is {allowed:g}"
        facts.doubts.append(
            f"{read:,} of {attempted:,} keys were read back{rest if allowed else ''}"
        )


def _lost(
    data: Data, fates: Sequence[FateOfWrites], faults: Sequence[FaultWindow], facts: Facts
) -> int:
    """Count and show what was acknowledged and is gone; note the observed RPO."""
    count = 0
    earliest: list[int] = []
    for fate in fates:
        missing: dict[int, list[str]] = {}
        for store, rows in sorted(fate.lost.items()):
            for row in rows.tolist():
                missing.setdefault(row, []).append(store)
        # An element that was appended twice is a duplicate, not a fork.
        for fork in forks_of(fate.acked)[0] if fate is fates[0] else ():
            # Two writes share a version: at most one of them can be what is there.
            if fork.first not in missing and fork.second not in missing:
                other = _written(data, fate.acked, fork.second)
                missing[fork.first] = [f"overwritten by another of its version, {other}"]
        order = sorted(missing, key=lambda row: (int(fate.acked.completed_ns[row]), row))
        for row in order[: CELLS_SHOWN - len(facts.wrong)]:
            facts.wrong.append(_cell(data, fate.acked, row, missing[row]))
        count += len(missing)
        earliest += [int(fate.acked.completed_ns[row]) for row in order[:1]]
    if earliest:
        facts.detail["rpo_s"] = _rpo(min(earliest), faults)
    return count


def _rpo(acked_ns: int, faults: Sequence[FaultWindow]) -> list[float]:
    """[least, most] seconds from the earliest lost acknowledgement to the injection that it comes
    before, or lies in: somewhere between its request and its acknowledgement.
    """
    for fault in faults:
        if fault.requested_ns is None or (fault.end_ns or fault.requested_ns) < acked_ns:
            continue
        latest = fault.acknowledged_ns or fault.requested_ns
        return [round(max(0, at - acked_ns) / 1e9, 3) for at in (fault.requested_ns, latest)]
    return [0.0, 0.0]


def _rpo_told(rpo_s: Sequence[float]) -> str:
    least, most = rpo_s
    if most <= 0:
        return "none of them had been acknowledged before a fault (observed RPO 0 s)"
    return f"observed RPO {least:g} to {most:g} s"


def _written(data: Data, acked: History, row: int) -> str:
    names = acked.names
    by = names.shown("session", int(acked.session[row]))
    where = names.shown("region", int(acked.region[row]))
    served = f" by {where}" if where else ""
    at_s = data.seconds(int(acked.completed_ns[row]))
    return f"written by {by}, acknowledged{served} at {at_s:.3f} s"


def _cell(data: Data, acked: History, row: int, missing: Sequence[str]) -> Cell:
    names, key, version = acked.names, int(acked.key[row]), int(acked.version[row])
    gone = (
        missing[0] if missing[0].startswith("overwritten") else f"missing in {', '.join(missing)}"
    )
    detail: dict[str, Any] = {
        "key": names.keys.names[key],
        "version": version,
        "session": names.shown("session", int(acked.session[row])),
        "population": names.shown("population", int(acked.population[row])),
        "acknowledged_by": names.shown("region", int(acked.region[row])),
        "shard": names.shown("shard", int(acked.shard[row])),
        "acknowledged_s": data.seconds(int(acked.completed_ns[row])),
        "missing": list(missing),
    }
    return Cell(
        name=f"{names.keys.names[key]} version {version}",
        verdict=Verdict.FAIL,
        value=1.0,
        samples=1,
        why=f"{_written(data, acked, row)}, {gone}",
        detail=detail,
    )


def _found(users: History, found: Sequence[tuple[str, int, int]], word: str) -> list[Cell]:
    return [
        Cell(
            name=f"{users.names.keys.names[key]} version {version} in {store}",
            verdict=Verdict.FAIL,
            samples=1,
            why=word,
            detail={"key": users.names.keys.names[key], "version": version, "store": store},
        )
        for store, key, version in found
    ]


def _unordered(data: Data, fates: Sequence[FateOfWrites], facts: Facts) -> None:
    """What keeps a lack of loss from being seen: versions that are none, or do not rise."""
    registers = fates[0].acked
    names = registers.names.keys.names
    blank = np.flatnonzero(registers.version == NOTHING)
    if len(blank):
        key = names[int(registers.key[blank[0]])]
        facts.doubts.append(
            f"{counted(len(blank), 'acknowledged write')} without a version, such as of {key}"
        )
    odd = out_of_order(registers)
    if len(odd):
        row = int(odd[0])
        facts.doubts.append(
            f"versions of {names[int(registers.key[row])]} do not rise: version "
            f"{int(registers.version[row])} was written after a higher one had been acknowledged "
            f"({counted(len(odd), 'such write')})"
        )
    _, unclear = forks_of(registers)
    if unclear:
        row = unclear[0].first
        facts.doubts.append(
            f"version {int(registers.version[row])} of {names[int(registers.key[row])]} was "
            "acknowledged twice, and no value tells whether it was one write"
        )
    if fates[1].unclear:
        code, element = fates[1].unclear[0]
        facts.doubts.append(f"element {element} of {names[code]} was appended more than once")


def _canaries(spec: AckedWritesSpec) -> Sequence[Canary]:
    key = spec.keys.replace("*", "canary").replace("?", "c")
    store = spec.stores[0] if spec.stores else "store"
    stores = spec.stores or (store,)
    count = spec.lost + 1
    acked = [
        {"kind": "write", "key": key, "version": v, "invoked": 0.3, "completed": 0.31}
        for v in range(1, count + 1)
    ]
    back = [
        {"kind": "read", "key": key, "store": s, "invoked": 0.99, "completed": 0.995}
        for s in stores
    ]
    return (Canary(outcome="ok", operations=acked, final=back),)


def _need(spec: AckedWritesSpec, plan: Plan) -> Need:
    n = spec.min_writes_near_fault
    bound = share_at_most(n, 1 - plan.confidence)
    note = (
        f"{n:,} acknowledged writes around each fault: none lost of them bounds the loss at "
        f"{bound:.2g}"
    )
    if spec.sampled_lte:
        keys = requests_needed(spec.sampled_lte, 1 - plan.confidence)
        note += f"; {keys:,} keys read back for sampledLte"
    return Need(n, None, note)


def _judge(task: JudgeTask) -> OnHistory:
    return OnHistory(task, _look)


KIND = Kind(
    "ackedWrites",
    AckedWritesSpec,
    _judge,
    _canaries,
    _need,
    timing=False,
    users="",
    data=True,
)
