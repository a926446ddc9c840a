"""Samples folded into what the page draws, in one pass over the blocks.

Requests, not attempts: a request counts by its last attempt and from its first intended start, as
it does for the judge (`evidence.samples.Requests`). Bins of time are exact counts; a bin knows its
worst requests, whole.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.laws import RowLaws
from stormgate.evidence.samples import Block, Requests
from stormgate.report.series.buckets import FAILED, bucket_of
from stormgate.report.series.cuts import Cut, CutCounter, CutSeries
from stormgate.report.series.phases import stretches, weighs_most

if TYPE_CHECKING:
    from stormgate.evidence.read import Run
    from stormgate.evidence.timeline import PhaseLike

Array = NDArray[Any]

WIDTHS_S = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)
MAX_BINS = 800
MAX_LATENCY_BINS = 240
FINE_S = 0.25
WORST = 5
LATE = "late"
SHOWN_LABELS = ("cache", "shard", "tier")
STANDARD = (
    Cut("all", ()),
    Cut("population", ("population",)),
    Cut("region", ("served_by",)),
    Cut("route", ("route",)),
    Cut("op", ("op",)),
    Cut("population and op", ("population", "op")),
)
_STAGE = {"steady": 1, "final": 1, "fault": 2, "recovery": 3}


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """A stretch that is counted finely, per population: the seconds around a fault."""

    name: str
    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class WorstRequest:
    """One request as it was, for a second that somebody asks about."""

    at_s: float
    latency_ms: float
    outcome: str
    status: int
    attempt: int
    route: str
    op: str
    population: str
    served_by: str
    trace: str = ""


@dataclass(slots=True)
class ChartSeries:
    """Counts per bin of `width_s` seconds from `begin_ns`. `outcomes`: requests per bin by what
    came of them (`ok`, `late`, a failure's word). `labels[column][word]`: requests per bin.
    """

    begin_ns: int
    width_s: float
    bins: int
    total: list[int] = field(default_factory=list)
    good: list[int] = field(default_factory=list)
    outcomes: dict[str, list[int]] = field(default_factory=dict)
    labels: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    cuts: dict[str, CutSeries] = field(default_factory=dict)
    fine: dict[tuple[str, str], tuple[list[int], list[int]]] = field(default_factory=dict)
    worst: list[list[WorstRequest]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, int]:
        """How often each outcome that is not a right answer came, the most frequent first."""
        counts = {word: sum(n) for word, n in self.outcomes.items() if word not in ("ok", LATE)}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class _Unchecked(RowLaws):
    """The judge holds the rows against their laws; here they are only drawn."""

    def check(self, worker: str, columns: Mapping[str, Array]) -> None:
        pass


def width_for(duration_s: float) -> float:
    """The finest bin, seconds, that draws a run of this length with at most MAX_BINS bins."""
    for width in WIDTHS_S:
        if duration_s / width <= MAX_BINS:
            return width
    return WIDTHS_S[-1]


def collect(
    run: Run,
    begin_ns: int,
    end_ns: int,
    within_ms: float | None,
    windows: Sequence[ChartWindow],
    cuts: Sequence[Cut] = (),
    trace: str = "trace",
) -> ChartSeries:
    """One pass over all readable blocks. `within_ms`: slower answers do not count as good; None:
    any right answer does. `cuts` are counted beside the standard ones. `trace` is the column that
    names a request's trace, if any does.
    """
    width = max(1.0, width_for((end_ns - begin_ns) / 1e9))
    counter = _Counter(begin_ns, end_ns, width, within_ms, windows, [*STANDARD, *cuts])
    counter.worst.trace = trace
    counter.know_phases(run.phases())
    requests = Requests(run.batches(), _Unchecked())
    for block in requests:
        counter.add(block)
    return counter.series(requests.problems)


class _Counter:
    def __init__(
        self,
        begin_ns: int,
        end_ns: int,
        width_s: float,
        within_ms: float | None,
        windows: Sequence[ChartWindow],
        cuts: Sequence[Cut],
    ) -> None:
        self.begin_ns, self.width_ns = begin_ns, round(width_s * 1e9)
        self.bins = min(MAX_BINS * 4, max(1, math.ceil((end_ns - begin_ns) / self.width_ns)))
        self.within_ms = within_ms
        self.windows = windows
        self.total = np.zeros(self.bins, np.int64)
        self.good = np.zeros(self.bins, np.int64)
        self.outcomes: dict[str, Array] = {}
        self.labels: dict[str, dict[str, Array]] = {}
        self.fine: dict[tuple[str, str], tuple[Array, Array]] = {}
        fine = max(1, math.ceil(self.bins / MAX_LATENCY_BINS))
        self.cuts = [CutCounter(cut, self.bins, fine) for cut in cuts]
        self.worst = _Worst(self.bins)
        self._starts, self._stages = np.zeros(0, np.int64), np.zeros(1, np.int64)

    def know_phases(self, phases: Sequence[PhaseLike]) -> None:
        """Which kind of phase a time lies in: warmup and whatever is none counts as warmup."""
        begun = []
        for name, begin, end in stretches(phases):
            begun.append((begin, _STAGE.get(weighs_most(name), 0)))
            if name == "steady" and end is not None:
                begun[-1] = (begin, 4)
                begun.append(((begin + end) // 2, 5))
        begun.sort()
        self._starts = np.array([begin for begin, _ in begun], np.int64)
        self._stages = np.array([0, *(stage for _, stage in begun)], np.int64)

    def add(self, block: Block) -> None:
        at = (block.intended_ns - self.begin_ns) // self.width_ns
        inside = (at >= 0) & (at < self.bins)
        if not inside.all():
            block, at = block.take(inside), at[inside]
        if not len(block):
            return
        latency_ms = block.latency_ns / 1e6
        good = block.good(self.within_ms)
        seen = {
            "at": at,
            "good": good,
            "latency_ms": latency_ms,
            "bucket": np.where(block.ok, bucket_of(latency_ms), FAILED),
            "stage": self._stages[np.searchsorted(self._starts, block.intended_ns, side="right")],
        }
        self.total += np.bincount(at, minlength=self.bins)
        self.good += np.bincount(at[good], minlength=self.bins)
        self._add_outcomes(block, at, good)
        self._add_labels(block, at)
        for cut in self.cuts:
            cut.add(block, seen)
        self.worst.add(block, at, latency_ms, self.begin_ns)
        for window in self.windows:
            self._add_window(window, block, good)

    def _add_outcomes(self, block: Block, at: Array, good: Array) -> None:
        codes = block.label("outcome")
        late = block.ok & ~good
        for code in np.unique(codes).tolist():
            mine = (codes == code) & ~late
            self._count(self.outcomes, block.columns["outcome"].names[code], at[mine])
        if late.any():
            self._count(self.outcomes, LATE, at[late])

    def _add_labels(self, block: Block, at: Array) -> None:
        for column in SHOWN_LABELS:
            if column not in block.codes:
                continue
            codes = block.codes[column]
            found = self.labels.setdefault(column, {})
            for code in np.unique(codes[codes > 0]).tolist():
                self._count(found, block.columns[column].names[code], at[codes == code])

    def _count(self, into: dict[str, Array], word: str, at: Array) -> None:
        if len(at) and (word in into or len(into) < 40):
            counted = np.bincount(at, minlength=self.bins)
            into[word] = into[word] + counted if word in into else counted

    def _add_window(self, window: ChartWindow, block: Block, good: Array) -> None:
        intended = block.intended_ns
        if intended.max() < window.begin_ns or intended.min() >= window.end_ns:
            return
        size = math.ceil((window.end_ns - window.begin_ns) / (FINE_S * 1e9))
        at = (intended - window.begin_ns) // round(FINE_S * 1e9)
        inside = (at >= 0) & (at < size)
        population = block.label("population")
        for code in np.unique(population[inside]).tolist():
            mine = inside & (population == code)
            key = (window.name, block.columns["population"].names[code])
            if key not in self.fine:
                self.fine[key] = (np.zeros(size, np.int64), np.zeros(size, np.int64))
            total, fine_good = self.fine[key]
            total += np.bincount(at[mine], minlength=size)
            fine_good += np.bincount(at[mine & good], minlength=size)

    def series(self, problems: Sequence[str]) -> ChartSeries:
        width_s = self.width_ns / 1e9
        return ChartSeries(
            begin_ns=self.begin_ns,
            width_s=width_s,
            bins=self.bins,
            total=self.total.tolist(),
            good=self.good.tolist(),
            outcomes={word: n.tolist() for word, n in sorted(self.outcomes.items())},
            labels={
                column: {word: n.tolist() for word, n in sorted(found.items())}
                for column, found in sorted(self.labels.items())
                if found
            },
            cuts={cut.cut.name: cut.series(width_s) for cut in self.cuts},
            fine={
                key: (total.tolist(), good.tolist())
                for key, (total, good) in sorted(self.fine.items())
            },
            worst=self.worst.found(),
            problems=list(problems),
        )


class _Worst:
    """The worst requests of each bin: those that failed before those that were slow."""

    def __init__(self, bins: int) -> None:
        self.trace = "trace"
        self.floor = np.full(bins, -1.0)
        self.kept: list[list[tuple[float, int, WorstRequest]]] = [[] for _ in range(bins)]
        self.serial = 0

    def add(self, block: Block, at: Array, latency_ms: Array, begin_ns: int) -> None:
        # A failure outweighs any wait: 1e9 ms are eleven days.
        score = np.where(block.ok, latency_ms, latency_ms + 1e9)
        rows = np.flatnonzero(score > self.floor[at])
        if not len(rows):
            return
        rows = rows[np.lexsort((-score[rows], at[rows]))]
        of = at[rows]
        begins = np.searchsorted(of, of)
        rows = rows[np.arange(len(rows)) - begins < WORST]
        for row in rows.tolist():
            kept, number = self.kept[int(at[row])], float(score[row])
            if len(kept) == WORST and number <= kept[0][0]:
                continue
            self.serial -= 1
            one = _request(block, row, begin_ns, float(latency_ms[row]), self.trace)
            entry = (number, self.serial, one)
            (heapq.heappushpop if len(kept) == WORST else heapq.heappush)(kept, entry)
            if len(kept) == WORST:
                self.floor[int(at[row])] = kept[0][0]

    def found(self) -> list[list[WorstRequest]]:
        return [[one for _, _, one in sorted(kept, reverse=True)] for kept in self.kept]


def _request(block: Block, row: int, begin_ns: int, latency_ms: float, trace: str) -> WorstRequest:
    def word(column: str) -> str:
        return block.columns[column].names[int(block.label(column)[row])]

    return WorstRequest(
        at_s=round((int(block.intended_ns[row]) - begin_ns) / 1e9, 3),
        latency_ms=round(latency_ms, 3),
        outcome=word("outcome"),
        status=int(block.status[row]),
        attempt=int(block.attempt[row]),
        route=word("route"),
        op=word("op"),
        population=word("population"),
        served_by=word("served_by"),
        trace=word(trace) if trace in block.codes and block.codes[trace][row] > 0 else "",
    )


def span(timeline: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The first and last instant a timeline knows, ns; None where it is empty."""
    times = [int(row["at_ns"]) for row in timeline if isinstance(row.get("at_ns"), int)]
    return (min(times), max(times)) if times and max(times) > min(times) else None
