"""Getting a keeper for a target: the one there is, or one of its own that outlives whoever asks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from stormgate.evidence.folder import create_run_folder
from stormgate.faults.errors import ChaosError
from stormgate.faults.hands.asking import Keeper, ask, keeper_of
from stormgate.model import Load, Plan, Target
from stormgate.net.guard import without_proxies
from stormgate.supervise import children, conclude
from stormgate.system.processes import pid_start_ticks, spawn, stop

UP_S = 30.0
_MODULE = "stormgate.supervise.hands.keeper"
GATE = "by-hand"


class NotStarted(ChaosError):  # noqa: N818 - named for what happened, as the others
    """No keeper could be had: the target is in use, or carries faults of somebody else's."""


def keep(target: Target, reports: Path, by: str, besides: Keeper | None = None) -> Keeper:
    """The live keeper of this target, or a fresh one with a run folder of its own below `reports`.
    One that is ending (`besides`) is waited for. Raises NotStarted with the reason; OSError when no
    run folder can be made.
    """
    end = time.monotonic() + UP_S
    while (found := keeper_of(target.name)) is not None:
        if besides is None or found.owner != besides.owner:
            return found
        if time.monotonic() > end:
            raise NotStarted(f"{found.owner} does not end (run folder {found.folder})")
        time.sleep(0.05)
    plan = bare_plan(target)
    now = datetime.now(UTC)
    folder = create_run_folder(
        reports, GATE, now=now, first_files=conclude.first_files(plan), latest=False
    )
    with (folder / "logs" / "keeper.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(folder.resolve()), "--by", by],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=without_proxies(os.environ),
            # Neither ctrl-C nor the end of the terminal reaches it.
            start_new_session=True,
            cwd="/",
        )
    return _await(process, target.name, folder)


def spawn_within(folder: Path, by: str) -> subprocess.Popen[bytes]:
    """A keeper that belongs to the run of this process, and ends with it. Breaks nothing until
    `open_within`.
    """
    owner = f"{os.getpid()}:{pid_start_ticks(os.getpid())}"
    return spawn(
        [sys.executable, "-m", _MODULE, str(folder.resolve()), "--by", by, "--within", owner],
        env=without_proxies(os.environ),
        log_path=folder / "logs" / "keeper.log",
        new_session=True,
    )


def open_within(
    process: subprocess.Popen[bytes], plan: Plan, folder: Path, pause: Callable[[float], object]
) -> Keeper:
    """The keeper of `spawn_within`, once it listens; from now on it breaks what it is asked to.
    Raises NotStarted, NotKept.
    """
    keeper = _await(process, plan.target.name, folder, pause)
    ask(keeper, {"op": "open"})
    return keeper


def bare_plan(target: Target) -> Plan:
    """The plan of a folder in which people broke things and nobody measured: it asks for nothing,
    so it is never PASS.
    """
    return Plan(
        gate=GATE,
        seed=0,
        confidence=0.95,
        target=target,
        load=Load(locustfile="", rate_per_s=0.0, users=0),
        warmup_s=0.0,
        steady_s=0.0,
        final_s=0.0,
        faults=(),
        objectives=(),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=children.versions(None),
    ).sealed()


def _await(
    process: subprocess.Popen[bytes],
    target: str,
    folder: Path,
    pause: Callable[[float], object] = time.sleep,
) -> Keeper:
    end = time.monotonic() + UP_S
    while time.monotonic() < end:
        found = keeper_of(target)
        if found is not None and found.folder == folder.resolve():
            return found
        if process.poll() is not None:
            raise NotStarted(children.last_line(folder / "logs" / "keeper.log"))
        pause(0.05)
    stop(process, 5.0)
    raise NotStarted(f"it did not come up in {UP_S:g} s (see {folder / 'logs' / 'keeper.log'})")
