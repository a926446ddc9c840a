"""The baseline of a fault: every population is served before anything is broken. What goes wrong
afterwards could not be told from what was wrong already.

Decided from the samples of the run that are growing in its folder (judge/served.py says by what
measure); where no plan says who should be asking, as under a bare `chaos run`, nobody is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from stormgate.evidence.live import NdjsonTail
from stormgate.evidence.write import TIMELINE
from stormgate.faults.context import Context
from stormgate.faults.errors import NotServed, Stopped
from stormgate.faults.ledger import ever_broken
from stormgate.judge.served import LAST_S, due_lately, served_well, unserved
from stormgate.model import Plan, company

# Users who are not served at once may be soon: a pause of the machine is no state of the target.
PATIENCE_S = 15.0
_PAUSE_S = 0.5

# Population -> (good, all) of its requests in the last seconds; None: nothing is measured here.
Counts = Mapping[str, tuple[int, int]]


def check_served(context: Context, patience_s: float = PATIENCE_S) -> None:
    """Return when every population is served, before a trial breaks its first thing. Raises
    NotServed after `patience_s`, naming who is not; Stopped.
    """
    plan = context.plan
    if plan is None or ever_broken(context.folder, context.fault):
        return
    if any(ever_broken(context.folder, other) for other in company(context.fault, plan.faults)):
        return  # looked at before the first of those that stand together was broken
    look = _looker(context, plan)
    end = time.monotonic() + patience_s
    rows, tail = [], NdjsonTail(context.folder / TIMELINE)
    while True:
        rows += tail.poll()
        due = due_lately(plan, rows, time.monotonic_ns())
        problems = unserved(plan, context.fault, look(), due)
        if not problems:
            return
        if context.stopping.is_set():
            raise Stopped("the run is being stopped; nothing was injected")
        if time.monotonic() >= end:
            raise NotServed(
                f"users are not served, so nothing was broken: {'; '.join(problems[:5])}"
            )
        context.pause(_PAUSE_S)


def _looker(context: Context, plan: Plan) -> Callable[[], Counts | None]:
    from stormgate.evidence.rolling import RollingWindow

    window = RollingWindow(context.folder)
    _, within_ms = served_well(plan, context.fault)

    def look() -> Counts | None:
        window.poll()
        newest_ns = window.newest_ns
        if newest_ns is None:
            return None
        return {
            p.name: window.counts(newest_ns, LAST_S, {"population": p.name}, within_ms)
            for p in plan.target.populations
        }

    return look
