"""Which release is on trial: as the command line says, else as the pipeline around it does."""

from __future__ import annotations

from collections.abc import Mapping

from stormgate.model import Release


def release_of(name: str | None, commit: str | None, env: Mapping[str, str]) -> Release:
    """The release from the flags, from STORMGATE_RELEASE and STORMGATE_COMMIT, or from the
    variables that GitHub Actions, GitLab CI and Jenkins set. Empty when nobody says.
    """
    around = _pipeline(env)
    own_name = name or env.get("STORMGATE_RELEASE", "")
    own_commit = commit or env.get("STORMGATE_COMMIT", "")
    if not own_name and not own_commit:
        return around
    told_by = "the command line" if name or commit else "the environment"
    return Release(
        name=own_name or around.name,
        commit=own_commit or around.commit,
        told_by=told_by,
        pipeline=around.pipeline,
    )


def _pipeline(env: Mapping[str, str]) -> Release:
    if env.get("GITHUB_ACTIONS") == "true":
        at = (env.get("GITHUB_SERVER_URL"), env.get("GITHUB_REPOSITORY"), env.get("GITHUB_RUN_ID"))
        return Release(
            name=env.get("GITHUB_REF_NAME", ""),
            commit=env.get("GITHUB_SHA", ""),
            told_by="GitHub Actions",
            pipeline=f"{at[0]}/{at[1]}/actions/runs/{at[2]}" if all(at) else "",
        )
    if env.get("GITLAB_CI") == "true":
        return Release(
            name=env.get("CI_COMMIT_TAG") or env.get("CI_COMMIT_REF_NAME", ""),
            commit=env.get("CI_COMMIT_SHA", ""),
            told_by="GitLab CI",
            pipeline=env.get("CI_PIPELINE_URL", ""),
        )
    if env.get("JENKINS_URL"):
        return Release(
            name=env.get("TAG_NAME") or env.get("BRANCH_NAME") or env.get("GIT_BRANCH", ""),
            commit=env.get("GIT_COMMIT", ""),
            told_by="Jenkins",
            pipeline=env.get("BUILD_URL", ""),
        )
    return Release()
