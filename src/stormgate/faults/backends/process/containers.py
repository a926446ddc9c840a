"""Processes that run in containers of Docker, broken by its own command line: nothing here needs to
signal the container's processes itself, which another user, or another machine's kernel, may own.

`docker kill` is the crash, `docker pause` (the freezer of its cgroup) the freeze, `docker stop` the
stop; `docker unpause` and `docker start` take them back. A container is told from its successor by
its id and the time it was started.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stormgate.faults.backends.process.naming import ask
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.system.commands import run_command

STATE = (
    "{{.Id}} {{.State.Running}} {{.State.Paused}} {{.State.StartedAt}} {{.HostConfig.AutoRemove}}"
)
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_APPLY_S = 30.0


@dataclass(frozen=True, slots=True)
class Container:
    """One look at a container."""

    id: str
    running: bool
    paused: bool
    started_at: str
    auto_remove: bool

    @property
    def short(self) -> str:
        """Its id as Docker shows it."""
        return self.id[:12]


def is_container(handle: Mapping[str, Any]) -> bool:
    """Whether a handle names its process by a container."""
    return bool(handle.get("docker") or handle.get("compose"))


def host(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The machine whose daemon the command line asks, where it is not this one."""
    parts = urlsplit(environment.get("DOCKER_HOST", ""))
    return (parts.hostname,) if parts.scheme in {"tcp", "ssh", "http"} and parts.hostname else ()


def look(handle: Mapping[str, Any]) -> list[Container]:
    """The containers that a handle names, as they are now. Raises NotWhole with the reason when
    there are none or Docker does not say.
    """
    if name := handle.get("docker"):
        return [state_of(str(name))]
    service, project = str(handle["compose"]), handle.get("project")
    argv = ["docker", "ps", "--all", "--no-trunc", "--filter", f"label={_SERVICE}={service}"]
    if project:
        argv += ["--filter", f"label={_PROJECT}={project}"]
    code, said = ask([*argv, "--format", f'{{{{.ID}}}} {{{{.Label "{_PROJECT}"}}}}'])
    if code != 0:
        raise NotWhole(f"compose service {service}: {said}")
    rows = [line.split(" ", 1) for line in said.splitlines()]
    projects = sorted({row[1] for row in rows if len(row) > 1})
    if len(projects) > 1:
        raise NotWhole(
            f"compose service {service} is in projects {', '.join(projects)}: say which: "
            "project: NAME"
        )
    if not rows:
        raise NotWhole(f"there is no container of compose service {service}")
    return [state_of(row[0]) for row in rows]


def state_of(name: str) -> Container:
    """One container. Raises NotWhole."""
    code, said = ask(["docker", "inspect", "--type", "container", "--format", STATE, name])
    words = said.split()
    if code != 0 or len(words) != 5:
        raise NotWhole(f"container {name}: {said or 'Docker says nothing of it'}")
    return Container(words[0], words[1] == "true", words[2] == "true", words[3], words[4] == "true")


def healthy(handle: Mapping[str, Any]) -> list[Container]:
    """Those to be broken. Raises NotWhole for one that does not run, CannotBreak for one that could
    not be brought back.
    """
    found = look(handle)
    for one in found:
        if not one.running or one.paused:
            what = "is paused" if one.paused else "does not run"
            raise NotWhole(f"container {one.short} {what} before the fault")
        if one.auto_remove and not handle.get("start"):
            raise CannotBreak(
                f"container {one.short} was run with --rm: it would be gone for good; add `start`, "
                "which makes it again"
            )
    return found


def apply(record: Mapping[str, Any], stop: threading.Event) -> None:
    """Break the containers of a record. Raises NotApplied."""
    ids = [str(one[0]) for one in record["containers"]]
    grace_s = float(record["grace_s"])
    argv = {
        "crash": ["docker", "kill", *ids],
        "freeze": ["docker", "pause", *ids],
        "stop": ["docker", "stop", "-t", str(round(grace_s)), *ids],
    }[str(record["mode"])]
    ended = run_command(argv, _APPLY_S + grace_s, stop=stop)
    if ended.code != 0:
        raise NotApplied(f"`{' '.join(argv[:2])}`: {ended.said}")


def undo(handle: Mapping[str, Any], timeout_s: float) -> None:
    """Bring back all that the handle names. Idempotent. Raises UndoFailed."""
    try:
        found = look(handle)
    except NotWhole as error:
        if not handle.get("start"):
            raise UndoFailed(str(error)) from error
        _run([str(word) for word in handle["start"]], timeout_s)
        return
    if paused := [one.id for one in found if one.paused]:
        _run(["docker", "unpause", *paused], timeout_s)
    if ended := [one.id for one in found if not one.running]:
        own = [str(word) for word in handle.get("start") or ()]
        _run(own or ["docker", "start", *ended], timeout_s)


def _run(argv: list[str], timeout_s: float) -> None:
    ended = run_command(argv, max(timeout_s, 0.1))
    if ended.code != 0:
        raise UndoFailed(f"`{' '.join(argv)}`: {ended.said}")


def in_effect(record: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether each container of the record is as the fault left it, and what was seen."""
    said = ""
    for name, started_at in record["containers"]:
        try:
            now = state_of(str(name))
        except NotWhole as error:
            if record["mode"] == "freeze" or "No such" not in str(error):
                return False, str(error)
            said = f"container {str(name)[:12]} is gone"
            continue
        if now.started_at != started_at:
            return False, f"container {now.short} was started again at {now.started_at}"
        if record["mode"] == "freeze":
            if not (now.running and now.paused):
                return False, f"container {now.short} is not paused"
            said = f"container {now.short} is paused"
        elif now.running:
            return False, f"container {now.short} runs"
        else:
            said = f"container {now.short} does not run"
    return True, said


def whole(handle: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether all that the handle names runs, and what was seen."""
    try:
        found = look(handle)
    except NotWhole as error:
        return False, str(error)
    for one in found:
        if not one.running or one.paused:
            what = "is paused" if one.paused else "does not run"
            return False, f"container {one.short} {what}"
    return True, f"container {', '.join(one.short for one in found)} runs"
