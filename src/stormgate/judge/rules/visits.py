"""Who was there: which populations, operations and routes were asked for in each phase. What the
plan or the workload itself promised and nobody did was not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from stormgate.evidence.samples import Block
from stormgate.evidence.timeline import Windows
from stormgate.judge.context import rows_in
from stormgate.judge.rules.due import Due
from stormgate.model import Plan

# So many expected and none seen is no chance: e^-15 for a Poisson count.
SURELY = 15.0
_WARMUP = "warmup"


class Visits:
    """Counts requests by (population, op) and by route in every phase, warmup too."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._starts = np.array([w.first_block for w in windows.windows])
        self.cells: list[Counter[tuple[str, str]]] = [Counter() for _ in windows.windows]
        self.routes: list[Counter[str]] = [Counter() for _ in windows.windows]

    def asked(self, phases: Iterable[str]) -> Counter[tuple[str, str]]:
        """Requests by (population, op) in these phases together."""
        wanted = set(phases)
        total: Counter[tuple[str, str]] = Counter()
        for window, cells in zip(self._windows.windows, self.cells, strict=True):
            if not wanted.isdisjoint(window.phases):
                total += cells
        return total

    def ops(self, population: str) -> set[str]:
        """The operations that a population was seen to ask for at any time."""
        return {op for cells in self.cells for name, op in cells if name == population}

    def add(self, block: Block) -> None:
        if not self._windows.windows:
            return
        rows, seconds = rows_in(block, self._windows)
        if not len(rows):
            return
        which = np.searchsorted(self._starts, seconds, side="right") - 1
        population, op, route = (
            block.label(name)[rows].astype(np.int64) for name in ("population", "op", "route")
        )
        names = {n: block.columns[n].names for n in ("population", "op", "route")}
        ops, routes = len(names["op"]), len(names["route"])
        pairs, counts = np.unique(
            (which * len(names["population"]) + population) * ops + op, return_counts=True
        )
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            rest, o = divmod(pair, ops)
            phase, p = divmod(rest, len(names["population"]))
            self.cells[phase][(names["population"][p], names["op"][o])] += count
        pairs, counts = np.unique(which * routes + route, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            phase, r = divmod(pair, routes)
            self.routes[phase][names["route"][r]] += count

    def problems(self, plan: Plan, schedule: Due | None = None) -> list[str]:
        """Populations nobody planned; populations, their operations and routes of the workload that
        nobody asked for in a judged phase although enough requests were due.
        """
        shares = {p.name: p.share for p in plan.target.populations}
        seen = sorted({name for cells in self.cells for name, _ in cells})
        found = [
            f"population {name!r} is not one of the plan: its requests stand for nobody"
            for name in seen
            if shares and name not in shares
        ]
        everything = sum(sum(cells.values()) for cells in self.cells)
        ops = _shares(((op, n) for cells in self.cells for (_, op), n in cells.items()), everything)
        routes = _shares((pair for table in self.routes for pair in table.items()), everything)
        for window, cells, asked in zip(
            self._windows.windows, self.cells, self.routes, strict=True
        ):
            if window.name == _WARMUP:
                continue
            due = (schedule or Due(plan, ())).between(window.begin_ns, window.end_ns)
            found += self._absent(window.name, due, shares, ops, cells)
            found += [
                f"route {route!r} got no request in {window.name}, about {due * share:,.0f} were "
                "due"
                for route, share in sorted(routes.items())
                if due * share >= SURELY and not asked[route]
            ]
        return found

    def _absent(
        self,
        phase: str,
        due: float,
        shares: dict[str, float],
        ops: dict[str, float],
        cells: Counter[tuple[str, str]],
    ) -> Iterable[str]:
        for population, share in shares.items():
            mine = {op: cells[(population, op)] for op in ops}
            if not any(mine.values()):
                if due * share >= SURELY:
                    yield (
                        f"population {population!r} made no request in {phase}, about "
                        f"{due * share:,.0f} were due"
                    )
                continue
            for op, part in ops.items():
                if due * share * part >= SURELY and not mine[op]:
                    yield (
                        f"population {population!r} made no {op} in {phase}, about "
                        f"{due * share * part:,.0f} were due"
                    )


def _shares(counted: Iterable[tuple[str, int]], total: int) -> dict[str, float]:
    table: Counter[str] = Counter()
    for name, count in counted:
        table[name] += count
    return {name: count / total for name, count in sorted(table.items())} if total else {}
