"""Why requests failed: how often each route failed in which way, when, and what was wanted of it.

Told beside the verdict, never part of it. Requests are counted by their last attempt; what was
never sent is the generator's failure and stands in its own finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.arrow import UNKNOWN
from stormgate.evidence.samples import Block
from stormgate.evidence.timeline import AND, SECOND_NS, Windows
from stormgate.judge.context import rows_in
from stormgate.judge.registry import kinds
from stormgate.model import Event, Failure, Plan

Array = NDArray[Any]

LATE = "late"
OTHERS = "(others)"
MOST_KINDS = 100
# Kinds of failures kept apart while counting: a workload whose routes are all different would
# otherwise fill the memory.
_MOST_COUNTED = 20_000
_SHOWN_VALUES = 5
_COLUMNS = ("route", "outcome", "population", "served_by")

_Key = tuple[str, str, int]


@dataclass
class _Count:
    total: int = 0
    first_ns: int = 0
    last_ns: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    populations: Counter[str] = field(default_factory=Counter)
    served_by: Counter[str] = field(default_factory=Counter)


class Failures:
    """Counts failed requests by (route, outcome, status), over all phases of a run.

    `late_ms`: a right answer after this time counts as failed too, as `late`; None: none does.
    """

    def __init__(self, windows: Windows, late_ms: float | None) -> None:
        self._windows = windows
        self._starts = np.array([w.first_block for w in windows.windows])
        self._late_ms = late_ms
        self._counts: dict[_Key, _Count] = {}

    def add(self, block: Block) -> None:
        if not self._windows.windows:
            return
        bad = ~(block.good(self._late_ms) | block.not_sent)
        if not bad.any():
            return
        rows, seconds = rows_in(block, self._windows)
        failed = bad[rows]
        rows, seconds = rows[failed], seconds[failed]
        if not len(rows):
            return
        which = np.searchsorted(self._starts, seconds, side="right") - 1
        keys = [which, block.status[rows].astype(np.int64)]
        keys += [block.label(name)[rows].astype(np.int64) for name in _COLUMNS]
        table, inverse = _distinct(keys)
        intended = block.intended_ns[rows]
        order = np.argsort(inverse, kind="stable")
        begins = np.searchsorted(inverse[order], np.arange(len(table)))
        firsts = np.minimum.reduceat(intended[order], begins)
        lasts = np.maximum.reduceat(intended[order], begins)
        counts = np.bincount(inverse, minlength=len(table))
        for row, count, first, last in zip(
            table.tolist(), counts.tolist(), firsts.tolist(), lasts.tolist(), strict=True
        ):
            phase = self._windows.windows[row[0]].name
            words = [block.columns[n].names[c] for n, c in zip(_COLUMNS, row[2:], strict=True)]
            self._note(words, row[1], phase, count, (first, last))

    def _note(
        self, words: Sequence[str], status: int, phase: str, count: int, times: tuple[int, int]
    ) -> None:
        route, outcome, population, served_by = words
        key: _Key = (route, LATE if outcome == "ok" else outcome, status)
        if key not in self._counts and len(self._counts) >= _MOST_COUNTED:
            key = (OTHERS, OTHERS, 0)
        one = self._counts.setdefault(key, _Count(first_ns=times[0], last_ns=times[1]))
        one.total += count
        one.first_ns, one.last_ns = min(one.first_ns, times[0]), max(one.last_ns, times[1])
        one.phases[phase] += count
        one.populations[population] += count
        if served_by != UNKNOWN:
            one.served_by[served_by] += count

    def told(
        self,
        timeline: Iterable[Mapping[str, Any]],
        begin_ns: int,
        decisive: Iterable[str] = (),
    ) -> tuple[Failure, ...]:
        """The kinds of failures, at most MOST_KINDS and the rest as one: those in `decisive` phases
        first, then the most frequent. Times are seconds from `begin_ns`.
        """
        said, first = _wanted(timeline), set(decisive)
        late = "" if self._late_ms is None else f"within {self._late_ms:g} ms"

        def weight(item: tuple[_Key, _Count]) -> tuple[int, int, _Key]:
            key, one = item
            told = sum(n for p, n in one.phases.items() if not first.isdisjoint(p.split(AND)))
            return (-told, -one.total, key)

        ordered = sorted(self._counts.items(), key=weight)
        kept = ordered[:MOST_KINDS]
        if rest := ordered[MOST_KINDS:]:
            kept.append(((OTHERS, OTHERS, 0), _joined([one for _, one in rest])))
        found = []
        for (route, outcome, status), one in kept:
            expected, url = said.get((route, outcome, status), ("", ""))
            found.append(
                Failure(
                    route=route,
                    outcome=outcome,
                    status=status,
                    count=one.total,
                    expected=late if outcome == LATE else expected,
                    url=url,
                    first_s=_since(one.first_ns, begin_ns),
                    last_s=_since(one.last_ns, begin_ns),
                    phases=_top(one.phases, len(one.phases)),
                    populations=_top(one.populations),
                    served_by=_top(one.served_by),
                )
            )
        return tuple(found)


def late_ms(plan: Plan) -> float | None:
    """The shortest time within which an availability objective of the plan wants its answers, ms;
    None where none says.
    """
    known = kinds()
    limits = [known[o.kind].good_within_ms(o.spec) for o in plan.objectives if o.kind in known]
    return min((limit for limit in limits if limit is not None), default=None)


def _distinct(columns: Sequence[Array]) -> tuple[Array, Array]:
    table, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return table, inverse.reshape(-1)


def _wanted(timeline: Iterable[Mapping[str, Any]]) -> dict[_Key, tuple[str, str]]:
    """What the load said was wanted of a request that failed so, and where it had asked: the first
    of each kind.
    """
    found: dict[_Key, tuple[str, str]] = {}
    for row in timeline:
        if row.get("event") != Event.LOAD_FAILURE:
            continue
        status = row.get("status")
        key = (
            str(row.get("route")),
            str(row.get("outcome")),
            status if type(status) is int else 0,
        )
        found.setdefault(key, (str(row.get("expected") or ""), str(row.get("url") or "")))
    return found


def _joined(counts: Sequence[_Count]) -> _Count:
    whole = _Count(first_ns=min(c.first_ns for c in counts), last_ns=max(c.last_ns for c in counts))
    for one in counts:
        whole.total += one.total
        whole.phases += one.phases
        whole.populations += one.populations
        whole.served_by += one.served_by
    return whole


def _top(table: Counter[str], most: int = _SHOWN_VALUES) -> dict[str, int]:
    return dict(sorted(table.items(), key=lambda item: (-item[1], item[0]))[:most])


def _since(at_ns: int, begin_ns: int) -> float:
    return round((at_ns - begin_ns) / SECOND_NS, 3)
