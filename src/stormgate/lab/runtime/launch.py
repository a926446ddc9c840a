"""Start the lab from another program and hold it: `launch` returns when it is whole,
`RunningLab.stop` when it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stormgate.lab.errors import LabError
from stormgate.model import Target, from_json, to_json
from stormgate.system import processes

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab that was whole when this was made. `target` is resolved: it has every address,
    component and link.
    """

    process: subprocess.Popen[bytes]
    target: Target
    state: Path

    def alive(self) -> bool:
        """Whether its daemon still runs."""
        return self.process.poll() is None

    def stop(self, grace_s: float = 10.0) -> int:
        """End it and all of its processes; idempotent. The daemon's exit code: 0 after an orderly
        end.
        """
        return processes.stop(self.process, grace_s)


def launch(
    target: Target,
    *,
    state: Path,
    defect: str | None = None,
    env: Mapping[str, str] | None = None,
    deadline_s: float = 30.0,
    on_progress: Callable[[str], object] | None = None,
) -> RunningLab:
    """Start a lab as a child that dies with this process, and wait until it is whole.

    `state` is a folder for its files (made if need be; one lab at a time). A first start on a
    machine builds the Toxiproxy server before the deadline begins to count. `on_progress` is told,
    line by line, what it does. Raises LabError with one line when it does not come up within
    `deadline_s` seconds; nothing of it is left then.
    """
    env = os.environ if env is None else env
    prepare(target, state, env, on_progress or (lambda _: None))
    process = processes.spawn(
        daemon_argv(state, defect),
        env=dict(env),
        log_path=state / "daemon.log",
        # ctrl-C is for whoever holds the lab: it must outlive the undoing of faults. It tidies up
        # when we die.
        new_session=True,
        death_signal=signal.SIGTERM,
    )
    try:
        return RunningLab(process, await_whole(process, state, deadline_s, on_progress), state)
    except BaseException:
        processes.stop(process, 5.0)
        raise


def prepare(
    target: Target, state: Path, env: Mapping[str, str], say: Callable[[str], object]
) -> None:
    """Lay out the state folder, and build what takes minutes once and is not part of a lab's start:
    the Toxiproxy server.

    Raises LabError when a lab runs there already, nothing can be written there, or the Toxiproxy
    asked for does not answer.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        if running_pid(state) is not None:
            raise LabError(f"a lab runs in {state} already: `stormgate lab down` ends it")
        for name in ("topology.json", "error.txt", "daemon.json", "daemon.log"):
            (state / name).unlink(missing_ok=True)
        shutil.rmtree(state / "pids", ignore_errors=True)
        (state / "target.json").write_text(json.dumps(to_json(target)))
    except OSError as error:
        raise LabError(f"cannot write to {state}: {error.strerror}") from error
    from stormgate.toxiproxy import server
    from stormgate.toxiproxy.errors import ToxiproxyError

    try:
        if server.find_server(env).kind == "embedded":
            server.ensure_binary(say, env)
    except ToxiproxyError as error:
        raise LabError(str(error)) from error


def daemon_argv(state: Path, defect: str | None) -> list[str]:
    """The daemon's command line."""
    chosen = ["--defect", defect] if defect else []
    return [sys.executable, "-m", "stormgate.lab.runtime.daemon", "--state", str(state), *chosen]


def await_whole(
    process: subprocess.Popen[bytes],
    state: Path,
    deadline_s: float,
    on_progress: Callable[[str], object] | None = None,
) -> Target:
    """Wait for the topology. Raises LabError with the daemon's own reason, or that it took too
    long.
    """
    end = time.monotonic() + deadline_s
    told = 0
    while True:
        if on_progress is not None:
            lines = _complete_lines(state / "daemon.log")
            for line in lines[told:]:
                on_progress(line)
            told = len(lines)
        if process.poll() is not None:
            raise LabError(
                _reason(state) or f"the lab ended with {process.returncode} before it was whole"
            )
        with contextlib.suppress(FileNotFoundError):
            return from_json(Target, json.loads((state / "topology.json").read_text()))
        if time.monotonic() > end:
            raise LabError(f"the lab was not whole after {deadline_s:g} s")
        time.sleep(_POLL_S)


def running_pid(state: Path) -> int | None:
    """The pid of the daemon whose lab is in `state`; None when none runs."""
    try:
        facts = json.loads((state / "daemon.json").read_text())
        pid, ticks = int(facts["pid"]), int(facts["start_ticks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if processes.alive(pid, ticks) else None


def _complete_lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\n")[:-1]
    except OSError:
        return []


def _reason(state: Path) -> str:
    for name in ("error.txt", "daemon.log"):
        lines = _complete_lines(state / name)
        if lines:
            return lines[-1]
    return ""
