"""Users who are served: what that means, before a fault and for each cell of a failover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.judge.registry import kinds
from stormgate.judge.rules.due import Due
from stormgate.judge.statistics.bounds import tail_p
from stormgate.model import Plan

# The last seconds before a fault that say whether users are served.
LAST_S = 5.0
# So many due and none seen is no chance: e^-15 for a Poisson count.
_SURELY = 15.0
# One bad request of so many is a stray, whatever share was asked for.
_STRAY = 10
# More bad requests than a cell may have are not yet a state of it when chance alone would make as
# many so often: of 100 that may have 1 bad, 2 are forgiven; of 1,000 that may have 10, 12 are.
_CHANCE = 0.2
# Without a failover objective nobody says what "served" means; below this nobody would say it.
_SERVED, _WITHIN_MS = 0.9, 2000.0


def well(bad: int, sent: int, good_share: float) -> bool:
    """Whether a cell served its users: `good_share` of them, or all but what chance takes from a
    few requests, or one stray. Nobody asked: not seen well.
    """
    if sent <= 0:
        return False
    allowed = 1.0 - good_share
    if bad <= allowed * sent + 1e-9 or (bad == 1 and sent >= _STRAY):
        return True
    return allowed > 0 and float(tail_p(bad, sent, allowed)) >= _CHANCE


def served_well(plan: Plan, fault: str) -> tuple[float, float]:
    """(share of good requests, within how many ms) that users of a served population have: what the
    failover objectives over this fault call recovered, the least of them.
    """
    found = []
    for objective in plan.objectives:
        if objective.spec.get("fault") in (None, fault):
            kind = kinds()[objective.kind]
            found.append(kind.served(kind.spec_model.model_validate(objective.spec)))
    said = [one for one in found if one is not None]
    if not said:
        return _SERVED, _WITHIN_MS
    return min(share for share, _ in said), max(within_ms for _, within_ms in said)


def due_lately(plan: Plan, timeline: Sequence[Mapping[str, Any]], now_ns: int) -> float:
    """Requests due in the last LAST_S seconds: by the shape's own schedule where the load follows
    one, else by the plan's rate, as long as nobody knows better.
    """
    due = Due(plan, timeline)
    if not due.known:
        return plan.load.rate_per_s * LAST_S
    return due.between(now_ns - int(LAST_S * 1e9), now_ns)


def unserved(
    plan: Plan,
    fault: str,
    counts: Mapping[str, tuple[int, int]] | None,
    due_in_all: float | None = None,
) -> list[str]:
    """Populations that are not served, given (good, all) of their requests in the last LAST_S
    seconds; None: no request at all was measured. One that asks too seldom to be missed may be
    silent. `due_in_all`: `due_lately`; None: by the plan's rate.
    """
    good_share, within_ms = served_well(plan, fault)
    if due_in_all is None:
        due_in_all = plan.load.rate_per_s * LAST_S
    if counts is None:
        return ["nobody has asked anything yet"] if due_in_all >= _SURELY else []
    problems = []
    for population in plan.target.populations:
        good, sent = counts.get(population.name, (0, 0))
        due = population.share * due_in_all
        if not sent and due >= _SURELY:
            problems.append(
                f"{population.name} asked nothing in the last {LAST_S:g} s, about {due:,.0f} "
                "requests were due"
            )
        elif sent and not well(sent - good, sent, good_share):
            problems.append(
                f"{population.name}: {sent - good:,} of {sent:,} requests of the last {LAST_S:g} "
                f"s were bad, or slower than {within_ms:g} ms"
            )
    return problems
