"""What a Locust file can be refused for before anything starts."""

import dataclasses
from pathlib import Path

import pytest
from tests.golden.judge_writer import objective, plan_of

from stormgate.documents.problems import Problem
from stormgate.model import Population
from stormgate.supervise.preflight import empty_cells, enough_users, found_problems


class At:
    def problem(self, key, message, fix):
        return Problem("gate.yaml", 7, f"{key}: {message}", fix)


def plan(**load):
    made = plan_of([objective("availability", target=0.9)], steady_s=60)
    return dataclasses.replace(made, load=dataclasses.replace(made.load, **load))


def user(name="Reader", tasks=1, tags=(), wanted=True):
    return {"name": name, "stream": True, "tasks": tasks, "tags": list(tags), "wanted": wanted}


READER = {"classes": [user()], "counts": {"Reader": 5}}


@pytest.mark.parametrize(
    ("found", "load", "told"),
    [
        (READER, {}, None),
        ({"problem": {"file": "a.py", "line": 3, "message": "TypeError: x"}}, {}, "a.py:3: Type"),
        ({"classes": []}, {}, "it has no user class"),
        (READER, {"tags": ("nosuch",)}, "gate.yaml:7: tags: no task of"),
        (
            {"classes": [user(tags=["read"])], "counts": {"Reader": 5}},
            {"tags": ("raed",)},
            "'read'",
        ),
        (
            {
                "classes": [user(tags=["a"]), user("Writer", 0)],
                "counts": {"Reader": 1, "Writer": 1},
            },
            {"tags": ("a",)},
            "tags a leave Writer without a task",
        ),
        ({"classes": [user(tasks=0)], "counts": {"Reader": 1}}, {}, "Reader has no flow and no"),
        (
            {"classes": [user(), user("Writer")], "counts": {"Reader": 5, "Writer": 0}},
            {"users": 5},
            "users: 5 users leave none for Writer (Reader 5, Writer 0)",
        ),
        (
            {"classes": [user(), user("Never", wanted=False)], "counts": {"Reader": 5, "Never": 0}},
            {},
            None,
        ),
        (
            READER | {"shape": {"name": "Day", "points": [[0, 1]], "ends_s": 60.0}},
            {},
            "shape Day ends after 60 s, the phases take at least",
        ),
        (READER | {"shape": {"name": "Day", "points": [[0, 1]], "ends_s": None}}, {}, None),
        (READER | {"shape": {"name": "Day", "points": [], "why": "it looks"}}, {}, None),
    ],
)
def test_problems_are_named_where_they_stand(found, load, told):
    problems = found_problems(plan(**load), found, At(), Path("."))
    if told is None:
        assert problems == []
    else:
        assert any(told in str(problem) for problem in problems)


def populations(*shares):
    return tuple(
        Population(name=f"p{number}", share=share, latitude=0, longitude=0)
        for number, share in enumerate(shares)
    )


def test_two_populations_and_one_writer_in_ten_take_twenty_users():
    trial = plan()
    halves = dataclasses.replace(trial.target, populations=populations(0.5, 0.5))
    found = [{"weight": 9, "fixed": 0}, {"weight": 1, "fixed": 0}]
    assert enough_users(dataclasses.replace(trial, target=halves), found) == 20
    assert (
        enough_users(dataclasses.replace(trial, target=halves), [*found, {"weight": 0, "fixed": 3}])
        == 23
    )


@pytest.mark.parametrize(
    ("users", "counts", "told"),
    [
        (20, {"Reader": 18, "Writer": 2}, None),
        (10, {"Reader": 9, "Writer": 1}, "users: 10 users leave nobody to be Writer of p1"),
        (2, {"Reader": 1, "Writer": 1}, "nobody to be Reader of p1, Writer of p1"),
        # Whose number is fixed, or who is not wanted, is its owner's affair.
        (21, {"Reader": 18, "Writer": 2, "Probe": 1, "Off": 0}, None),
    ],
)
def test_a_number_of_users_that_leaves_somebody_out_is_refused(users, counts, told):
    trial = plan(users=users)
    halves = dataclasses.replace(trial.target, populations=populations(0.5, 0.5))
    classes = [
        {"name": "Reader", "weight": 9, "fixed": 0, "wanted": True},
        {"name": "Writer", "weight": 1, "fixed": 0, "wanted": True},
        {"name": "Probe", "weight": 0, "fixed": 1, "wanted": True},
        {"name": "Off", "weight": 0, "fixed": 0, "wanted": False},
    ]
    found = {"classes": classes, "counts": counts}
    problems = empty_cells(dataclasses.replace(trial, target=halves), found, At())
    assert (told is None) == (problems == [])
    if told is not None:
        assert told in str(problems[0])
        assert "users: 21" in str(problems[0])


def test_more_populations_than_any_number_serves_are_not_refused():
    trial = plan(users=10)
    many = dataclasses.replace(trial.target, populations=populations(0.99999, 0.00001))
    classes = [{"name": "Reader", "weight": 1, "fixed": 0, "wanted": True}]
    found = {"classes": classes, "counts": {"Reader": 10}}
    assert empty_cells(dataclasses.replace(trial, target=many), found, At()) == []
