"""The third proof of a fault, by those it is about: answers no longer carry the name of what was
broken. Read from the samples of the run while they grow. It is told beside the platform's proof and
decides nothing: who goes on naming what is gone may be a cache.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from stormgate.faults.context import Context

if TYPE_CHECKING:
    from stormgate.evidence.rolling import RollingWindow

# How long answers to requests from after the injection are waited for: samples are written in
# blocks.
PATIENCE_S = 2.5
_SETTLED_NS = 1_000_000_000
_BEFORE_NS = 10_000_000_000
_PAUSE_S = 0.1


def users_saw(
    context: Context, names: Collection[str], requested_ns: int, acknowledged_ns: int
) -> str | None:
    """What users' answers said of these names before and after; None where no answer could say
    anything (no load, no labels).
    """
    plan = context.plan
    if plan is None or not names or not plan.target.observe:
        return None
    from stormgate.evidence.rolling import RollingWindow

    window, columns = RollingWindow(context.folder), tuple(plan.target.observe)
    end = time.monotonic() + PATIENCE_S
    while not _settled(window, acknowledged_ns) and time.monotonic() < end:
        if context.stopping.wait(_PAUSE_S):
            break
    before, all_before, _ = window.naming(columns, names, requested_ns - _BEFORE_NS, requested_ns)
    after, all_after, last_ns = window.naming(columns, names, acknowledged_ns, None)
    if not all_before and not all_after:
        return None
    told = f"{before:,} of {all_before:,} answers in the 10 s before named it in a label"
    if last_ns is None:
        return f"{told}, none of {all_after:,} to requests since then"
    _, quiet, _ = window.naming(columns, names, last_ns + 1, None)
    return (
        f"{told}, then {after:,} more until {(last_ns - acknowledged_ns) / 1e9:.2f} s after the "
        f"injection, and none of {quiet:,} since"
    )


def _settled(window: RollingWindow, since_ns: int) -> bool:
    window.poll()
    return (window.newest_ns or 0) >= since_ns + _SETTLED_NS
