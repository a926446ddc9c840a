"""Success is PASS alone, failure FAIL and DIRTY alone; nothing breaks out of an annotation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.golden.report_cases import CASES, WAIVED, hostile, plan

from stormgate.model import Attempt, Finding, Release, Verdict
from stormgate.report.published import github_annotations, published, published_json
from stormgate.report.verdict import not_judged_yet


@pytest.mark.parametrize(
    ("verdict", "success", "failure"),
    [
        (Verdict.PASS, True, False),
        (Verdict.FAIL, False, True),
        (Verdict.DIRTY, False, True),
        (Verdict.INCONCLUSIVE, False, False),
        (Verdict.ERROR, False, False),
        (Verdict.ABORTED, False, False),
    ],
)
def test_success_and_failure(verdict: Verdict, success: bool, failure: bool) -> None:
    said = published(CASES[verdict], "run-1")
    assert (said["success"], said["failure"], said["state"]) == (success, failure, verdict.value)
    assert said["exit_code"] == verdict.exit_code


def test_a_waived_failure_ships_and_says_so() -> None:
    said = published(WAIVED, "r")
    assert (said["verdict"], said["success"], said["failure"], said["waived"]) == (
        "FAIL",
        True,
        False,
        True,
    )


def test_before_the_verdict_it_is_running_and_neither() -> None:
    said = published(not_judged_yet(plan()), "r")
    assert (said["state"], said["success"], said["failure"]) == ("RUNNING", False, False)


def test_the_release_and_the_attempt_are_in_it() -> None:
    judgement = replace(
        CASES[Verdict.PASS],
        release=Release(name="1.2", commit="abc"),
        short=("phases.steady=20s",),
        attempts=(Attempt(folder="f", verdict="INCONCLUSIVE", why="generator late"),),
    )
    said = json.loads(published_json(judgement, "r"))
    assert (said["release"], said["commit"], said["attempt"]) == ("1.2", "abc", 2)
    assert said["short"] == ["phases.steady=20s"]


def test_annotations_begin_with_the_verdict_and_name_file_and_line() -> None:
    lines = github_annotations(CASES[Verdict.FAIL])
    assert lines[0].startswith("::error title=stormgate")
    failed = next(f for f in CASES[Verdict.FAIL].objectives if f.verdict is Verdict.FAIL)
    file, _, line = failed.source.rpartition(":")
    assert f"file={file},line={line}" in lines[1]
    assert github_annotations(CASES[Verdict.PASS])[0].startswith("::notice ")
    assert github_annotations(CASES[Verdict.INCONCLUSIVE])[0].startswith("::warning ")


def test_a_hostile_name_cannot_begin_another_command() -> None:
    for line in github_annotations(hostile()):
        assert "\n" not in line
        assert "\r" not in line
        level, _, rest = line.removeprefix("::").partition(" ")
        assert level in {"error", "warning", "notice"}
        fields, _, _ = rest.partition("::")
        assert all("=" in field for field in fields.split(","))


def test_not_more_than_github_shows() -> None:
    failing = Finding(
        name="o", kind="availability", verdict=Verdict.FAIL, value=None, bound=None, limit=None,
        unit="", samples=0, why="w",
    )  # fmt: skip
    many = replace(CASES[Verdict.FAIL], objectives=(failing,) * 50)
    assert len(github_annotations(many)) == 10
