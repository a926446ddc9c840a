"""Experiments of the Fault Injection Service: any template, as long as it cannot succeed over
nothing. Its actions end by themselves, or when it is stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import TAG, Family, Wanted, words
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import TemplateTags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotWhole

_OVER = {"completed", "stopped", "failed", "cancelled"}


class Fis(Family):
    """`ids` is one experiment template."""

    service = "fis"
    clients = ("sts", "fis")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {"run": Parameters, "crash": Parameters}
    permissions = (
        "fis:GetExperimentTemplate",
        "fis:ListExperiments",
        "fis:ListExperimentResolvedTargets",
        "fis:StartExperiment",
        "fis:StopExperiment",
        "fis:TagResource",
    )
    cost = "each action is paid by the minute"
    tags = TemplateTags()

    def plan(self, wanted: Wanted) -> Record:
        name = wanted.ids[0]
        try:
            answer = wanted.place.call("fis", "get_experiment_template", id=name)
        except AwsError as error:
            if error.vanished:
                raise wanted.nothing() from error
            raise
        template = answer["experimentTemplate"]
        mode = (template.get("experimentOptions") or {}).get("emptyTargetResolutionMode")
        if mode != "fail":
            raise CannotBreak(
                f"{wanted.name}: template {name} succeeds over nothing: set its experimentOptions' "
                f"emptyTargetResolutionMode to fail (it is {mode or 'not said'})"
            )
        used = sorted(
            {
                str(target)
                for action in (template.get("actions") or {}).values()
                for target in (action.get("targets") or {}).values()
            }
        )
        if not used:
            raise CannotBreak(f"{wanted.name}: no action of template {name} has a target")
        running = [one for one in _experiments(wanted.place, name) if _status(one) not in _OVER]
        if running:
            raise NotWhole(f"{wanted.name}: {running[0]['id']} of this template runs already")
        arn = _arn(wanted.place, name)
        record = {"mode": wanted.mode, "template": name, "arn": arn, "used": used}
        return {**record, "token": wanted.token}

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        given = {
            "clientToken": f"stormgate-{record['token']}",
            "experimentTemplateId": record["template"],
            "tags": {TAG: record["token"]},
        }
        place.call("fis", "start_experiment", within_s=20, **given)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        for one in _ours(place, record):
            if _status(one) not in _OVER | {"stopping"}:
                place.call("fis", "stop_experiment", within_s=timeout_s, id=one["id"])

    def in_effect(self, place: Place, record: Record) -> Observation:
        ours = _ours(place, record)
        if not ours:
            return Observation(False, "no experiment of ours is there")
        name = str(ours[0]["id"])
        state = place.call("fis", "get_experiment", id=name)["experiment"]["state"]
        if state["status"] != "running":
            return Observation(False, f"it is {state['status']}: {state.get('reason') or ''}")
        counts = dict.fromkeys(record["used"], 0)
        operation, key = "list_experiment_resolved_targets", "resolvedTargets"
        for one in place.pages("fis", operation, key, experimentId=name):
            counts[str(one["targetName"])] = counts.get(str(one["targetName"]), 0) + 1
        told = words([f"{target}: {count}" for target, count in counts.items()])
        return Observation(all(counts.values()), f"it runs; targets resolved: {told}")

    def is_whole(self, place: Place, record: Record) -> Observation:
        going = []
        for one in _ours(place, record):
            state = place.call("fis", "get_experiment", id=one["id"])["experiment"]["state"]
            if state["status"] not in _OVER:
                going.append(f"{one['id']} is {state['status']}")
        return Observation(not going, words(going) or "no experiment of ours runs")

    def marked(self, record: Record) -> str | None:
        return None if record.get("arn") is None else str(record["arn"])

    def things(self, place: Place, handle: Mapping[str, Any]) -> Sequence[str]:
        return [_arn(place, str(handle["ids"][0]))]

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        query = f"experiments[?tags.\"{TAG}\"=='{record['token']}'].id"
        asked = place.by_hand("fis", "list-experiments", "--query", query, "--output", "text")
        return [f'{place.by_hand("fis", "stop-experiment")} --id "$({asked})"']


def _arn(place: Place, template: str) -> str:
    partition = "aws-cn" if place.region.startswith("cn-") else "aws"
    return f"arn:{partition}:fis:{place.region}:{place.account}:experiment-template/{template}"


def _experiments(place: Place, template: str) -> list[dict[str, Any]]:
    return [
        one
        for one in place.pages("fis", "list_experiments", "experiments")
        if one.get("experimentTemplateId") == template
    ]


def _ours(place: Place, record: Record) -> list[dict[str, Any]]:
    found = _experiments(place, str(record["template"]))
    return [one for one in found if (one.get("tags") or {}).get(TAG) == record["token"]]


def _status(one: Mapping[str, Any]) -> str:
    return str(one["state"]["status"])
