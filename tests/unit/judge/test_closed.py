"""Users that pace themselves: Locust's own totals are held against the rows."""

import pytest
from tests.golden.judge_writer import objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.rules.closed import unreconciled
from stormgate.model import Verdict

GOOD = {
    "worker": "w",
    "model": "closed",
    "reported": 10,
    "given_up": 1,
    "unreported": 0,
    "locust_requests": 10,
    "locust_failures": 3,
}


@pytest.mark.parametrize(
    ("changes", "acted", "failed", "told"),
    [
        ({}, 11, 4, None),
        ({}, 8, 4, "Locust counted 10 requests, 7 are recorded"),
        ({}, 14, 4, "Locust counted 10 requests, 13 are recorded"),
        ({}, 11, 1, "Locust counted 3 failed requests, 0 are recorded as failed"),
        ({"locust_failures": 0}, 11, 4, "Locust counted 0 failed requests, 3 are recorded"),
        ({"unreported": 2}, 11, 4, "2 requests of which nobody said how they went"),
        ({"locust_failures": None}, 11, 4, "locust_failures is None, not a number"),
        ({"given_up": float("nan")}, 11, 4, "given_up is nan"),
    ],
)
def test_a_difference_is_named(changes, acted, failed, told):
    rows = [GOOD | changes, {**dict.fromkeys(GOOD, 0), "worker": "w", "model": "closed"}]
    problems = unreconciled(rows, {"w": acted}, {"w": failed})
    assert (problems == []) if told is None else (told in " ".join(problems))


def test_workers_that_give_no_totals_of_locusts_are_not_asked_for_them():
    assert unreconciled([GOOD | {"model": "open"}], {"w": 5}, {}) == []
    assert unreconciled([{"worker": "w", "model": "closed"}], {"w": 5}, {}) == []


def test_a_row_without_the_totals_that_others_give_is_named():
    rows = [GOOD, {"worker": "w", "model": "closed"}]
    assert "reported is missing" in " ".join(unreconciled(rows, {"w": 11}, {"w": 4}))


@pytest.fixture(scope="module")
def plan():
    return plan_of([objective("availability", target=0.999)], steady_s=60)


@pytest.fixture
def rows(plan):
    return rows_of(plan)


def found(judgement, name):
    return next(f for f in judgement.validity if f.name == name)


def _closed(run, **counts):
    for row in run.generator:
        row.update(dict.fromkeys(GOOD.keys() - {"worker", "model"}, 0) | counts)
        row["model"] = "closed"
        row["reported"] = row["locust_requests"] = row["sent"]
    return run


def test_a_run_whose_failures_were_lost_is_inconclusive(plan, rows):
    assert found(judge(_closed(synthetic(plan, rows))), "samples").verdict is Verdict.PASS
    run = _closed(synthetic(plan, rows))
    run.generator[3]["locust_failures"] = 106
    judgement = judge(run)
    assert found(judgement, "samples").verdict is Verdict.INCONCLUSIVE
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "Locust counted 106 failed requests, 0 are recorded" in judgement.why


def test_a_task_that_raised_is_a_broken_workload_there_too(plan, rows):
    run = _closed(synthetic(plan, rows))
    run.generator[3]["flow_errors"] = 2
    assert found(judge(run), "workload").verdict is Verdict.INCONCLUSIVE
