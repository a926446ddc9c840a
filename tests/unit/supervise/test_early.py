"""`stop: certain` ends a run only when nothing to come can change the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from stormgate.model import Fault, Finding, Judgement, Load, Objective, Plan, Target, Verdict
from stormgate.supervise.early import certain_fail

PLAN = Plan(
    gate="g",
    seed=1,
    confidence=0.95,
    target=Target(name="t"),
    load=Load(locustfile="x.py", rate_per_s=1, users=1),
    warmup_s=1,
    steady_s=1,
    final_s=1,
    faults=(Fault(name="loss", experiment="x.yaml", recovery_s=1),),
    objectives=(
        Objective(name="steady", kind="availability", spec={"phases": ["steady"]}),
        Objective(name="both", kind="availability", spec={"phases": ["steady", "final"]}),
        Objective(name="failover", kind="failover", spec={"lte_s": 5}),
        Objective(name="vague", kind="reading", spec={}),
    ),
)


def judged(name: str, verdict: Verdict = Verdict.FAIL, **detail: Any) -> Judgement:
    finding = Finding(
        name=name,
        kind="",
        verdict=verdict,
        value=None,
        bound=None,
        limit=None,
        unit="",
        samples=1,
        why="worse",
        detail=detail,
    )
    return Judgement(
        gate="g",
        verdict=verdict,
        exit_code=verdict.exit_code,
        plan_digest="",
        objectives=(finding,),
    )


TO_STEADY = ["warmup", "steady"]
TO_RECOVERY = [*TO_STEADY, "fault[loss]", "recovery[loss]"]


@pytest.mark.parametrize(
    ("judgement", "ended", "certain"),
    [
        pytest.param(
            judged("steady", p_fail=0.001), TO_STEADY, True, id="all its samples are there"
        ),
        pytest.param(
            judged("steady", p_fail=0.001), ["warmup"], False, id="its phase has not ended"
        ),
        pytest.param(
            judged("steady", p_fail=0.04),
            TO_STEADY,
            False,
            id="four objectives: Holm may still take it back",
        ),
        pytest.param(
            judged("steady", p_fail=0.0125), TO_STEADY, True, id="just within Holm's hardest step"
        ),
        pytest.param(judged("steady", Verdict.INCONCLUSIVE), TO_STEADY, False, id="not a FAIL"),
        pytest.param(
            judged("both", p_fail=0.0), TO_RECOVERY, False, id="final could still dilute it"
        ),
        pytest.param(judged("failover"), TO_STEADY, False, id="no fault yet"),
        pytest.param(judged("failover"), TO_RECOVERY[:-1], False, id="the recovery is not over"),
        pytest.param(judged("failover"), TO_RECOVERY, True, id="an outage's length is a fact"),
        pytest.param(
            judged("vague"), TO_RECOVERY, False, id="it does not say its phases: all of them"
        ),
        pytest.param(judged("vague"), [*TO_RECOVERY, "final"], True, id="everything has ended"),
        pytest.param(judged("unknown"), TO_RECOVERY, False, id="not an objective of the plan"),
    ],
)
def test_certain(judgement: Judgement, ended: list[str], certain: bool) -> None:
    assert (certain_fail(PLAN, judgement, ended) is not None) is certain
