"""A surge of load on order: while one stands, the streams of a population (or all) arrive `factor`
times as often.

Orders are rows of surge.ndjson in the run folder, appended by whoever wants more load
(stormgate.faults.backends.load):
  {id, at_ns, factor, population, until_ns}   begin; population null: everyone; over by itself at
  `until_ns`
  {id, at_ns, end: true}                      over now
The process that leads the load follows the file and tells its workers what stands: a map of
population to factor, with "" for
everyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormgate.evidence.live import NdjsonTail

EVERYONE = ""
Factors = Mapping[str, float]


class Orders:
    """The orders of one file, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._rows = NdjsonTail(path)
        self._open: dict[str, tuple[str, float, int]] = {}

    def standing(self, now_ns: int) -> dict[str, float]:
        """What stands now. Surges of the same population multiply; a row that is torn or makes no
        sense is left out.
        """
        for row in self._rows.poll():
            self._take(row)
        self._open = {name: order for name, order in self._open.items() if now_ns < order[2]}
        factors: dict[str, float] = {}
        for population, factor, _ in self._open.values():
            factors[population] = factors.get(population, 1.0) * factor
        return factors

    def _take(self, row: Mapping[str, Any]) -> None:
        try:
            if row.get("end"):
                self._open.pop(str(row["id"]), None)
            elif float(row["factor"]) > 0:
                self._open[str(row["id"])] = (
                    row.get("population") or EVERYONE,
                    float(row["factor"]),
                    int(row["until_ns"]),
                )
        except (ValueError, KeyError, TypeError, AttributeError):
            return
