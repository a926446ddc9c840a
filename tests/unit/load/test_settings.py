"""What a worker takes from a plan, and what it refuses before anything is sent."""

import json

import pytest

from stormgate.load.locust.settings import (
    Settings,
    SettingsError,
    settings_from_host,
    settings_from_plan,
)
from stormgate.model import Load, Plan, Population, Steering, Target, to_json


def population(**more):
    fields = {
        "name": "london",
        "share": 1.0,
        "latitude": 0.0,
        "longitude": 0.0,
        "edges": ("a", "b"),
        "links": {"b": "http://b"},
    }
    return Population(**(fields | more))


def plan(tmp_path, target):
    made = Plan(
        gate="g", seed=5, confidence=0.95, target=target, faults=(), objectives=(), warmup_s=1, steady_s=1, final_s=1,  # noqa: E501
        load=Load(locustfile="x.py", rate_per_s=400, users=200, workers=2),
    )  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(to_json(made)))
    return path


def test_a_plan_says_who_where_and_how_often(tmp_path):
    target = Target(
        name="t",
        populations=(population(),),
        observe={"shard": "x-s"},
        steering=Steering(mode="table", url="http://c"),
    )
    settings = settings_from_plan(plan(tmp_path, target))
    assert (settings.seed, settings.workers, settings.scale) == (5, 2, 2.0)
    assert settings.observe == {"shard": "x-s"}
    assert settings.places()["london"].order == ("b",)  # an edge without a link cannot be dialled
    assert not settings.allow_list().permits("x", "192.0.2.1")


def test_references_are_filled_in_at_the_moment_of_use(tmp_path, monkeypatch):
    monkeypatch.setenv("HOST", "h.test")
    monkeypatch.setenv("KEY", "secret")
    target = Target(
        name="t",
        populations=(population(links={"a": "http://${HOST}:81"}, headers={"X-Key": "k-${KEY}"}),),
    )
    settings = settings_from_plan(plan(tmp_path, target))
    place = settings.places()["london"]
    assert place.current.origin.netloc == "h.test:81"
    assert b"X-Key: k-secret\r\n" in place.current.headers
    monkeypatch.delenv("KEY")
    with pytest.raises(SettingsError, match=r"refers to \$\{KEY\}, which is not set"):
        settings_from_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"links": {}}, "no edge with a link"),
        ({"links": {"a": "a:80"}}, "is not a base URL"),
        ({"edges": ()}, "no edge"),
    ],
)
def test_populations_that_cannot_be_reached_are_refused(change, message):
    with pytest.raises(SettingsError, match=message):
        Settings(populations=(population(**change),)).places()


def test_nowhere_to_send_to_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no host"):
        settings_from_host(None)
    with pytest.raises(SettingsError, match="cannot be read"):
        settings_from_plan(tmp_path / "plan.json")
    with pytest.raises(SettingsError, match="no populations"):
        settings_from_plan(plan(tmp_path, Target(name="t")))
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(SettingsError, match="not a plan"):
        settings_from_plan(tmp_path / "plan.json")
