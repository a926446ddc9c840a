"""A trial is tried again only for the load generator's sake, and every attempt stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.golden.report_cases import plan as any_plan

from stormgate.judge.decide import generator_alone
from stormgate.model import Finding, Judgement, Plan, Verdict
from stormgate.supervise.attempts import try_plan

LATE = "generator saturated in 20 % of steady"


def finding(name: str, verdict: Verdict, why: str = "") -> Finding:
    return Finding(
        name=name, kind="validity", verdict=verdict, value=None, bound=None, limit=None, unit="",
        samples=0, why=why,
    )  # fmt: skip


def judged(*findings: tuple[Verdict, str], verdict: Verdict = Verdict.INCONCLUSIVE) -> Judgement:
    made = tuple(finding(f"f{i}", v, why) for i, (v, why) in enumerate(findings))
    return Judgement(
        gate="g", verdict=verdict, exit_code=verdict.exit_code, plan_digest="d",
        objectives=made[:1], validity=made[1:], why=made[0].why if made else "",
    )  # fmt: skip


LATE_RUN = judged((Verdict.INCONCLUSIVE, LATE), (Verdict.INCONCLUSIVE, LATE), (Verdict.PASS, ""))
NOBODY = judged((Verdict.PASS, ""), (Verdict.INCONCLUSIVE, "kill: nobody used it"))
PASSED = judged((Verdict.PASS, ""), verdict=Verdict.PASS)
FAILED = judged((Verdict.FAIL, "8 s"), (Verdict.INCONCLUSIVE, LATE), verdict=Verdict.FAIL)


@pytest.mark.parametrize(
    ("judgement", "again"),
    [
        (LATE_RUN, True),
        (NOBODY, False),
        (PASSED, False),
        (FAILED, False),
        (judged((Verdict.INCONCLUSIVE, LATE), (Verdict.INCONCLUSIVE, "too few samples")), False),
        (judged((Verdict.INCONCLUSIVE, LATE), verdict=Verdict.ABORTED), False),
        (judged(verdict=Verdict.INCONCLUSIVE), False),
        (judged((Verdict.INCONCLUSIVE, "generator lost: worker-1 wrote no final row")), True),
        (judged((Verdict.INCONCLUSIVE, "generator.ndjson: nothing of worker 'worker-1'")), False),
        (judged((Verdict.INCONCLUSIVE, "generator failed: the engine of worker-0 3 times")), False),
    ],
)
def test_only_the_generator_is_a_reason(judgement: Judgement, again: bool) -> None:
    assert generator_alone(judgement) is again


def played(retries: int, *judgements: Judgement) -> tuple[Judgement, list[Plan], list[str]]:
    plans: list[Plan] = []
    said: list[str] = []

    def run(plan: Plan) -> tuple[Judgement, Path]:
        plans.append(plan)
        number = len(plans)
        done = replace(judgements[number - 1], attempts=plan.attempts)
        return done, Path(f"reports/run-{number}")

    last = try_plan(replace(any_plan(), retry_inconclusive=retries), run, said.append)
    return last, plans, said


def test_each_attempt_names_the_ones_before_it() -> None:
    last, plans, said = played(2, LATE_RUN, LATE_RUN, PASSED)
    assert last.verdict is Verdict.PASS
    assert [len(p.attempts) for p in plans] == [0, 1, 2]
    assert [a.folder for a in last.attempts] == ["run-1", "run-2"]
    assert {a.why for a in last.attempts} == {LATE}
    assert len(said) == 2
    assert said[0].startswith("attempt 1 of 3 decided nothing")


def test_not_more_often_than_allowed() -> None:
    last, plans, _ = played(1, LATE_RUN, LATE_RUN, PASSED)
    assert (last.verdict, len(plans)) == (Verdict.INCONCLUSIVE, 2)


def test_without_a_policy_once() -> None:
    assert len(played(0, LATE_RUN, PASSED)[1]) == 1


@pytest.mark.parametrize("other", [NOBODY, FAILED, PASSED])
def test_what_was_decided_or_left_open_by_the_target_stays(other: Judgement) -> None:
    last, plans, said = played(5, other, PASSED)
    assert (last.verdict, len(plans), said) == (other.verdict, 1, [])
