"""What each worker of the generator says it did, held against its rows, to the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stormgate.evidence.laws import Firsts, generator_problem, number


def unrecorded(generator: Sequence[Mapping[str, Any]], firsts: Mapping[str, Firsts]) -> list[str]:
    """Requests that a worker says it sent, planned or gave up and that its rows do not account for,
    or the other way round, to the last one.
    """
    problems = []
    by_worker: dict[str, list[Mapping[str, Any]]] = {}
    for row in generator:
        by_worker.setdefault(str(row.get("worker")), []).append(row)
    for worker, mine in sorted(by_worker.items()):
        lawless = [problem for row in mine if (problem := generator_problem(row)) is not None]
        if lawless:
            more = f" ({len(lawless)} of {len(mine)} rows)"
            problems.append(f"generator.ndjson: {worker}: {lawless[0]}{more}")
        else:
            problems += _accounts(worker, mine, firsts.get(worker, Firsts()))
    return problems


def _accounts(worker: str, mine: Sequence[Mapping[str, Any]], rows: Firsts) -> list[str]:
    """What does not add up in one worker's counts, beside the first attempts among its samples."""
    planned, sent, unreached, unsent = (
        sum(int(row.get(key, 0)) for row in mine)
        for key in ("planned", "sent", "unreached", "not_sent")
    )
    acted, flying = sent + unreached, _in_flight(mine)
    if rows.again and rows.acted < acted and acted - flying <= rows.acted + rows.again <= acted:
        # a tool that counts each attempt as one sent: then it does so to the last one
        rows = replace(rows, acted=rows.acted + rows.again)
    problems = []
    if planned != acted + unsent:
        problems.append(
            f"{worker} planned {planned:,} requests, sent {acted:,} and gave up {unsent:,}: "
            f"{abs(planned - acted - unsent):,} are not accounted for"
        )
    if acted - flying > rows.acted:
        problems.append(
            f"{worker} sent {acted:,} requests, {rows.acted:,} rows say so and "
            f"{flying:,} were in flight: {acted - flying - rows.acted:,} have no row"
        )
    if rows.acted > acted:
        problems.append(
            f"{worker} says it sent {acted:,} requests, and {rows.acted:,} have a row: "
            f"{rows.acted - acted:,} too many"
        )
    if rows.unsent != unsent:
        problems.append(
            f"{worker} says it gave up {unsent:,} requests, and {rows.unsent:,} rows say so"
        )
    written_at_most = rows.written + flying
    if any("unreached" in row for row in mine) and not rows.written <= sent <= written_at_most:
        problems.append(
            f"{worker} says it wrote {sent:,} requests, and {rows.written:,} rows have the time"
        )
    return problems


def _in_flight(rows: Sequence[Mapping[str, Any]]) -> int:
    """Requests without an answer at a worker's end: what its last row says, and no more than its
    own counts leave room for. None when it does not say.
    """
    try:
        said = int(number(max(rows, key=lambda row: int(row["at_ns"])), "in_flight"))
        begun = sum(
            int(row["sent"]) + int(row.get("unreached", 0)) + int(row["not_sent"]) for row in rows
        )
        ended = sum(int(number(row, "completed")) for row in rows)
    except ValueError:
        return 0
    return min(said, max(0, begun - ended))
