"""Building the real server into our cache: once, whole or not at all, and never without an end.

The compiler is a script here, so that these run anywhere and in no time; that the true one builds
the true server is what the conformance suite stands on.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stormgate.toxiproxy import build, server

pytestmark = pytest.mark.live


def compiler(folder: Path, body: str) -> dict[str, str]:
    """An environment whose `go` runs this shell code; a Python package index is out of reach."""
    (folder / "bin").mkdir(parents=True)
    go = folder / "bin" / "go"
    go.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{body}\n")
    go.chmod(0o755)
    return {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1"}


def builds(folder: Path, version: str = build.VERSION, sleep: str = "0") -> dict[str, str]:
    server_script = f"#!/bin/sh\\necho toxiproxy-server version {version}\\n"
    return compiler(
        folder, f'sleep {sleep}; env > {folder}/env; echo "$@" > {folder}/args\n'
        f'mkdir -p "$GOBIN"; printf "{server_script}" > "$GOBIN/server"; chmod +x "$GOBIN/server"',
    )  # fmt: skip


def left_in_cache(env: dict[str, str]) -> list[str]:
    return sorted(path.name for path in build.cache_path(env).parent.iterdir())


def test_a_build(tmp_path):
    # A user's own settings must neither break nor change what is built.
    env = builds(tmp_path) | {"GOFLAGS": "-mod=vendor", "GOOS": "plan9", "GOWORK": "/x"}
    said = []
    choice = server.ensure_binary(said.append, env)
    assert (choice.kind, choice.path, choice.version) == (
        "binary",
        build.cache_path(env),
        build.VERSION,
    )
    assert "built from source" in said[-1]
    seen = dict(
        line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line
    )
    assert (seen["CGO_ENABLED"], seen["GOFLAGS"], seen["GOWORK"]) == ("0", "-modcacherw", "off")
    assert "GOOS" not in seen
    args = (tmp_path / "args").read_text()
    assert args.startswith("install -trimpath -ldflags")
    assert f"v2.Version={build.VERSION}" in args
    assert args.endswith(f"cmd/server@v{build.VERSION}\n")
    assert left_in_cache(env) == ["toxiproxy-server", "toxiproxy-server.lock"]
    server.ensure_binary(said.append, env)
    assert (tmp_path / "runs").read_text() == "run\n"


def test_two_builds_at_once_are_one(tmp_path):
    env = builds(tmp_path, sleep="0.5")
    code = (
        "from stormgate.toxiproxy import server; print(server.ensure_binary(lambda _: None).kind)"
    )
    child_env = {**env, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=child_env, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in both] == ["binary\n", "binary\n"]
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize("trouble", ["fails", "hangs", "wrong version", "no go"])
def test_what_cannot_be_built_leaves_nothing_and_says_why(tmp_path, trouble, monkeypatch):
    if trouble == "fails":
        env = compiler(tmp_path, "echo 'dial tcp: lookup: no such host' >&2; exit 1")
    elif trouble == "hangs":
        env = compiler(tmp_path, "sleep 61 & sleep 60")
    elif trouble == "wrong version":
        env = builds(tmp_path, version="git")
    else:
        env = compiler(tmp_path, "exit 1")
        (tmp_path / "bin" / "go").unlink()
        env["PATH"] = f"{tmp_path}/bin"
    monkeypatch.setattr(
        build, "_installer", lambda *_: ["/bin/sh", "-c", "echo no index >&2; exit 1"]
    )
    said = []
    begin = time.monotonic()
    if trouble == "hangs":
        with pytest.raises(build.BuildError, match="not done in time"):
            build.build(build.cache_path(env), said.append, env, timeout_s=0.5)
        assert time.monotonic() - begin < 5
    else:
        choice = server.ensure_binary(said.append, env)
        assert choice.kind == "embedded"
        assert "no index" in choice.why
        wanted = {
            "fails": "no such host",
            "wrong version": "says it is 'toxiproxy-server version git'",
        }.get(trouble, "")
        assert any(wanted in line for line in said)
    assert left_in_cache(env) == ["toxiproxy-server.lock"]


def test_a_lock_that_is_never_given_back_is_not_waited_for_for_ever(tmp_path):
    env = builds(tmp_path)
    target = build.cache_path(env)
    target.parent.mkdir(parents=True)
    said = []
    with target.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(build.BuildError, match="another build holds"):
            build.build(target, said.append, env, timeout_s=0.3)
    assert said == ["waiting for another build of toxiproxy-server"]
    build.build(target, said.append, env)
    assert target.exists()
