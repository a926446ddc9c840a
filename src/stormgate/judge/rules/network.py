"""Did anything try to send where the target does not allow it? Nothing arrived, for the gate at the
socket refused it; but what the users' code would have done with the answer is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.evidence.laws import refusal_problem
from stormgate.judge.rules.validity import finding
from stormgate.model import Event, Finding, Verdict


def check_network(timeline: Sequence[Mapping[str, Any]]) -> Finding | None:
    """None when nothing was refused. Refused to the load, the run is INCONCLUSIVE; refused to an
    experiment, ERROR: what it was to break or to look at, it did not.
    """
    rows = [row for row in timeline if row.get("event") == Event.NET_REFUSED]
    if not rows:
        return None
    counts: dict[tuple[str, str, str], int] = {}
    lawless = []
    for row in rows:
        if (problem := refusal_problem(row)) is not None:
            lawless.append(f"a net.refused row says nothing: {problem}")
            continue
        by = f"{row['by']}: {row['fault']}" if row.get("fault") else str(row["by"])
        key = (by, row["who"], row["where"])
        counts[key] = counts.get(key, 0) + row["count"]
    told = [
        f"refused {'once' if count == 1 else f'{count:,} times'}: {where} is not in the target's "
        f"allow list; {who} asked for it ({by})"
        for (by, who, where), count in sorted(counts.items(), key=lambda one: -one[1])
    ]
    by_chaos = any(row.get("by") == "chaos" for row in rows)
    return finding(
        "network",
        [*told, *dict.fromkeys(lawless)],
        Verdict.ERROR if by_chaos else Verdict.INCONCLUSIVE,
        refused=sum(counts.values()),
    )
