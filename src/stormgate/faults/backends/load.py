"""More load: the streams of a population, or all of them, arrive `factor` times as often.

An order is a row of surge.ndjson in the run folder, which the running load follows
(stormgate.load.schedule.surge). It names its own end, so that a surge is over in time even when
everybody who could take it back is dead; and it dies with the load. Whether it has its effect is
read from generator truth: what the load planned in whole seconds since.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stormgate.evidence.write import GENERATOR, SURGE, Journal
from stormgate.faults.backends import Backend, FaultRequest, Observation, Record
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, UndoFailed
from stormgate.model import Component

_BEFORE_S = 5.0
_SILENT_S = 3.0  # rows come every second
_TAIL_BYTES = 256 * 1024
_LEAST_GROWTH = 1.2  # of all planned requests; what grows less cannot be told from chance


class Surge(Parameters):
    """`factor` times the arrivals of `population` (None: everyone) for at most `for_s` seconds;
    `folder` is the run's.
    """

    factor: float = Field(gt=1, le=1000)
    population: str | None = None
    for_s: float = Field(default=300.0, gt=0, le=86_400)
    folder: str = ""


class LoadBackend(Backend):
    """The component is the load itself: no document has to name it, and it needs no handle."""

    modes: ClassVar[Mapping[str, type[Parameters]]] = {"surge": Surge}
    in_targets = False
    breaks_whole = True

    def plan(self, request: FaultRequest) -> Record:
        params = request.params
        factor, population, for_s = (
            float(params["factor"]),
            params.get("population"),
            float(params["for_s"]),
        )
        if not factor > 1 or not for_s > 0:
            raise CannotBreak(
                f"a surge needs a factor above 1 and a time above 0, not {factor:g} for {for_s:g} s"
            )
        shares = {one.name: one.share for one in request.target.populations}
        if population is not None and population not in shares:
            raise CannotBreak(
                f"no population {population!r} in target {request.target.name!r}; it has "
                f"{', '.join(sorted(shares))}"
            )
        share = 1.0 if population is None else shares[population] / (sum(shares.values()) or 1.0)
        growth = 1 + (factor - 1) * share
        if growth < _LEAST_GROWTH:
            raise CannotBreak(
                f"{factor:g} times the load of {population} ({share:.1%} of all) is "
                f"{growth:.2f} times all of it: too little to "
                f"be seen; a factor of {1 + (_LEAST_GROWTH - 1) / share:.1f} would be"
            )
        before = _planned_per_s(
            Path(params["folder"]), since_ns=time.monotonic_ns() - int(_BEFORE_S * 1e9)
        )
        if not before:
            raise CannotBreak(
                "no open-loop load is running into this run folder: there is nothing to multiply"
            )
        return {
            "id": request.token,
            "folder": str(params["folder"]),
            "factor": factor,
            "population": population,
            "for_s": for_s,
            "before_per_s": before,
            "seen_from_per_s": before * (1 + growth) / 2,
            "planned_ns": time.monotonic_ns(),
        }

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        until_ns = time.monotonic_ns() + int(float(record["for_s"]) * 1e9)
        order = {
            "id": record["id"],
            "factor": record["factor"],
            "population": record["population"],
            "until_ns": until_ns,
        }
        try:
            _order(record, order)
        except OSError as error:
            raise NotApplied(f"{part.name}: {error}") from error

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        try:
            _order(record, {"id": record["id"], "end": True})
        except FileNotFoundError:
            return  # the run folder is gone, and with it the load that wrote into it
        except OSError as error:
            raise UndoFailed(f"{part.name}: {error}") from error

    def in_effect(self, part: Component, record: Record) -> Observation:
        now = _planned_per_s(Path(record["folder"]), since_ns=int(record["planned_ns"]))
        if now is None:
            return Observation(False, "the load has said nothing of a whole second since")
        return Observation(
            now >= record["seen_from_per_s"],
            f"{now:.0f}/s planned, {record['before_per_s']:.0f}/s before",
        )

    def is_whole(self, part: Component, record: Record) -> Observation:
        now = _planned_per_s(
            Path(record["folder"]),
            since_ns=time.monotonic_ns() - int(_SILENT_S * 1e9),
            everybody=False,
        )
        if now is None:
            return Observation(True, "the load has ended")
        return Observation(
            now < record["seen_from_per_s"],
            f"{now:.0f}/s planned, {record['before_per_s']:.0f}/s before",
        )


def _order(record: Record, row: dict[str, Any]) -> None:
    with Journal(Path(record["folder"]) / SURGE, fsync=True) as file:
        file.append({"at_ns": time.monotonic_ns(), **row})


def _planned_per_s(folder: Path, *, since_ns: int, everybody: bool = True) -> float | None:
    """What workers say they planned in their newest second that began after `since_ns`, together.

    None when no worker has such a second or, with `everybody`, when one that has not ended has
    none.
    """
    newest = {
        row["worker"]: row for row in _last_rows(folder / GENERATOR) if row.get("model") == "open"
    }
    live = [row for row in newest.values() if not row.get("final")]
    begun = [row for row in live if row["at_ns"] - row["window_s"] * 1e9 >= since_ns]
    if not begun or (everybody and len(begun) < len(live)):
        return None
    return float(sum(row["planned"] / max(row["window_s"], 1e-3) for row in begun))


def _last_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows in the last part of a growing file: it is looked at many times a second, and may be
    hours long.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return
    lines = data.split(b"\n")
    for line in lines[1 if size > _TAIL_BYTES else 0 : -1]:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


BACKEND = LoadBackend()
