"""Functions: reserved concurrency 0, so that every invocation is throttled."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import Family, Wanted
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import FunctionTags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import NotWhole


class Functions(Family):
    """`ids` is one function's name or ARN."""

    service = "lambda"
    clients = ("sts", "lambda")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "throttle": Parameters,
        "crash": Parameters,
    }
    permissions = (
        "lambda:GetFunction",
        "lambda:GetFunctionConcurrency",
        "lambda:PutFunctionConcurrency",
        "lambda:DeleteFunctionConcurrency",
    )
    tags = FunctionTags()

    def plan(self, wanted: Wanted) -> Record:
        name = wanted.ids[0]
        arn = _arn(wanted.place, name)
        if arn is None:
            raise wanted.nothing()
        prior = _reserved(wanted.place, name)
        if prior == 0:
            raise NotWhole(f"{wanted.name}: {name} is throttled already (it reserves 0)")
        return {"mode": wanted.mode, "function": name, "arn": arn, "prior": prior}

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        _reserve(place, str(record["function"]), 0, 20)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        name, prior = str(record["function"]), record["prior"]
        if _reserved(place, name) != 0:
            return  # never applied, or somebody has set another value since
        if prior is None:
            given = {"FunctionName": name}
            place.call("lambda", "delete_function_concurrency", within_s=timeout_s, **given)
        else:
            _reserve(place, name, int(prior), timeout_s)

    def in_effect(self, place: Place, record: Record) -> Observation:
        now = _reserved(place, str(record["function"]))
        return Observation(now == 0, _told(now))

    def is_whole(self, place: Place, record: Record) -> Observation:
        now = _reserved(place, str(record["function"]))
        return Observation(
            now == record["prior"], f"{_told(now)}, before: {_told(record['prior'])}"
        )

    def marked(self, record: Record) -> str | None:
        return None if record.get("arn") is None else str(record["arn"])

    def things(self, place: Place, handle: Mapping[str, Any]) -> Sequence[str]:
        found = _arn(place, str(handle["ids"][0]))
        return [] if found is None else [found]

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        named = ("--function-name", str(record["function"]))
        if record["prior"] is None:
            return [place.by_hand("lambda", "delete-function-concurrency", *named)]
        prior = ("--reserved-concurrent-executions", str(record["prior"]))
        return [place.by_hand("lambda", "put-function-concurrency", *named, *prior)]


def _arn(place: Place, name: str) -> str | None:
    """The function's own ARN; None where there is no such function."""
    try:
        found = place.call("lambda", "get_function", FunctionName=name)
    except AwsError as error:
        if error.vanished:
            return None
        raise
    # That of a version or an alias has one word more, and no tags.
    return ":".join(str(found["Configuration"]["FunctionArn"]).split(":")[:7])


def _reserved(place: Place, name: str) -> int | None:
    """What it reserves; None for nothing of its own, which is not 0."""
    answer = place.call("lambda", "get_function_concurrency", FunctionName=name)
    found = answer.get("ReservedConcurrentExecutions")
    return None if found is None else int(found)


def _reserve(place: Place, name: str, count: int, within_s: float) -> None:
    given = {"FunctionName": name, "ReservedConcurrentExecutions": count}
    place.call("lambda", "put_function_concurrency", within_s=within_s, **given)


def _told(reserved: int | None) -> str:
    return "it reserves nothing" if reserved is None else f"it reserves {reserved}"
