"""Break anything with commands of your own: argv from the target document, never a shell.

`handle`: {apply: {mode: [argv]}, undo: {mode: [argv]}, observe: [argv]}. The commands get
STORMGATE_COMPONENT, STORMGATE_MODE, STORMGATE_TOKEN and STORMGATE_PARAM_<NAME> in their
environment. `apply` and `undo` exit with 0 when done; `undo` must be safe to repeat. `observe`
exits with 0 while the fault is in effect and 1 while it is not.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from stormgate.faults.backends import Backend, Observation, Record, Request
from stormgate.faults.declared import AnyParameters, Argv, Handle, Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.model import Component
from stormgate.net.look import look
from stormgate.net.references import resolved

_APPLY_S = 30.0
_OBSERVE_S = 5.0
_LOOK_S = 1.0


class CommandHandle(Handle):
    """The commands, as argv: `apply` and `undo` by mode, and one `observe`."""

    apply: dict[str, Argv] = Field(min_length=1)
    undo: dict[str, Argv]
    observe: Argv

    @model_validator(mode="after")
    def _each_is_taken_back(self) -> Self:
        for mode in self.apply:
            if mode not in self.undo:
                raise ValueError(f"apply has {mode!r} and undo has not: it would stay broken")
        for mode in self.undo:
            if mode not in self.apply:
                raise ValueError(f"undo has {mode!r} and apply has not: nothing to take back")
        return self


class CommandBackend(Backend):
    """See the module. The modes are those that a handle has commands for, of whatever name."""

    handle = CommandHandle
    undo_stage = 1
    breaks_whole = True

    def modes_of(self, handle: Mapping[str, Any]) -> Mapping[str, type[Parameters]]:
        commands = handle.get("apply")
        return dict.fromkeys(commands if isinstance(commands, Mapping) else (), AnyParameters)

    def plan(self, request: Request) -> Record:
        part, mode = request.part, request.mode
        for step in ("apply", "undo"):
            _argv(part, step, mode)
        observe = part.handle.get("observe")
        if not observe:
            raise CannotBreak(
                f"{part.name}: its handle has no `observe`, so no effect could ever be proven"
            )
        environment = {
            "STORMGATE_COMPONENT": part.name,
            "STORMGATE_MODE": mode,
            "STORMGATE_TOKEN": request.token,
            **{
                f"STORMGATE_PARAM_{name.upper()}": str(value)
                for name, value in request.params.items()
            },
        }
        record: dict[str, Any] = {"mode": mode, "environment": environment}
        if self.in_effect(part, record).seen:
            raise NotWhole(
                f"{part.name}: `{' '.join(observe)}` says the fault is there before it was made"
            )
        return record

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        code, said = _run(
            _argv(part, "apply", str(record["mode"])), record["environment"], _APPLY_S, stop
        )
        if code != 0:
            raise NotApplied(f"{part.name}: apply ended with {code}: {said}")

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        code, said = _run(
            _argv(part, "undo", str(record["mode"])), record["environment"], max(timeout_s, 0.1)
        )
        if code != 0:
            raise UndoFailed(f"{part.name}: undo ended with {code}: {said}")

    def in_effect(self, part: Component, record: Record) -> Observation:
        code, said = _run(
            [str(word) for word in part.handle["observe"]], record["environment"], _OBSERVE_S
        )
        return Observation(code == 0, f"observe ended with {code}: {said}")

    def is_whole(self, part: Component, record: Record) -> Observation:
        code, said = _run(
            [str(word) for word in part.handle["observe"]], record["environment"], _OBSERVE_S
        )
        if code != 1:
            # Only 1 says "not in effect"; anything else (killed, missing, 2) says nothing and is no
            # proof.
            return Observation(False, f"observe ended with {code}: {said}")
        if part.observe is None:
            return Observation(True, f"observe ended with 1: {said}")
        now = look(part.observe, _LOOK_S)
        return Observation(now.healthy, f"{part.observe.address} {now}")


def _argv(part: Component, step: str, mode: str) -> list[str]:
    commands = part.handle.get(step)
    if not isinstance(commands, Mapping) or not commands.get(mode):
        has = ", ".join(commands) if isinstance(commands, Mapping) and commands else "nothing"
        raise CannotBreak(f"{part.name}: its handle has no `{step}` for {mode} (it has {has})")
    try:
        return [resolved(str(word), os.environ) for word in commands[mode]]
    except KeyError as error:
        raise CannotBreak(
            f"{part.name}: `{step}` refers to ${{{error.args[0]}}}, which is not set"
        ) from None


def _run(
    argv: list[str],
    environment: Mapping[str, str],
    timeout_s: float,
    stop: threading.Event | None = None,
) -> tuple[int, str]:
    """Exit code (-1: could not run, did not end in time, or was stopped) and the last line said."""
    end = time.monotonic() + timeout_s
    waiter = stop or threading.Event()
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                argv,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return -1, f"`{argv[0]}` cannot be run: {error.strerror}"
        try:
            while process.poll() is None:
                if time.monotonic() >= end or waiter.wait(0.005):
                    return (
                        -1,
                        f"`{argv[0]}` "
                        f"{'was stopped' if waiter.is_set() else f'did not end within {timeout_s:.0f} s'}",  # noqa: E501
                    )
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        lines = output.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else "(no output)"


BACKEND = CommandBackend()
