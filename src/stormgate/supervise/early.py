"""`stop: certain`: is the verdict settled although the run is not over? Pure.

Curtailment and nothing weaker: an objective counts only when every phase it is judged on has ended,
so that its samples are all there, and only when it would also fail beside the worst that the other
objectives can come to. Only FAIL can be certain early: a PASS needs every objective.
"""

from __future__ import annotations

from collections.abc import Collection

from stormgate.evidence.timeline import phase_names
from stormgate.judge.registry import kinds
from stormgate.model import Judgement, Objective, Plan, Verdict


def certain_fail(plan: Plan, judgement: Judgement, ended: Collection[str]) -> str | None:
    """Why the verdict cannot be other than FAIL, judged on the phases in `ended`; None while it
    can.
    """
    objectives = {objective.name: objective for objective in plan.objectives}
    for finding in judgement.objectives:
        objective = objectives.get(finding.name)
        if (
            objective is None
            or finding.verdict is not Verdict.FAIL
            or not phases_of(objective, plan) <= set(ended)
        ):
            continue
        p_fail = finding.detail.get("p_fail")
        # Holm's hardest step divides by the number of objectives; a FAIL that is a fact (an
        # outage's length) has no p-value.
        if p_fail is None or p_fail * len(plan.objectives) <= 1.0 - plan.confidence:
            return f"{finding.name}: {finding.why}"
    return None


def phases_of(objective: Objective, plan: Plan) -> set[str]:
    """Every phase that can still change an objective; all of them where it does not say."""
    faults = {
        name
        for fault in plan.faults
        for name in (f"fault[{fault.name}]", f"recovery[{fault.name}]")
    }
    if kinds()[objective.kind].over_faults:
        return faults
    selectors = [*objective.spec.get("phases", ()), *objective.spec.get("versus", ())]
    if not selectors:
        return {"warmup", "steady", *faults, "final"}
    return set(phase_names(selectors, plan.faults))
