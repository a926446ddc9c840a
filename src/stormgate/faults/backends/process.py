"""Break local processes with signals, the whole tree of each: a postmaster's children serve on when
it alone is stopped.

A process is named by (pid, start ticks) from its pid file, so a successor of its pid is never
signalled. It is brought back by the component's own `start` argv, which must be idempotent and
return when the process answers.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stormgate.faults.backends import Backend, FaultRequest, Observation, Record
from stormgate.faults.declared import Argv, CheckRow, Handle, Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.faults.proof import shows, silence_s
from stormgate.model import Component, Target
from stormgate.net.look import look
from stormgate.system.commands import run_command, why_not_runnable
from stormgate.system.processes import alive, signal_if_same, tree

_LOOK_S = 1.0
# Before a fault there is time: a slow answer on a busy machine is an answer.
_BEFORE_S = 3.0
_DEATH_S = 2.0


class ProcessHandle(Handle):
    """`pidFile` holds {"pid", "start_ticks"}; `start` brings the process back, and returns when it
    runs.
    """

    pid_file: str = Field(min_length=1)
    start: Argv


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
        return all(_identity(part) is None for part in parts)

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        identity, rows = _identity(part), []
        if identity is None:
            saw = f"no running process behind {part.handle.get('pid_file')}"
            rows.append(CheckRow("process", False, saw, "start it, or correct its pidFile"))
        else:
            rows.append(CheckRow("process", True, f"process {identity[0]} runs"))
            if modes:
                rows.append(_may_signal(identity))
        argv = [str(word) for word in part.handle.get("start") or ()]
        if argv:
            why = why_not_runnable(argv)
            fix = "correct its `start`, which brings the process back"
            rows.append(CheckRow("start", why is None, why or " ".join(argv), fix))
        return rows

    def plan(self, request: FaultRequest) -> Record:
        part = request.part
        start = part.handle.get("start")
        if not isinstance(start, list | tuple) or not start:
            raise CannotBreak(
                f"{part.name}: its handle has no `start`, so it could not be brought back"
            )
        identity = _identity(part)
        if identity is None:
            raise NotWhole(f"{part.name}: no running process behind {part.handle.get('pid_file')}")
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
            "mode": request.mode,
            "pid": identity[0],
            "start_ticks": identity[1],
            "tree": [list(member) for member in tree(*identity)],
            "grace_s": float(request.params.get("grace_s", 5.0)),
            "before_ms": before_ms,
        }

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
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
        pid, ticks = int(record["pid"]), int(record["start_ticks"])
        members = set(_recorded(record)) | set(tree(pid, ticks))
        try:
            for member in members:
                signal_if_same(*member, signal.SIGCONT)
        except PermissionError as error:
            raise UndoFailed(f"{part.name}: not allowed to wake process {pid}") from error
        if _identity(part) is None:
            _start(part, timeout_s)

    def in_effect(self, part: Component, record: Record) -> Observation:
        mode, pid, ticks = str(record["mode"]), int(record["pid"]), int(record["start_ticks"])
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
            successor = _identity(part)
            if not living and successor is not None:
                return Observation(False, f"process {successor[0]} runs in place of {pid}")
            kernel = Observation(
                not living,
                f"process {living[0][0]} lives" if living else f"process {pid} is gone",
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
        identity = _identity(part)
        if identity is None:
            return Observation(False, f"no running process behind {part.handle.get('pid_file')}")
        if _state(*identity) == "T":
            return Observation(False, f"process {identity[0]} is stopped")
        if part.observe is None:
            return Observation(True, f"process {identity[0]} runs")
        now = look(part.observe, _LOOK_S)
        return Observation(now.healthy, f"{part.observe.address} {now}")


def read_pid_file(path: str | Path) -> tuple[int, int] | None:
    """(pid, start ticks) a pid file names; None when there is none or it is torn."""
    try:
        data: Any = json.loads(Path(path).read_bytes())
        return int(data["pid"]), int(data["start_ticks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _identity(part: Component) -> tuple[int, int] | None:
    path = part.handle.get("pid_file")
    named = read_pid_file(path) if isinstance(path, str) else None
    return named if named is not None and alive(*named) else None


def _may_signal(identity: tuple[int, int]) -> CheckRow:
    """Whether the process and all below it may be signalled by us; nothing is sent."""
    for pid, ticks in tree(*identity):
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
    argv = [str(word) for word in part.handle["start"]]
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
