"""bank: money moves between accounts and is neither made nor lost: every reading of all accounts
adds up, none is overdrawn, and in the end each holds what its transfers left it.

Source: Jepsen's bank checker for the sums; the ledger of each account is held besides, as a
transfer that was done twice leaves every sum as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stormgate.evidence.operations import FAIL, OK, History
from stormgate.judge.histories.coverage import coverage_of
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import Facts, OnHistory, OnKeys, counted
from stormgate.judge.histories.segments import distinct, pairs
from stormgate.judge.histories.told import op_detail, op_told, wrong_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Plan

Array = NDArray[Any]


class BankSpec(OnKeys):
    """All accounts hold `total` in all, and each held `initial` before the run. `overdraft`: an
    account may stand below 0. At least `min_samples` readings of all accounts.
    """

    total: int
    initial: int
    overdraft: bool = False
    min_samples: int = Field(default=1, ge=1)


def _look(task: JudgeTask, data: Data) -> Facts:
    spec: BankSpec = task.spec
    keys = data.keys(spec.keys)
    users = data.users.take(keys[data.users.key])
    final = data.settled
    final = final.take(keys[final.key] & final.of("balance"))
    transfers = users.take(users.of("transfer"))
    reads = users.take(users.of("balance") & users.ok)
    accounts = distinct(np.concatenate([transfers.key, transfers.to, reads.key, final.key]))
    facts = Facts(unit="readings")
    if not len(transfers):
        facts.doubts.append(f"nobody moved money between accounts like {spec.keys!r}")
        return facts
    facts.doubts += coverage_of(data, "transfer", keys, ()).doubts
    wrong = list(_sums(data, reads, len(accounts), spec, facts))
    ended = _last_of_each(final)
    wrong += list(_at_the_end(data, ended, accounts, spec, facts))
    ledger = list(_ledger(data, transfers, ended, spec))
    if ledger and (data.problems or data.unnoted):
        told = f"{counted(len(ledger), 'account')} not as its transfers left it"
        facts.doubts.append(
            f"{told}, but transfers went unnoted (flows that raised, or lost evidence)"
        )
    else:
        wrong += ledger
    if spec.total != spec.initial * len(accounts):
        facts.doubts.append(
            f"{counted(len(accounts), 'account')} of {spec.initial:,} make "
            f"{spec.initial * len(accounts):,}, total is {spec.total:,}"
        )
    if facts.samples < spec.min_samples:
        facts.doubts.append(
            f"{counted(facts.samples, 'reading')} of all {len(accounts):,} accounts, "
            f"{spec.min_samples:,} wanted"
        )
    facts.wrong, facts.count = wrong[:CELLS_SHOWN], len(wrong)
    facts.value = facts.bound = float(len(wrong))
    facts.detail = {"accounts": len(accounts), "transfers": len(transfers)}
    facts.told = (
        f"{counted(len(wrong), 'reading')} of {facts.samples:,} or accounts that do not add up"
    )
    return facts


def _sums(
    data: Data, reads: History, accounts: int, spec: BankSpec, facts: Facts
) -> Iterator[Cell]:
    """Readings of all accounts, whose sum is not the total, and accounts that are overdrawn."""
    code = pairs(reads.worker, np.zeros(len(reads), np.int64)) + reads.snapshot
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    size = np.bincount(place, minlength=len(first))
    total = np.zeros(len(first), np.int64)
    np.add.at(total, place, reads.value)
    whole = size == accounts
    facts.samples += int(np.count_nonzero(whole))
    for at in np.flatnonzero(whole & (total != spec.total)).tolist():
        row = int(first[at])
        yield wrong_cell(
            f"all accounts at {data.seconds(int(reads.invoked_ns[row])):.3f} s",
            f"hold {int(total[at]):,} in all, not {spec.total:,} ({op_told(data, reads, row)})",
            **op_detail(data, reads, row),
            total=int(total[at]),
        )
    if not spec.overdraft:
        for row in np.flatnonzero(reads.value < 0).tolist():
            yield _overdrawn(data, reads, row)


def _overdrawn(data: Data, reads: History, row: int) -> Cell:
    key = reads.names.keys.names[int(reads.key[row])]
    return wrong_cell(
        f"{key} at {data.seconds(int(reads.invoked_ns[row])):.3f} s",
        f"holds {int(reads.value[row]):,} ({op_told(data, reads, row)})",
        **op_detail(data, reads, row),
        value=int(reads.value[row]),
    )


def _last_of_each(final: History) -> History:
    """The last final read of each account in each store."""
    order = np.lexsort((final.completed_ns, final.store, final.key))
    final = final.take(order)
    where = pairs(final.key, final.store)
    last = np.ones(len(final), bool)
    last[:-1] = where[1:] != where[:-1]
    return final.take(last)


def _at_the_end(
    data: Data, ended: History, accounts: Array, spec: BankSpec, facts: Facts
) -> Iterator[Cell]:
    names = ended.names
    odd = np.flatnonzero((ended.key[1:] == ended.key[:-1]) & (ended.value[1:] != ended.value[:-1]))
    for row in odd.tolist():
        stores = [names.shown("store", int(ended.store[at])) for at in (row, row + 1)]
        yield wrong_cell(
            f"{names.keys.names[int(ended.key[row])]} in the end",
            f"holds {int(ended.value[row]):,} in {stores[0]} and {int(ended.value[row + 1]):,} in "
            f"{stores[1]}",
            stores=stores,
        )
    _, first = np.unique(ended.key, return_index=True)
    if len(first) == len(accounts):
        facts.samples += 1
        total = int(ended.value[first].sum())
        if total != spec.total and not len(odd):
            yield wrong_cell(
                "all accounts in the end",
                f"hold {total:,} in all, not {spec.total:,}",
                total=total,
            )
    if not spec.overdraft:
        for row in np.flatnonzero(ended.value < 0).tolist():
            yield _overdrawn(data, ended, row)


def _ledger(data: Data, transfers: History, ended: History, spec: BankSpec) -> Iterator[Cell]:
    """Accounts that do not hold what they held first, and all that surely came and went, give or
    take what nobody knows of.
    """
    size = len(transfers.names.keys.names)
    bounds = {}
    for outcome in ("certain", "possible"):
        mask = transfers.outcome == OK if outcome == "certain" else transfers.outcome != FAIL
        some = transfers.take(mask)
        came, went = np.zeros(size, np.int64), np.zeros(size, np.int64)
        np.add.at(came, some.to, some.value)
        np.add.at(went, some.key, some.value)
        bounds[outcome] = came, went
    (sure_in, sure_out), (all_in, all_out) = bounds["certain"], bounds["possible"]
    least, most = spec.initial + sure_in - all_out, spec.initial + all_in - sure_out
    for row in range(len(ended)):
        key, value = int(ended.key[row]), int(ended.value[row])
        if least[key] <= value <= most[key]:
            continue
        yield wrong_cell(
            f"{ended.names.keys.names[key]} in the end",
            f"holds {value:,}, its transfers leave {int(least[key]):,} to {int(most[key]):,} "
            f"({op_told(data, ended, row)})",
            **op_detail(data, ended, row),
            value=value,
            least=int(least[key]),
            most=int(most[key]),
        )


def _canaries(spec: BankSpec) -> Sequence[Canary]:
    base = spec.keys.replace("?", "c")
    one, two = (base.replace("*", name) for name in ("canary", "canary2"))
    moved = [
        {
            "kind": "transfer",
            "key": one,
            "to": two,
            "value": 1,
            "invoked": 0.2,
            "completed": 0.21,
        }
    ]
    back = {"kind": "balance", "store": "store", "invoked": 0.99, "completed": 0.995}
    held = (spec.initial, spec.initial + 1)
    final = [
        {**back, "key": key, "value": value, "snapshot": 1}
        for key, value in zip((one, two), held, strict=True)
    ]
    return (Canary(outcome="ok", operations=moved, final=final),)


def _need(spec: BankSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, f"{counted(spec.min_samples, 'reading')} of all accounts")


KIND = Kind(
    "bank",
    BankSpec,
    lambda task: OnHistory(task, _look),
    _canaries,
    _need,
    timing=False,
    users="",
    data=True,
)
