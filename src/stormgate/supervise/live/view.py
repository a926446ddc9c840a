"""A run as its evidence tells of it so far: folded once a second, whoever and however many look.

It reads and never writes. Figures are of answers by the second in which they came: what is still on
its way is not yet seen.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.arrow import UNKNOWN
from stormgate.evidence.live import LiveSamples, NdjsonTail
from stormgate.evidence.samples import Columns, Decoder
from stormgate.evidence.write import GENERATOR, TIMELINE
from stormgate.model import Event, Plan
from stormgate.report.html.faults import short
from stormgate.report.html.run import good_within_ms
from stormgate.report.words import one_line

Array = NDArray[Any]

SECOND_NS = 1_000_000_000
RECENT_S = 5
# The blocks of a second may still be coming in the next ones.
SETTLE_S = 2
MOST_GROUPS = 40
MOST_EVENTS = 40
MOST_SECONDS = 86_400


class LiveView:
    """Follows one run folder: `poll` reads what has come, `snapshot` says it as plain data."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._within_ms = good_within_ms(plan)
        self._timeline = NdjsonTail(folder / TIMELINE)
        self._generator = NdjsonTail(folder / GENERATOR)
        self._samples = LiveSamples(folder)
        self._columns = Columns()
        self._decoder = Decoder(self._columns)
        self._begin_ns: int | None = None
        self._total: list[int] = []
        self._good: list[int] = []
        self._recent: deque[tuple[Array, Array, Array, Array, Array]] = deque()
        self._faults: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._health: dict[str, Mapping[str, Any]] = {}
        self._ended: list[str] = []
        self.problem = ""

    def close(self) -> None:
        self._samples.close()

    @property
    def ended(self) -> tuple[str, ...]:
        """The phases that are over."""
        return tuple(self._ended)

    def poll(self) -> None:
        """Read what became whole. What cannot be read is told in `problem`, not raised."""
        for row in self._timeline.poll():
            self._note(row)
        for row in self._generator.poll():
            self._health[str(row.get("worker", ""))] = row
        try:
            for _, batch in self._samples.poll():
                if batch.num_rows and self._begin_ns is not None:
                    self._add(batch)
        except (OSError, ValueError, KeyError) as error:
            self.problem = f"samples: {error}"

    def _note(self, row: Mapping[str, Any]) -> None:
        event, at = row.get("event"), row.get("at_ns")
        if not isinstance(at, int):
            return
        if self._begin_ns is None:
            self._begin_ns = at
        if event == Event.PHASE_END:
            self._ended.append(str(row.get("phase")))
        key = (str(row.get("fault", "")), str(row.get("component", "")), str(row.get("id", "")))
        at_s = (at - self._begin_ns) / 1e9
        if event == Event.FAULT_REQUESTED:
            told = {"fault": key[0], "component": key[1], "mode": str(row.get("mode", ""))}
            self._faults[key] = {**told, "asked_s": at_s, "proof": "", "seen_s": None}
        elif event == Event.FAULT_OBSERVED and key in self._faults:
            self._faults[key].update(seen_s=at_s, proof=one_line(short(row.get("proof", "seen"))))
        elif event == Event.FAULT_CLEARED:
            self._faults.pop(key, None)

    def _add(self, batch: Any) -> None:
        block = self._decoder.block(batch)
        good, begin = block.good(self._within_ms), self._begin_ns or 0
        second = (block.done_ns - begin) // SECOND_NS
        size = min(MOST_SECONDS, int(second.max()) + 1)
        for line in (self._total, self._good):
            line.extend([0] * (size - len(line)))
        for line, rows in ((self._total, second), (self._good, second[good])):
            numbers, counts = np.unique(rows, return_counts=True)
            for at, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                if 0 <= at < size:
                    line[at] += count
        latency_ms = np.where(block.ok, block.latency_ns / 1e6, np.inf)
        labels = (block.label("population"), block.label("served_by"))
        self._recent.append((second, good, latency_ms, *labels))

    def snapshot(self, now_ns: int, since_s: int = 0) -> dict[str, Any]:
        """The run as of now. The series are those from second `since_s` on."""
        begin = self._begin_ns if self._begin_ns is not None else now_ns
        elapsed = (now_ns - begin) / 1e9
        last = int(elapsed) - SETTLE_S
        while self._recent and int(self._recent[0][0].max()) < last - RECENT_S - 10:
            self._recent.popleft()
        faults = [
            {**one, "age_s": round(elapsed - one["asked_s"], 1)} for one in self._faults.values()
        ]
        return {
            "elapsed_s": round(elapsed, 1),
            "since_s": since_s,
            "total": self._total[since_s : max(0, last + 1)],
            "good": self._good[since_s : max(0, last + 1)],
            "populations": self._groups(3, "population", last),
            "regions": self._groups(4, "served_by", last),
            "faults": faults,
            "generator": self._worst_health(),
            "problem": self.problem,
        }

    def _groups(self, column: int, name: str, last: int) -> list[dict[str, Any]]:
        """Rate, good share and p95 of each group over the last whole seconds."""
        low = last - RECENT_S + 1
        parts = [[], [], []]  # type: list[list[Array]]
        for entry in self._recent:
            second, good, latency_ms = entry[:3]
            mine = (second >= low) & (second <= last)
            if mine.any():
                for into, values in zip(parts, (entry[column], good, latency_ms), strict=True):
                    into.append(values[mine])
        if not parts[0]:
            return []
        codes, good, latency_ms = (np.concatenate(part) for part in parts)
        names = self._columns[name].names
        found = []
        for code in np.unique(codes).tolist():
            mine = codes == code
            count = int(mine.sum())
            ordered = np.sort(latency_ms[mine])
            p95 = float(ordered[min(count - 1, int(np.ceil(0.95 * count)) - 1)])
            found.append(
                {
                    "name": one_line(names[code]) if names[code] != UNKNOWN else "(no answer says)",
                    "rate_per_s": round(count / RECENT_S, 1),
                    "good": round(float(good[mine].mean()), 6),
                    "p95_ms": round(p95, 1) if np.isfinite(p95) else None,
                }
            )
        return sorted(found, key=lambda one: str(one["name"]))[:MOST_GROUPS]

    def _worst_health(self) -> dict[str, float | None]:
        """The generator's figures of its latest seconds: the worst worker's."""
        figures: dict[str, float | None] = {}
        for key in ("send_lag_p99_ms", "cpu"):
            values = [row.get(key) for row in self._health.values()]
            known = [float(v) for v in values if isinstance(v, int | float)]
            figures[key] = max(known, default=None)
        with contextlib.suppress(TypeError):
            figures["workers"] = float(len(self._health))
        return figures
