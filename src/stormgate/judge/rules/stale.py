"""Whether readings of a probe can be believed: present all through a phase, fresh, finite, without
an error. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.evidence.timeline import PhaseWindow
from stormgate.model import Plan

# So many turns may be missed in a row before what was read last is stale.
MISSED = 2


def usable(row: Mapping[str, Any]) -> bool:
    """Whether a reading has a value: a finite number, and no error."""
    value = row.get("value")
    return (
        row.get("error") is None
        and not isinstance(value, bool)
        and isinstance(value, int | float)
        and math.isfinite(value)
    )


def read_in(
    rows: Sequence[Mapping[str, Any]], probe: str, window: PhaseWindow
) -> list[Mapping[str, Any]]:
    """The readings of a probe that were taken in a phase, in the order of time."""
    found = [
        row
        for row in rows
        if row.get("probe") == probe and window.begin_ns <= int(row["at_ns"]) < window.end_ns
    ]
    return sorted(found, key=lambda row: int(row["at_ns"]))


def failed(rows: Sequence[Mapping[str, Any]], probe: str) -> str | None:
    """Which of the readings are none, in words; None when all are."""
    bad = [row for row in rows if not usable(row)]
    if not bad:
        return None
    errors = sorted({str(row.get("error") or "no value") for row in bad})
    return f"{len(bad)} of {len(rows)} readings of {probe} failed: {errors[0]}"


def stale(
    plan: Plan, rows: Sequence[Mapping[str, Any]], probe: str, window: PhaseWindow
) -> str | None:
    """Where a phase has a stretch without a reading that is longer than `MISSED` turns of the
    plan's schedule and the time one may take, in words. None where there is no such stretch, or no
    schedule: a folder of somebody else's.
    """
    schedule = next((one for one in plan.readings if one.name == probe), None)
    if schedule is None:
        return None
    allowed_s = MISSED * schedule.every_s + schedule.within_s
    times = [window.begin_ns, *(int(r["at_ns"]) for r in rows if usable(r)), window.end_ns]
    gap_s = max((b - a) / 1e9 for a, b in itertools.pairwise(times))
    if gap_s <= allowed_s:
        return None
    return (
        f"no reading of {probe} for {gap_s:.1f} s, one each {schedule.every_s:g} s was planned: "
        "what was read before is stale"
    )
