"""Users that pace themselves: is every request that Locust counted in the evidence, and did it go
there as Locust says?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.evidence.laws import number

_COUNTS = (
    "reported",
    "given_up",
    "unreported",
    "locust_requests",
    "locust_failures",
)


def unreconciled(
    generator: Sequence[Mapping[str, Any]], written: Mapping[str, int], failed: Mapping[str, int]
) -> list[str]:
    """Differences between Locust's own totals and the rows of each closed-loop worker that gives
    them (any of its rows has `locust_requests`). `written`, `failed`: each worker's samples in all,
    and those that are not ok. `given_up` are samples that Locust does not count: its client raised.
    """
    by_worker: dict[str, list[Mapping[str, Any]]] = {}
    for row in generator:
        if row.get("model") == "closed":
            by_worker.setdefault(str(row.get("worker")), []).append(row)
    problems = []
    for worker, rows in sorted(by_worker.items()):
        if not any("locust_requests" in row for row in rows):
            continue
        try:
            said = {key: sum(int(number(row, key)) for row in rows) for key in _COUNTS}
        except ValueError as error:
            problems.append(f"generator.ndjson: {worker}: {error}")
            continue
        if said["unreported"]:
            problems.append(
                f"{worker} asked {said['unreported']:,} requests of which nobody said how they "
                "went (a with-block that raised, or catch_response=True without one)"
            )
        rows_told = written.get(worker, 0) - said["given_up"]
        if said["locust_requests"] != rows_told:
            problems.append(
                f"{worker}: Locust counted {said['locust_requests']:,} requests, "
                f"{rows_told:,} are recorded"
            )
        failed_told = failed.get(worker, 0) - said["given_up"]
        if said["locust_failures"] != failed_told:
            problems.append(
                f"{worker}: Locust counted {said['locust_failures']:,} failed requests, "
                f"{failed_told:,} are recorded as failed"
            )
    return problems
