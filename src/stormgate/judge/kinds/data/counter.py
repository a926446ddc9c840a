"""counter: a counter stands, at every reading, where the additions that users know of can have
brought it: none is lost, none counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stormgate.evidence.operations import History
from stormgate.judge.histories.bounds import sum_bounds
from stormgate.judge.histories.coverage import coverage_of
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import Facts, OnHistory, OnKeys, counted
from stormgate.judge.histories.segments import distinct
from stormgate.judge.histories.told import op_detail, op_told, wrong_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Cell, Plan

Array = NDArray[Any]


class CounterSpec(OnKeys):
    """Each counter stood at `initial` before the run. At least `min_samples` readings."""

    initial: int = 0
    min_samples: int = Field(default=1, ge=1)


def _look(task: JudgeTask, data: Data) -> Facts:
    spec: CounterSpec = task.spec
    keys = data.keys(spec.keys)
    users, final = data.users.take(keys[data.users.key]), data.final.take(keys[data.final.key])
    adds = users.take(users.of("add"))
    facts = Facts(unit="readings")
    if not len(adds):
        facts.doubts.append(f"nobody added to a counter like {spec.keys!r}")
        return facts
    facts.doubts += coverage_of(data, "add", keys, ()).doubts
    wrong: list[Cell] = []
    for history in (users, final):
        reads = history.take(history.of("count") & history.ok)
        facts.samples += len(reads)
        wrong += list(_impossible(data, adds, reads, spec))
    facts.told = f"{counted(len(wrong), 'impossible reading')} of {facts.samples:,}"
    facts.value = facts.bound = float(len(wrong))
    if wrong and (data.problems or data.unnoted):
        facts.doubts.append(
            f"{facts.told}, but additions went unnoted (flows that raised, or lost evidence)"
        )
        return facts
    facts.wrong, facts.count = wrong[:CELLS_SHOWN], len(wrong)
    if facts.samples < spec.min_samples:
        facts.doubts.append(f"{counted(facts.samples, 'reading')}, {spec.min_samples:,} wanted")
    return facts


def _impossible(data: Data, adds: History, reads: History, spec: CounterSpec) -> Iterator[Cell]:
    for key in distinct(reads.key).tolist():
        mine, asked = adds.take(adds.key == key), np.flatnonzero(reads.key == key)
        least, most = sum_bounds(
            mine.value,
            mine.outcome,
            (mine.invoked_ns, mine.completed_ns),
            (reads.invoked_ns[asked], reads.completed_ns[asked]),
        )
        least, most = least + spec.initial, most + spec.initial
        value = reads.value[asked]
        for at in np.flatnonzero((value < least) | (value > most)).tolist():
            row = int(asked[at])
            lack = "some were lost" if value[at] < least[at] else "some count twice"
            yield wrong_cell(
                f"{reads.names.keys.names[key]} at "
                f"{data.seconds(int(reads.invoked_ns[row])):.3f} s",
                f"stood at {int(value[at]):,}, between {int(least[at]):,} and {int(most[at]):,} is "
                f"possible: {lack} ({op_told(data, reads, row)})",
                **op_detail(data, reads, row),
                value=int(value[at]),
                least=int(least[at]),
                most=int(most[at]),
            )


def _canaries(spec: CounterSpec) -> Sequence[Canary]:
    key = spec.keys.replace("*", "canary").replace("?", "c")
    adds = [{"kind": "add", "key": key, "value": 1, "invoked": 0.2, "completed": 0.21}]
    back = {"kind": "count", "key": key, "store": "store", "invoked": 0.99, "completed": 0.995}
    return tuple(
        Canary(outcome="ok", operations=adds, final=[{**back, "value": spec.initial + stood}])
        for stood in (0, 2)
    )


def _need(spec: CounterSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, f"{counted(spec.min_samples, 'reading')} of a counter")


KIND = Kind(
    "counter",
    CounterSpec,
    lambda task: OnHistory(task, _look),
    _canaries,
    _need,
    timing=False,
    users="",
    data=True,
)
