"""Break local processes: by signals, the whole tree of each (a postmaster's children serve on when
it alone is stopped), or by Docker where they run in its containers.

A process is named by a pid file, a systemd unit, its command line, a container or a service of
compose. Whatever names it, what is signalled is (pid, start ticks), so a successor of its pid never
is. How it is brought back follows from the name (`systemctl start`, `docker start`), or is the
component's own `start`, which must be idempotent and return when the process answers.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from stormgate.faults.backends import Backend, FaultRequest, Observation, Record
from stormgate.faults.backends.process import containers
from stormgate.faults.backends.process.naming import (
    identity,
    read_pid_file,
    start_of,
    why_none,
)
from stormgate.faults.declared import Argv, CheckRow, Handle, Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.faults.proof import shows, silence_s
from stormgate.model import Component, Target
from stormgate.net.look import look
from stormgate.system.commands import run_command, why_not_runnable
from stormgate.system.processes import alive, signal_if_same, tree

__all__ = ["BACKEND", "ProcessBackend", "ProcessHandle", "Stop", "read_pid_file"]

_LOOK_S = 1.0
# Before a fault there is time: a slow answer on a busy machine is an answer.
_BEFORE_S = 3.0
_DEATH_S = 2.0
_CONTAINER = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


NAMES = ("pid_file", "systemd", "docker", "compose", "match")


class ProcessHandle(Handle):
    """Which process, by one of: `pidFile` (a number on its first line, or {"pid", "start_ticks"}),
    `systemd` (a unit), `docker` (a container), `compose` (a service, with its `project` where
    several have one), `match` (a regular expression for its command line). `start` brings it back,
    and returns when it runs; a unit and a container need none.
    """

    pid_file: str | None = Field(default=None, min_length=1)
    systemd: str | None = Field(default=None, pattern=r"^[A-Za-z0-9@][A-Za-z0-9:_.@\\-]*$")
    docker: str | None = Field(default=None, pattern=_CONTAINER)
    compose: str | None = Field(default=None, pattern=_CONTAINER)
    project: str | None = Field(default=None, pattern=_CONTAINER)
    match: str | None = Field(default=None, min_length=3)
    start: Argv | None = None

    @field_validator("match")
    @classmethod
    def _is_a_pattern(cls, match: str | None) -> str | None:
        try:
            re.compile(match or "")
        except re.error as error:
            raise ValueError(f"{match!r} is not a regular expression: {error}") from None
        return match

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        named = [name for name in NAMES if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(
                "a process has one of pidFile, systemd, docker, compose and match"
                + (f", not {' and '.join(named)}" if named else "")
            )
        if self.start is None and named[0] in {"pid_file", "match"}:
            raise ValueError("start is missing: without it the process could not be brought back")
        if self.project is not None and self.compose is None:
            raise ValueError("project belongs to compose")
        return self


class Stop(Parameters):
    """How long it may take to end after SIGTERM before it is killed, s."""

    grace_s: float = Field(default=5.0, ge=0, le=600)


class ProcessBackend(Backend):
    """See the module."""

    handle = ProcessHandle
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "crash": Parameters,
        "freeze": Parameters,
        "stop": Stop,
    }
    undo_stage = 1

    def are_gone(self, parts: Sequence[Component]) -> bool:
        if any(containers.is_container(part.handle) for part in parts):
            return False  # a daemon that does not answer is no container that is gone
        return all(identity(part) is None for part in parts)

    def hosts(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        return containers.host() if containers.is_container(handle) else ()

    def programs(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        if containers.is_container(handle):
            return ("docker",)
        return ("systemctl",) if handle.get("systemd") else ()

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        if containers.is_container(part.handle):
            rows = [_container_row(part)]
        else:
            found = identity(part)
            if found is None:
                fix = "start it, or correct how its handle names it"
                rows = [CheckRow("process", False, why_none(part), fix)]
            else:
                rows = [CheckRow("process", True, f"process {found[0]} runs")]
                if modes:
                    rows.append(_may_signal(found))
        argv = start_of(part.handle)
        if argv:
            why = why_not_runnable(argv)
            fix = "correct its `start`, which brings the process back"
            rows.append(CheckRow("start", why is None, why or " ".join(argv), fix))
        return rows

    def plan(self, request: FaultRequest) -> Record:
        part = request.part
        if containers.is_container(part.handle):
            found = containers.healthy(part.handle)
            record: dict[str, Any] = {"containers": [[one.id, one.started_at] for one in found]}
        else:
            if not start_of(part.handle):
                raise CannotBreak(
                    f"{part.name}: its handle has no `start`, so it could not be brought back"
                )
            named = identity(part)
            if named is None:
                raise NotWhole(f"{part.name}: {why_none(part)}")
            record = {"pid": named[0], "start_ticks": named[1]}
            record["tree"] = [list(member) for member in tree(*named)]
        before_ms = 0.0
        if part.observe is not None:
            before = look(part.observe, _BEFORE_S)
            if not before.healthy:
                raise NotWhole(
                    f"{part.name}: before the fault it was already {before} at "
                    f"{part.observe.address}"
                )
            before_ms = before.latency_ms
        return {
            **record,
            "mode": request.mode,
            "grace_s": float(request.params.get("grace_s", 5.0)),
            "before_ms": before_ms,
        }

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        if "containers" in record:
            containers.apply(record, stop)
            return
        pid, ticks = int(record["pid"]), int(record["start_ticks"])
        if not alive(pid, ticks):
            raise NotApplied(f"{part.name}: process {pid} ended before it was broken")
        try:
            if record["mode"] == "stop":
                _end_politely(pid, ticks, float(record["grace_s"]), stop)
                return
            members = _stop_tree(pid, ticks)
            if record["mode"] == "crash":
                for member in members:
                    signal_if_same(*member, signal.SIGKILL)
                # The kernel ends each in its own time: a child still dying would serve on, and a
                # listening socket that two processes share is closed only by the last.
                _all_gone(members, _DEATH_S, stop)
        except PermissionError as error:
            raise NotApplied(f"{part.name}: not allowed to signal process {pid}") from error

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        if "containers" in record:
            containers.undo(part.handle, timeout_s)
            return
        pid, ticks = int(record["pid"]), int(record["start_ticks"])
        members = set(_recorded(record)) | set(tree(pid, ticks))
        try:
            for member in members:
                signal_if_same(*member, signal.SIGCONT)
        except PermissionError as error:
            raise UndoFailed(f"{part.name}: not allowed to wake process {pid}") from error
        if identity(part) is None:
            _start(part, timeout_s)

    def in_effect(self, part: Component, record: Record) -> Observation:
        mode = str(record["mode"])
        kernel = (
            Observation(*containers.in_effect(record))
            if "containers" in record
            else _signalled(part, mode, record)
        )
        if (
            not kernel.seen
            or part.observe is None
            or (mode == "freeze" and part.observe.protocol == "tcp")
        ):
            # A frozen process's port still accepts (the kernel does that), so a bare port cannot
            # show it.
            return kernel
        before_ms = float(record["before_ms"])
        now = look(part.observe, silence_s(before_ms))
        outside = shows(mode, {}, before_ms, now)
        return Observation(outside.seen, f"{part.observe.address} {outside.saw}; {kernel.saw}")

    def is_whole(self, part: Component, record: Record) -> Observation:
        if "containers" in record:
            whole, saw = containers.whole(part.handle)
        else:
            found = identity(part)
            stopped = found is not None and _state(*found) == "T"
            whole = found is not None and not stopped
            running = f"process {found[0]} {'is stopped' if stopped else 'runs'}" if found else ""
            saw = running or why_none(part)
        if not whole or part.observe is None:
            return Observation(whole, saw)
        now = look(part.observe, _LOOK_S)
        return Observation(now.healthy, f"{part.observe.address} {now}")


def _signalled(part: Component, mode: str, record: Record) -> Observation:
    """What the kernel says of the processes of a record."""
    pid, ticks = int(record["pid"]), int(record["start_ticks"])
    # Crash and freeze take the whole tree: a child left alone would serve on. What a process
    # that ends in good order leaves running is its own affair.
    broken = [(pid, ticks)] if mode == "stop" else _recorded(record)
    if mode == "freeze":
        states = {member[0]: _state(*member) for member in broken}
        moving = {pid: state for pid, state in states.items() if state not in {"T", None}}
        told = next(iter(moving.items()), (pid, states[pid]))
        kernel = Observation(
            not moving and states[pid] == "T", f"process {told[0]} is {told[1] or 'gone'}"
        )
    else:
        living = [member for member in broken if alive(*member)]
        successor = identity(part)
        if not living and successor is not None:
            return Observation(False, f"process {successor[0]} runs in place of {pid}")
        kernel = Observation(
            not living,
            f"process {living[0][0]} lives" if living else f"process {pid} is gone",
        )
    return kernel


def _container_row(part: Component) -> CheckRow:
    """Whether Docker answers, and what a handle names can be broken and brought back."""
    try:
        found = containers.healthy(part.handle)
    except (NotWhole, CannotBreak) as error:
        fix = "start it, correct how its handle names it, or let this user ask Docker"
        return CheckRow("container", False, str(error), fix)
    return CheckRow("container", True, f"{', '.join(one.short for one in found)} runs")


def _may_signal(named: tuple[int, int]) -> CheckRow:
    """Whether the process and all below it may be signalled by us; nothing is sent."""
    for pid, ticks in tree(*named):
        try:
            if alive(pid, ticks):
                os.kill(pid, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            fix = "run the gate as the process's user, or as root"
            return CheckRow("signals", False, f"process {pid} may not be signalled", fix)
    return CheckRow("signals", True, "may be sent")


def _start(part: Component, timeout_s: float) -> None:
    argv = start_of(part.handle)
    ended = run_command(argv, max(timeout_s, 0.1))
    if ended.code is None:
        raise UndoFailed(f"{part.name}: {ended.said}")
    if ended.code != 0:
        raise UndoFailed(f"{part.name}: `{' '.join(argv)}` ended with {ended.code}: {ended.said}")


def _stop_tree(pid: int, ticks: int) -> list[tuple[int, int]]:
    """Stop the process and all below it; the root first, so that it cannot replace a child
    meanwhile.
    """
    stopped: list[tuple[int, int]] = []
    while True:
        fresh = [member for member in tree(pid, ticks) if member not in stopped]
        if not fresh:
            return stopped
        for member in fresh:
            signal_if_same(*member, signal.SIGSTOP)
            stopped.append(member)


def _end_politely(pid: int, ticks: int, grace_s: float, stop: threading.Event) -> None:
    members = tree(pid, ticks)
    signal_if_same(pid, ticks, signal.SIGTERM)
    signal_if_same(pid, ticks, signal.SIGCONT)
    if not _all_gone([(pid, ticks)], grace_s, stop):
        for member in members:
            signal_if_same(*member, signal.SIGKILL)
        _all_gone(members, _DEATH_S, threading.Event())


def _all_gone(members: list[tuple[int, int]], within_s: float, stop: threading.Event) -> bool:
    end = time.monotonic() + within_s
    while any(alive(*member) for member in members):
        if time.monotonic() >= end or stop.wait(0.005):
            return False
    return True


def _recorded(record: Record) -> list[tuple[int, int]]:
    """The process and all that stood below it when the fault was planned."""
    return [(int(member[0]), int(member[1])) for member in record["tree"]]


def _state(pid: int, ticks: int) -> str | None:
    """The kernel's state letter (T: stopped); None when the process is gone."""
    if not alive(pid, ticks):
        return None
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None


BACKEND = ProcessBackend()
