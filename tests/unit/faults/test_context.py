"""What the chaos side acts on: one clear message when there is nothing, and no packet to a
stranger.
"""

import json
from dataclasses import replace

import pytest

from stormgate.faults import backends
from stormgate.faults.context import from_environment, make_context
from stormgate.faults.errors import CannotBreak, NoTarget
from stormgate.model import Component, Observe, Target, to_json


def target(address="127.0.0.1:1", allow=("127.0.0.0/8",), backend="toxiproxy", **handle):
    observe = Observe(protocol="http", address=address)
    return Target(
        name="t",
        allow=allow,
        components=(
            Component(name="x", kind="x", backend=backend, observe=observe, handle=handle),
        ),
    )


def test_no_target_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoTarget, match=r"stormgate use TARGET.*stormgate lab up.*STORMGATE_PLAN"):
        from_environment({})


@pytest.mark.parametrize(
    ("variable", "content", "says"),
    [
        ("STORMGATE_PLAN", None, "No such file"),
        ("STORMGATE_PLAN", "{", "not a plan"),
        ("STORMGATE_TARGET", "{}", "not a target"),
        ("STORMGATE_TARGET", json.dumps(to_json(target())), "no such run folder"),
    ],
)
def test_a_wrong_environment_is_one_line(tmp_path, variable, content, says):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NoTarget, match=says) as error:
        from_environment({variable: str(path), "STORMGATE_EVIDENCE": str(tmp_path / "none")})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "stranger"),
    [
        (target(), None),
        (target("localhost:1"), None),
        (target("[::1]:5", allow=("::1/128",)), None),
        (target("db.example:5432", allow=("db.example",)), None),
        (target("10.0.0.1:1"), "10.0.0.1"),
        (target("db.example:5432"), "db.example"),
        (target(url="http://192.0.2.1:8474"), "192.0.2.1"),
        (target(url="http://127.0.0.1:8474"), None),
        (target("127.0.0.1.evil.example:80"), "evil"),
    ],
)
def test_only_what_the_target_allows_may_be_contacted(tmp_path, given, stranger):
    if stranger is None:
        make_context(given, tmp_path, fault="f", seed=1)
        return
    with pytest.raises(NoTarget, match=stranger):
        make_context(given, tmp_path, fault="f", seed=1)


def test_production_is_not_broken_by_hand_without_saying_so(tmp_path):
    path = tmp_path / "target.json"
    path.write_text(json.dumps(to_json(replace(target(), environment="production"))))
    env = {"STORMGATE_TARGET": str(path), "STORMGATE_EVIDENCE": str(tmp_path)}
    with pytest.raises(NoTarget, match="STORMGATE_ALLOW_PRODUCTION"):
        from_environment(env)
    assert (
        from_environment({**env, "STORMGATE_ALLOW_PRODUCTION": "1"}).target.environment
        == "production"
    )


def test_backends_are_found_by_being_there():
    assert {"command", "group", "load", "process", "toxiproxy"} <= set(backends.names())
    with pytest.raises(
        CannotBreak, match=rf"no backend 'gcp' .there are {', '.join(backends.names())}"
    ):
        backends.get("gcp")
