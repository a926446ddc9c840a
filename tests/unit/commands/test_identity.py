"""Which release was judged: flags win over our variables, those over the pipeline's."""

from __future__ import annotations

import pytest

from stormgate.commands.identity import release_of
from stormgate.model import Release

SHA = "0123456789abcdef0123456789abcdef01234567"
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REF_NAME": "v1.4.2",
    "GITHUB_SHA": SHA,
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_REPOSITORY": "a/b",
    "GITHUB_RUN_ID": "7",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_COMMIT_REF_NAME": "main",
    "CI_COMMIT_SHA": SHA,
    "CI_PIPELINE_URL": "u",
}
JENKINS = {"JENKINS_URL": "http://j", "GIT_COMMIT": SHA, "BRANCH_NAME": "main", "BUILD_URL": "b"}


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, Release()),
        (
            GITHUB,
            Release(
                name="v1.4.2",
                commit=SHA,
                told_by="GitHub Actions",
                pipeline="https://git.example/a/b/actions/runs/7",
            ),
        ),
        (GITLAB, Release(name="main", commit=SHA, told_by="GitLab CI", pipeline="u")),
        (
            {**GITLAB, "CI_COMMIT_TAG": "v2"},
            Release(name="v2", commit=SHA, told_by="GitLab CI", pipeline="u"),
        ),
        (JENKINS, Release(name="main", commit=SHA, told_by="Jenkins", pipeline="b")),
        (
            {**JENKINS, "STORMGATE_RELEASE": "r"},
            Release(name="r", commit=SHA, told_by="the environment", pipeline="b"),
        ),
    ],
)
def test_the_pipeline_says(env: dict[str, str], wanted: Release) -> None:
    assert release_of(None, None, env) == wanted


def test_flags_win() -> None:
    said = release_of("9.9", None, GITHUB)
    assert (said.name, said.commit, said.told_by) == ("9.9", SHA, "the command line")


@pytest.mark.parametrize(
    ("release", "text"),
    [
        (Release(), ""),
        (Release(name="1.2"), "1.2"),
        (Release(commit=SHA), "0123456789ab"),
        (Release(name="1.2", commit=SHA), "1.2 (0123456789ab)"),
    ],
)
def test_as_people_say_it(release: Release, text: str) -> None:
    assert release.text == text
    assert bool(release) is bool(text)
