"""Break anything with commands of your own: argv from the target document, never a shell.

`handle`: {apply: {mode: [argv]}, undo: {mode: [argv]}, observe: [argv]}. The commands get
STORMGATE_COMPONENT, STORMGATE_MODE, STORMGATE_TOKEN and STORMGATE_PARAM_<NAME> in their
environment besides ours, which is where a secret belongs: a `${NAME}` among a command's words would
be shown by `ps` to everyone, and is refused. One that is late is ended with all it had started.
`apply` and `undo` exit with 0 when done; `undo` must be safe to repeat. `observe` exits with 0
while the fault is in effect and 1 while it is not.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from stormgate.faults.backends import Backend, FaultRequest, Observation, Record
from stormgate.faults.declared import AnyParameters, Argv, CheckRow, Handle, Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.model import Component, Target
from stormgate.net.look import look
from stormgate.net.references import REFERENCE
from stormgate.system.commands import Ended, run_command, why_not_runnable

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
        for step, argvs in self.steps():
            if (problem := shown(step, argvs)) is not None:
                raise ValueError(problem)
        return self

    def steps(self) -> list[tuple[str, list[Argv]]]:
        """The commands by what they are for."""
        return [
            ("apply", [*self.apply.values()]),
            ("undo", [*self.undo.values()]),
            ("observe", [self.observe]),
        ]


def shown(step: str, argvs: Iterable[Sequence[Any]]) -> str | None:
    """Why the words of these commands may not be: what would be filled in is no word of a command,
    for everyone on the machine can read those. None: nothing is.
    """
    for argv in argvs:
        for word in argv:
            if (found := REFERENCE.search(str(word))) is not None:
                name = found[1]
                return (
                    f"{step} has {found[0]} among its words, where `ps` shows it to everyone; the "
                    f"command finds {name} in its environment: read it there, or write "
                    f"[sh, -c, '... \"${name}\"']"
                )
    return None


class CommandBackend(Backend):
    """See the module. The modes are those that a handle has commands for, of whatever name."""

    handle = CommandHandle
    undo_stage = 1
    breaks_whole = True

    def modes_of(self, handle: Mapping[str, Any]) -> Mapping[str, type[Parameters]]:
        commands = handle.get("apply")
        return dict.fromkeys(commands if isinstance(commands, Mapping) else (), AnyParameters)

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        """Every command can begin; `observe`, which only looks, is run, and says 1."""
        named = [("observe", part.handle["observe"])]
        for mode in sorted(modes or part.handle["apply"]):
            named += [(f"{step} {mode}", _argv(part, step, mode)) for step in ("apply", "undo")]
        rows = []
        for what, argv in named:
            why = why_not_runnable(argv)
            rows.append(CheckRow(what, why is None, why or " ".join(argv), f"correct its `{what}`"))
        if rows[0].ok:
            rows += [_sees_nothing(part, mode) for mode in sorted(modes)]
        return rows

    def plan(self, request: FaultRequest) -> Record:
        part, mode = request.part, request.mode
        observe = part.handle.get("observe")
        words = [(step, _argv(part, step, mode)) for step in ("apply", "undo")]
        for step, argv in [*words, ("observe", observe or [])]:
            if (problem := shown(step, [argv])) is not None:
                raise CannotBreak(f"{part.name}: {problem}")
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
        argv = _argv(part, "apply", str(record["mode"]))
        ended = run_command(argv, _APPLY_S, environment=record["environment"], stop=stop)
        if ended.code != 0:
            raise NotApplied(f"{part.name}: apply {_told(ended)}")

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        argv = _argv(part, "undo", str(record["mode"]))
        ended = run_command(argv, max(timeout_s, 0.1), environment=record["environment"])
        if ended.code != 0:
            raise UndoFailed(f"{part.name}: undo {_told(ended)}")

    def in_effect(self, part: Component, record: Record) -> Observation:
        ended = _observed(part, record)
        return Observation(ended.code == 0, f"observe {_told(ended)}")

    def is_whole(self, part: Component, record: Record) -> Observation:
        ended = _observed(part, record)
        if ended.code != 1:
            # Only 1 says "not in effect"; anything else (killed, missing, 2) says nothing and is no
            # proof.
            return Observation(False, f"observe {_told(ended)}")
        if part.observe is None:
            return Observation(True, f"observe {_told(ended)}")
        now = look(part.observe, _LOOK_S)
        return Observation(now.healthy, f"{part.observe.address} {now}")


def _sees_nothing(part: Component, mode: str) -> CheckRow:
    environment = {
        "STORMGATE_COMPONENT": part.name,
        "STORMGATE_MODE": mode,
        "STORMGATE_TOKEN": "check",
    }
    ended, what = _observed(part, {"environment": environment}), f"observe {mode}"
    if ended.code == 0:
        fix = "undo it (stormgate restore), or let observe exit with 1 while nothing is broken"
        return CheckRow(what, False, f"says that it is broken already: {ended.said}", fix)
    fix = "it exits with 0 while the fault is there and with 1 while it is not; nothing else counts"
    return CheckRow(what, ended.code == 1, _told(ended), fix)


def _observed(part: Component, record: Record) -> Ended:
    argv = [str(word) for word in part.handle["observe"]]
    return run_command(argv, _OBSERVE_S, environment=record["environment"])


def _told(ended: Ended) -> str:
    return ended.said if ended.code is None else f"ended with {ended.code}: {ended.said}"


def _argv(part: Component, step: str, mode: str) -> list[str]:
    commands = part.handle.get(step)
    if not isinstance(commands, Mapping) or not commands.get(mode):
        has = ", ".join(commands) if isinstance(commands, Mapping) and commands else "nothing"
        raise CannotBreak(f"{part.name}: its handle has no `{step}` for {mode} (it has {has})")
    return [str(word) for word in commands[mode]]


BACKEND = CommandBackend()
