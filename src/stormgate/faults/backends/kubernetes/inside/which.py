"""Which container of a pod is meant, and what its node says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.pods import noted
from stormgate.faults.backends.kubernetes.ways import Site
from stormgate.faults.errors import CannotBreak, NotWhole

_DEFAULT = "kubectl.kubernetes.io/default-container"


def in_container(site: Site, pod: Json) -> dict[str, Any]:
    """What a record holds of a pod and the container in it that is meant. Raises CannotBreak where
    nobody says which, NotWhole where it does not run.
    """
    there = [one["name"] for one in pod["spec"]["containers"]]
    notes = pod["metadata"].get("annotations") or {}
    said = site.handle.get("container") or notes.get(_DEFAULT)
    name, about = said or there[0], noted(pod)
    if name not in there or (len(there) > 1 and not said):
        raise CannotBreak(
            f"{site.part.name}: {about['name']} has containers {', '.join(there)}: name one of "
            "them (handle.container)"
        )
    status = container_status(pod, name)
    if not status.get("containerID"):
        raise NotWhole(f"{site.part.name}: {about['name']}: no container {name} runs")
    return {
        **about,
        "container": name,
        "container_id": status["containerID"],
        "restarts": int(status.get("restartCount", 0)),
    }


def container_status(pod: Json, name: str) -> Mapping[str, Any]:
    """What the node says of a container; nothing where it says nothing."""
    every = (pod.get("status") or {}).get("containerStatuses") or []
    return next((one for one in every if one.get("name") == name), {})
