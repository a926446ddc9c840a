"""A fault that somebody healed before it was taken back has escaped: it proves nothing."""

from __future__ import annotations

from typing import Any

import pytest
from tests.golden.judge_writer import S, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.model import Verdict

FAILOVER = objective("failover", lte_s=15)


def judged(lost: dict[str, Any] | None, after_s: float = 1.2, **requested: Any) -> Any:
    plan = plan_of([FAILOVER], steady_s=30, faults=["kill"])
    run = synthetic(plan, rows_of(plan))
    first = next(row for row in run.timeline if row["event"] == "fault.requested")
    first.update(requested)
    if lost is not None:
        at_ns = first["at_ns"] + round(after_s * S)
        row = {"event": "fault.lost", "fault": "kill", "id": first["id"], "at_ns": at_ns, **lost}
        run.timeline = sorted([*run.timeline, row], key=lambda row: row["at_ns"])
    return judge(run)


def test_held_to_the_end() -> None:
    assert judged(None).verdict is Verdict.PASS


def test_escaped_is_said_with_when_and_what() -> None:
    judgement = judged({"part": "web", "saw": "process 7 runs in place of 6"})
    assert judgement.verdict is Verdict.INCONCLUSIVE
    words = "kill: escaped after 1.2 s: web: process 7 runs in place of 6"
    assert words in judgement.why
    (failover,) = judgement.objectives
    assert failover.verdict is Verdict.INCONCLUSIVE
    assert "escaped after 1.2 s" in failover.why


def test_a_row_without_words_is_a_loss_as_well() -> None:
    assert judged({}).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("identity", ["kill-1", "another", ""])
def test_whichever_part_it_names(identity: str) -> None:
    assert judged({"id": identity}).verdict is Verdict.INCONCLUSIVE


def test_healing_that_the_experiment_expects_is_no_escape() -> None:
    assert judged({"saw": "answers"}, heals=True).verdict is Verdict.PASS
    assert judged({"saw": "answers"}, heals="yes").verdict is Verdict.INCONCLUSIVE


def test_what_ends_with_the_rollback_was_taken_back() -> None:
    assert judged({"saw": "answers"}, after_s=16.5).verdict is Verdict.PASS
