"""Whose an account's region is, from several machines: the lease against a store of parameters that
makes one only where there is none of its name, as AWS does.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.faults.aws_answers import ACCOUNT, Answer, Script, answer_json, scripted

from stormgate.faults.backends.aws import lock, session
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.errors import CannotBreak
from stormgate.faults.state import ProcessOwner

HERE = ProcessOwner.this()
AWAY = replace(HERE, boot="another", machine="another/elsewhere")


class Parameters:
    """By name: what stands in it, and when that was written, s."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, float]] = {}

    def answer(self, given: dict[str, Any]) -> Answer:
        name = str(given.get("Name"))
        if "Path" in given:
            rows = [
                {"Name": key, "Type": "String", "Value": value, "LastModifiedDate": at_s}
                for key, (value, at_s) in self.made.items()
            ]
            return answer_json({"Parameters": rows})
        if "Value" not in given:
            self.made.pop(name, None)
            return answer_json({})
        if name in self.made and not given["Overwrite"]:
            return answer_json({"__type": "ParameterAlreadyExists", "message": "there"}, 400)
        self.made[name] = (str(given["Value"]), time.time())
        return answer_json({"Version": 1})

    def of(self, owner: ProcessOwner, run: str = "", number: int = 1, age_s: float = 0) -> None:
        value = json.dumps({"owner": owner.to_dict(), "run": run})
        self.made[f"{lock.PATH}/{number}"] = (value, time.time() - age_s)

    @property
    def numbers(self) -> list[str]:
        return sorted(name.rpartition("/")[2] for name in self.made)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-key")
    monkeypatch.setenv("STORMGATE_EVIDENCE", "/runs/one")
    session.forget_sessions()
    with scripted() as made:
        yield made
        lock.give_all_back()
    session.forget_sessions()


@pytest.fixture
def parameters(script: Script) -> Parameters:
    made = Parameters()
    script.on["POST /"] = made.answer
    return made


def place(script: Script) -> Place:
    return Place(ACCOUNT, "eu-west-1", None, script.url)


def test_it_is_held_from_the_first_fault_to_the_last(script, parameters):
    here = place(script)
    for token in ("a", "b"):
        lock.hold(here, token)
    assert parameters.numbers == ["1"]
    assert lock.living_holder(here) is None, "it is this run's own"
    lock.let_go(here, "a")
    assert parameters.numbers == ["1"]
    lock.let_go(here, "b")
    assert parameters.numbers == []
    lock.let_go(here, "b")


@pytest.mark.parametrize(
    ("owner", "run", "age_s", "taken"),
    [
        (AWAY, "/runs/other", 0, False),
        (AWAY, "/runs/one", 0, False),  # a folder's name says nothing of another machine
        (AWAY, "/runs/other", 600, True),
        (HERE, "/runs/other", 600, True),  # this very process
        (replace(HERE, pid=1, start_ticks=HERE.start_ticks + 1), "/runs/other", 0, True),  # dead
        (replace(HERE, pid_ns="a container's"), "/runs/other", 0, False),
        (replace(HERE, pid_ns="a container's"), "/runs/one", 0, True),  # of this run
    ],
)
def test_whose_lease_keeps_others_out(script, parameters, owner, run, age_s, taken):
    parameters.of(owner, run, age_s=age_s)
    if not taken:
        with pytest.raises(CannotBreak, match=r"eu-west-1 is in use by process \d+ on .*/lease/1"):
            lock.hold(place(script), "token")
        assert parameters.numbers == ["1"]
        return
    lock.hold(place(script), "token")
    assert parameters.numbers == ["1", "2"]
    lock.let_go(place(script), "token")
    assert parameters.numbers == ["1"], "a number below is nobody's to make anew"


def test_what_cannot_be_read_is_held_until_nobody_has_renewed_it(script, parameters):
    parameters.made[f"{lock.PATH}/1"] = ("not a lease", time.time())
    with pytest.raises(CannotBreak, match="in use by nobody can tell whom"):
        lock.hold(place(script), "token")
    parameters.made[f"{lock.PATH}/1"] = ("not a lease", time.time() - 600)
    lock.hold(place(script), "token")
    assert parameters.numbers == ["1", "2"]


def test_who_is_first_between_the_look_and_the_making_has_it(script, parameters):
    """The list is old, as AWS's may be: it shows nobody."""
    parameters.of(AWAY)
    stale = [True, True, True]

    def answer(given: dict[str, Any]) -> Answer:
        if "Path" in given and stale:
            stale.pop()
            return answer_json({"Parameters": []})
        return parameters.answer(given)

    script.on["POST /"] = answer
    with pytest.raises(CannotBreak, match="changes hands too often"):
        lock.hold(place(script), "token")
    with pytest.raises(CannotBreak, match="is in use by"):
        lock.hold(place(script), "token")
    assert parameters.numbers == ["1"]


def test_one_that_came_in_beside_our_own_run_is_yielded_to(script, parameters):
    """Another process of this run gave its number back, and another machine took it meanwhile."""
    parameters.of(replace(HERE, pid_ns="a container's"), "/runs/one")

    def answer(given: dict[str, Any]) -> Answer:
        if "Value" in given:
            parameters.of(AWAY)
        return parameters.answer(given)

    script.on["POST /"] = answer
    with pytest.raises(CannotBreak, match="on elsewhere"):
        lock.hold(place(script), "token")
    assert parameters.numbers == ["1"]


def test_who_could_not_renew_for_too_long_leaves_the_number_to_whoever_took_over(
    script, parameters, monkeypatch
):
    lock.hold(place(script), "token")
    monkeypatch.setattr(lock, "DURATION_S", 0.0)
    lock.let_go(place(script), "token")
    assert parameters.numbers == ["1"]


def test_it_is_renewed_until_it_is_taken_off_by_hand(script, parameters, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.01)
    lock.hold(place(script), "token")
    first = parameters.made[f"{lock.PATH}/1"][1]
    end = time.monotonic() + 20
    while parameters.made[f"{lock.PATH}/1"][1] == first:
        assert time.monotonic() < end
        time.sleep(0.01)
    parameters.of(AWAY)
    asked = len(script.asked)
    while len(script.asked) < asked + 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "elsewhere" in parameters.made[f"{lock.PATH}/1"][0], "it is another's now"


def test_without_the_permission_nobody_can_tell_and_nothing_is_broken(script):
    denied = answer_json({"__type": "AccessDeniedException", "message": "no"}, 400)
    script.on["POST /"] = denied
    with pytest.raises(AwsError, match="check --permissions"):
        lock.hold(place(script), "token")
