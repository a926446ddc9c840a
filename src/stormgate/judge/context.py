"""What every objective may know besides its samples: the plan, phases, faults, readings, and the
generator's health.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.samples import Block
from stormgate.evidence.timeline import FaultWindow, PhaseLike, Windows, select
from stormgate.judge.cells import Cells
from stormgate.judge.histories.data import Data
from stormgate.judge.rules.generator import GeneratorHealth
from stormgate.judge.rules.starved import MachineHealth
from stormgate.model import Plan

Array = NDArray[Any]


class RunLike(Protocol):
    """What the judge reads of a run folder; `stormgate.evidence.read.Run` is one."""

    @property
    def plan(self) -> Plan | None: ...
    @property
    def timeline(self) -> list[dict[str, Any]]: ...
    @property
    def generator(self) -> list[dict[str, Any]]: ...
    @property
    def readings(self) -> list[dict[str, Any]]: ...
    @property
    def traces(self) -> list[dict[str, Any]]: ...
    @property
    def machine(self) -> list[dict[str, Any]]: ...
    @property
    def undo(self) -> list[dict[str, Any]]: ...
    @property
    def journals(self) -> dict[str, dict[str, Any]]: ...
    @property
    def problems(self) -> list[str]: ...
    def phases(self) -> Sequence[PhaseLike]: ...
    @property
    def residency(self) -> list[dict[str, Any]]: ...
    @property
    def operation_files(self) -> Mapping[str, Any]: ...
    def batches(self) -> Iterator[tuple[str, Any]]: ...
    def operations(self, *which: str) -> Iterator[tuple[str, Any]]: ...


@dataclass
class JudgeContext:
    """One judgement's surroundings. Cells of the same columns are shared, so that a block is
    grouped once, not once per objective.
    """

    plan: Plan
    phases: Sequence[PhaseLike]
    faults: Sequence[FaultWindow]
    health: GeneratorHealth
    readings: Sequence[Mapping[str, Any]] = ()
    data: Data | None = None
    traces: Sequence[Mapping[str, Any]] = ()
    machine: MachineHealth = field(default_factory=MachineHealth)
    _cells: dict[tuple[str, ...], Cells] = field(default_factory=dict)

    def windows(self, selectors: Sequence[str]) -> Windows:
        return select(selectors, self.phases, self.plan.faults)

    def cells(self, by: Sequence[str]) -> Cells:
        key = tuple(by)
        if key not in self._cells:
            self._cells[key] = Cells(key)
        return self._cells[key]

    def shares(self) -> dict[str, float]:
        """The share of the traffic each population is planned to make."""
        return {p.name: p.share for p in self.plan.target.populations}


def rows_in(block: Block, windows: Windows) -> tuple[Array, Array]:
    """(indices, block numbers) of the rows whose intended start lies in the windows; blocks are 1 s
    and never span two windows.
    """
    key = ("rows", windows.windows)
    if key in block.cache:
        found: tuple[Array, Array] = block.cache[key]
        return found
    intended = block.intended_ns
    low, high = int(intended.min()), int(intended.max())
    indices: list[Array] = []
    blocks: list[Array] = []
    for window in windows.windows:
        if window.end_ns <= low or window.begin_ns > high:
            continue
        inside = low >= window.begin_ns and high < window.end_ns
        rows = (
            np.arange(len(block))
            if inside
            else np.flatnonzero((intended >= window.begin_ns) & (intended < window.end_ns))
        )
        if len(rows):
            begin = window.begin_ns
            indices.append(rows)
            blocks.append((intended[rows] - begin) // 1_000_000_000 + window.first_block)
    empty = np.zeros(0, np.int64)
    result = (np.concatenate(indices), np.concatenate(blocks)) if indices else (empty, empty)
    block.cache[key] = result
    return result
