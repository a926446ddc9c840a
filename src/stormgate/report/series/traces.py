"""Spans that a target told, folded into what the page shows: how often each operation failed and
what it took, failed traces by the way they failed, and single traces as trees. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stormgate.judge.rules.spans import broken_at, by_trace

Row = Mapping[str, Any]
MOST_STEPS = 8


@dataclass(frozen=True, slots=True)
class SpanShown:
    """A span in its tree. `begin_ms` is since the trace's first span, by the clock of who told it;
    it and `took_ms` are None where nobody told.
    """

    depth: int
    service: str
    name: str
    kind: str
    status: int
    failed: bool
    begin_ms: float | None
    took_ms: float | None


@dataclass(slots=True)
class OperationTold:
    """The spans of one operation of one service. `took_ms`: of those that told it."""

    service: str
    name: str
    spans: int = 0
    failed: int = 0
    took_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class FailedWay:
    """Failed traces that failed alike: `steps` are their failed spans from the first on; `broken`
    says what is missing in them (None: nothing). Times are ns of the run's clock, when told.
    """

    steps: tuple[str, ...]
    broken: str | None
    traces: list[str] = field(default_factory=list)
    first_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class TracesTold:
    """All of one run. `of`: the rows of each trace."""

    of: dict[str, list[Row]]
    operations: list[OperationTold]
    ways: list[FailedWay]
    slowest: list[tuple[float, str]]

    @property
    def spans(self) -> int:
        return sum(map(len, self.of.values()))


def is_failed(row: Row) -> bool:
    """Whether a span says that it failed: in words, or by its HTTP status."""
    return row.get("error") is True or int(row["status"]) >= 500


def traces_told(rows: Iterable[Row]) -> TracesTold:
    """Everything that the rows of traces.ndjson tell."""
    of = by_trace(rows)
    operations: dict[tuple[str, str], OperationTold] = {}
    ways: dict[tuple[tuple[str, ...], str | None], FailedWay] = {}
    slowest = []
    for trace, spans in of.items():
        for row in spans:
            if row["kind"] == "server":
                _count(operations, row)
        if not any(map(is_failed, spans)):
            took = [t for t in map(_took_ms, spans) if t is not None]
            slowest.append((max(took, default=-1.0), trace))
            continue
        broken = broken_at(spans)
        steps = failed_steps(spans)
        told = [int(row["at_ns"]) for row in spans]
        way = ways.setdefault(
            (steps, broken), FailedWay(steps, broken, first_ns=min(told), last_ns=max(told))
        )
        way.traces.append(trace)
        way.first_ns, way.last_ns = min(way.first_ns, *told), max(way.last_ns, *told)
    return TracesTold(
        of,
        sorted(operations.values(), key=lambda o: (-o.failed, -o.spans, o.service, o.name)),
        sorted(ways.values(), key=lambda w: (-len(w.traces), w.steps)),
        sorted((s for s in slowest if s[0] >= 0), reverse=True),
    )


def _count(operations: dict[tuple[str, str], OperationTold], row: Row) -> None:
    key = (str(row.get("service", "")), str(row.get("name", "")))
    one = operations.setdefault(key, OperationTold(*key))
    one.spans += 1
    one.failed += is_failed(row)
    if (took_ms := _took_ms(row)) is not None:
        one.took_ms.append(took_ms)


def _took_ms(row: Row) -> float | None:
    took = row.get("duration_ms")
    return None if took is None else float(took)


def failed_steps(spans: Sequence[Row]) -> tuple[str, ...]:
    """The failed spans of a trace as one walks down it, in words without ids."""
    steps = [
        f"{shown.service} {shown.name} {status_words(shown.kind, shown.status)}"
        for shown in tree(spans)
        if shown.failed
    ]
    # A call and who answered it say the same twice; of many alike one is enough.
    return tuple(dict.fromkeys(steps))[:MOST_STEPS]


def status_words(kind: str, status: int) -> str:
    """An HTTP status, or what its absence means for this kind of span."""
    return str(status) if status else "no answer" if kind == "client" else "no status"


def tree(spans: Sequence[Row]) -> list[SpanShown]:
    """The spans in the order of a walk from the first ones down, each below its parent, siblings by
    their begin. A parent that was never told has its children at the top, and so has a circle.
    """
    known = {str(row["span"]) for row in spans}
    below: dict[str, list[int]] = {}
    for index, row in enumerate(spans):
        parent = str(row["parent"])
        below.setdefault(parent if parent in known else "", []).append(index)
    begins = [int(row["begin_unix_ns"]) for row in spans if "begin_unix_ns" in row]
    first_ns = min(begins, default=0)

    def order(index: int) -> tuple[int, int]:
        return int(spans[index].get("begin_unix_ns", first_ns)), index

    found: list[SpanShown] = []
    seen: set[int] = set()
    # What only a circle holds together is reached last, at the top.
    for top in [*sorted(below.get("", ()), key=order), *range(len(spans))]:
        waiting = [(top, 0)]
        while waiting:
            index, depth = waiting.pop()
            if index in seen:
                continue
            seen.add(index)
            row = spans[index]
            found.append(_shown(row, depth, first_ns))
            children = sorted(below.get(str(row["span"]), ()), key=order, reverse=True)
            waiting += [(child, depth + 1) for child in children]
    return found


def _shown(row: Row, depth: int, first_ns: int) -> SpanShown:
    begin = row.get("begin_unix_ns")
    return SpanShown(
        depth=depth,
        service=str(row.get("service", "")),
        name=str(row.get("name", "")),
        kind=str(row["kind"]),
        status=int(row["status"]),
        failed=is_failed(row),
        begin_ms=None if begin is None else (int(begin) - first_ns) / 1e6,
        took_ms=_took_ms(row),
    )
