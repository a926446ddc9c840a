"""How a changed object says what was done to it: a label to find it by, and an annotation with the
whole undo record, written in the same step as the change. So a fault can be taken back from the
cluster alone, when the ledger is lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, Json, KubernetesError

RUN_LABEL = "stormgate.dev/run"
UNDO = "stormgate.dev/undo-"
MANAGED = "app.kubernetes.io/managed-by"
_TRIES, _AGAIN_S = 12, 0.02

Steps = list[dict[str, Any]]


class VanishedError(Exception):
    """The object is not there any more, or another one has its name (`replaced`)."""

    def __init__(self, words: str, *, replaced: bool) -> None:
        super().__init__(words)
        self.replaced = replaced


def mark_steps(found: Json, record: Json) -> Steps:
    """The steps of a JSON patch that mark an object with the record of what is done to it."""
    notes = json.dumps(dict(record), sort_keys=True, separators=(",", ":"))
    return [
        *_put(found, "annotations", UNDO + str(record["token"]), notes),
        *_put(found, "labels", RUN_LABEL, str(record["run"])),
    ]


def unmark_steps(found: Json, record: Json) -> Steps:
    """The steps that take our mark away again; the label stays while another fault is on it."""
    own = UNDO + str(record["token"])
    notes = notes_of(found)
    steps: Steps = []
    if own in notes:
        steps.append({"op": "remove", "path": pointer("metadata", "annotations", own)})
    others = [name for name in notes if name.startswith(UNDO) and name != own]
    if not others and RUN_LABEL in (found["metadata"].get("labels") or {}):
        steps.append({"op": "remove", "path": pointer("metadata", "labels", RUN_LABEL)})
    return steps


def is_marked(found: Json, record: Json) -> bool:
    """Whether the object still carries our mark."""
    return UNDO + str(record["token"]) in notes_of(found)


def records(found: Json) -> list[dict[str, Any]]:
    """Every undo record an object carries; what cannot be read raises ValueError."""
    notes = notes_of(found)
    read = [json.loads(text) for name, text in sorted(notes.items()) if name.startswith(UNDO)]
    if not all(isinstance(one, dict) for one in read):
        raise ValueError("an undo annotation that holds no record")
    return read


def notes_of(found: Json) -> Mapping[str, str]:
    """The annotations of an object, none being none."""
    return found["metadata"].get("annotations") or {}


def made(name: str, record: Json) -> dict[str, Any]:
    """The metadata of an object that a fault makes, and whose deletion undoes it."""
    return {
        "name": name,
        "labels": {RUN_LABEL: str(record["run"]), MANAGED: "stormgate"},
        "annotations": {
            UNDO + str(record["token"]): json.dumps(
                dict(record), sort_keys=True, separators=(",", ":")
            )
        },
    }


def pointer(*steps: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def same(cluster: Cluster, where: Json) -> dict[str, Any]:
    """The very object a record names, by its uid. Raises VanishedError, KubernetesError."""
    name = f"{where['resource']}/{where['name']}"
    found = cluster.find(str(where["resource"]), where["ns"], str(where["name"]))
    if found is None:
        raise VanishedError(f"{name} is gone: somebody deleted it", replaced=False)
    if found["metadata"]["uid"] != where["uid"]:
        raise VanishedError(
            f"{name} is another one now (uid {found['metadata']['uid']}): somebody replaced it",
            replaced=True,
        )
    return found


def change(
    cluster: Cluster,
    where: Json,
    steps_for: Callable[[dict[str, Any]], Steps],
    *,
    part: str = "",
) -> dict[str, Any]:
    """Change the very object a record names (or a subresource of it, its `part`), in one step:
    `steps_for` says how, given what it is now, and is asked again when somebody else changed it in
    between. No steps: nothing is sent.
    Raises VanishedError, KubernetesError, and whatever `steps_for` raises.
    """
    for left in range(_TRIES - 1, -1, -1):
        found = same(cluster, where)
        steps = steps_for(found)
        if not steps:
            return found
        held = [
            {"op": "test", "path": "/metadata/uid", "value": where["uid"]},
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": found["metadata"]["resourceVersion"],
            },
        ]
        try:
            resource = f"{where['resource']}{f'/{part}' if part else ''}"
            return cluster.patch(resource, where["ns"], str(where["name"]), [*held, *steps])
        except KubernetesError as error:
            if error.status not in (409, 422) or not left:
                raise
            if same(cluster, where)["metadata"]["resourceVersion"] == held[1]["value"]:
                raise  # nobody changed it: the server refuses what we ask
            time.sleep(_AGAIN_S)
    raise AssertionError("the last try returns or raises")


def put_back(cluster: Cluster, where: Json, steps_for: Callable[[dict[str, Any]], Steps]) -> None:
    """As `change`, to take a fault back: another object of that name has nothing of ours. Raises
    VanishedError for one that is gone, KubernetesError.
    """
    try:
        change(cluster, where, steps_for)
    except VanishedError as error:
        if not error.replaced:
            raise


def _put(found: Json, kind: str, key: str, value: str) -> Steps:
    held = found["metadata"].get(kind)
    if held is None:
        return [{"op": "add", "path": pointer("metadata", kind), "value": {key: value}}]
    return [{"op": "add", "path": pointer("metadata", kind, key), "value": value}]
