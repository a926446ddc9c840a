"""Running a command to its end, within a time, and leaving nothing of it when it is late."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stormgate.system.processes import pid_start_ticks, signal_if_same, tree

_TAIL_BYTES = 2000
_INTERPRETERS = ("sh", "bash", "dash", "zsh", "ksh", "perl", "ruby", "node")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (None: it could not be run, or was ended by us), and its
    last line, or why there is none.
    """

    code: int | None
    said: str


def run_command(
    argv: Sequence[str],
    timeout_s: float,
    *,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> Ended:
    """Run `argv` (never a shell) in a session of its own, `environment` added to ours, until it
    ends, `timeout_s` passes or `stop` is set. Never raises for what the command does.

    One that is late is ended with everything it had started. What a command that ended by itself
    leaves running is its own affair: it may be what it was asked to start.
    """
    end = time.monotonic() + timeout_s
    waiter = stop or threading.Event()
    # A file, not a pipe: what a command leaves running inherits it, and a pipe would never end.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(argv),
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            return Ended(None, f"`{argv[0]}` cannot be run: {why}")
        try:
            while process.poll() is None:
                if time.monotonic() >= end or waiter.wait(0.005):
                    late = f"did not end within {timeout_s:.0f} s"
                    return Ended(None, f"`{argv[0]}` {'was stopped' if waiter.is_set() else late}")
        finally:
            if process.returncode is None:
                _end_all(process)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = output.read().decode("utf-8", "replace").strip().splitlines()
    return Ended(process.returncode, lines[-1] if lines else "(no output)")


def why_not_runnable(argv: Sequence[str]) -> str | None:
    """Why a command could not even begin, without running it: no such program, not executable, or
    the script that an interpreter is given is not there. None: it could.
    """
    program = str(argv[0])
    if shutil.which(program) is None:
        if os.sep in program:
            there = Path(program).exists()
            return f"{program} is not executable" if there else f"there is no file {program}"
        return f"there is no program {program!r} on the PATH"
    name = Path(program).name
    if len(argv) > 1 and (name in _INTERPRETERS or name.startswith("python")):
        script = str(argv[1])
        if not script.startswith("-") and not Path(script).is_file():
            return f"there is no file {script}, which {name} is given"
    return None


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """End a command of ours, its group, and those below it that left the group. Stopped first, so
    that none of them starts another meanwhile.
    """
    ticks = pid_start_ticks(process.pid)
    found: list[tuple[int, int]] = []
    while ticks is not None and (
        fresh := [each for each in tree(process.pid, ticks) if each not in found]
    ):
        for member in fresh:
            with contextlib.suppress(PermissionError):
                signal_if_same(*member, signal.SIGSTOP)
        found += fresh
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in found:
        with contextlib.suppress(PermissionError):
            signal_if_same(*member, signal.SIGKILL)
    process.wait()
