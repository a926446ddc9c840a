"""What the chaos side of a run acts on: the target, the run folder and the fault, from the
environment of this process.

STORMGATE_PLAN (a run's plan.json) or STORMGATE_TARGET (a resolved target, such as a lab's
topology.json) says what to act on, else what `stormgate use` chose; STORMGATE_EVIDENCE where
evidence goes; STORMGATE_FAULT what the trial is called. Under plain `chaos run` without a run
folder one is made below `reports/`, so that even a fault injected by hand has a ledger.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from stormgate.evidence.folder import create_run_folder
from stormgate.evidence.write import Timeline
from stormgate.faults import backends
from stormgate.faults.errors import NoTarget
from stormgate.faults.ledger import Ledger, going_on
from stormgate.faults.looks.watch import Watch
from stormgate.faults.used import find_used, read_used
from stormgate.model import Component, Plan, Target, from_json
from stormgate.net.allow import AllowList
from stormgate.net.references import resolved

T = TypeVar("T")

HOW_TO_GET_A_TARGET = (
    "there is no target to break: choose one with `stormgate use TARGET` (for the lab after "
    "`stormgate lab up`), or set STORMGATE_PLAN to the plan.json of a run (`stormgate gate` "
    "does), or STORMGATE_TARGET to a resolved target such as a lab's topology.json"
)


@dataclass(slots=True)
class Context:
    """One per process. `stopping` is set once: from then on nothing new is injected; `lock` keeps
    undoing to one thread.
    """

    target: Target
    folder: Path
    fault: str
    seed: int
    ledger: Ledger
    timeline: Timeline
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    plan: Plan | None = None
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.timeline)

    def pause(self, seconds: float) -> None:
        """Wait; a stop ends it at once."""
        self.stopping.wait(max(0.0, seconds))


def make_context(
    target: Target, folder: Path, *, fault: str, seed: int, plan: Plan | None = None
) -> Context:
    """A context that writes into `folder`. Raises NoTarget when the target may not be contacted as
    described.
    """
    refuse_strangers(target)
    place = going_on(folder)
    place.mkdir(exist_ok=True)
    ledger, timeline = Ledger(folder, target), Timeline(place)
    return Context(target, folder.resolve(), fault, seed, ledger, timeline, plan=plan)


@functools.cache
def current() -> Context:
    """The context of this process, made from the environment at first use. Raises NoTarget with
    what to do.
    """
    return from_environment(os.environ)


def from_environment(env: Mapping[str, str]) -> Context:
    """See the module. Raises NoTarget."""
    plan_path = env.get("STORMGATE_PLAN")
    seed = 0
    plan = None
    if plan_path:
        plan = _read(Plan, Path(plan_path), "STORMGATE_PLAN")
        target, seed = plan.target, plan.seed
    else:
        target = bare_target(env)
    fault = env.get("STORMGATE_FAULT", "chaos")
    evidence = env.get("STORMGATE_EVIDENCE")
    if evidence:
        folder = Path(evidence)
        if not folder.is_dir():
            raise NoTarget(f"STORMGATE_EVIDENCE={evidence}: no such run folder")
    else:
        folder = create_run_folder(
            Path("reports"), fault, now=datetime.now(UTC), first_files={}, latest=False
        )
    return make_context(target, folder, fault=fault, seed=seed, plan=plan)


def bare_target(env: Mapping[str, str]) -> Target:
    """A target without a plan: that of the environment, else the one chosen for the suite. Raises
    NoTarget.
    """
    path, used = env.get("STORMGATE_TARGET"), find_used(Path.cwd())
    if path:
        target = _read(Target, Path(path), "STORMGATE_TARGET")
    elif used is not None:
        target = read_used(used)
    else:
        raise NoTarget(HOW_TO_GET_A_TARGET)
    if target.environment == "production" and env.get("STORMGATE_ALLOW_PRODUCTION") != "1":
        # A plan was admitted by the gate, with its limits and its abort rule; a bare target was
        # not.
        raise NoTarget(
            f"target {target.name!r} is production: set STORMGATE_ALLOW_PRODUCTION=1, or "
            "better run it through a gate"
        )
    return target


def refuse_strangers(target: Target) -> None:
    """Refuse before a packet leaves: every address must be in the target's `allow`. Raises NoTarget
    naming all that are not.
    """
    allow = AllowList(target.allow)
    strangers = sorted(
        {
            host
            for component in target.components
            for host in hosts(component)
            if not allow.permits_host(host)
        }
    )
    if strangers:
        raise NoTarget(
            f"target {target.name!r} does not allow {', '.join(strangers)} (allow: "
            f"{', '.join(target.allow)})"
        )


def wait_s(seconds: float) -> float:
    """Pause in the current context; the seconds really waited (less when stopped)."""
    begun = time.monotonic()
    current().pause(seconds)
    return time.monotonic() - begun


def _read(kind: type[T], path: Path, variable: str) -> T:
    try:
        return from_json(kind, json.loads(path.read_bytes()))
    except OSError as error:
        raise NoTarget(f"{variable}={path}: {error.strerror}") from error
    except ValueError as error:
        raise NoTarget(
            f"{variable}={path}: not a {kind.__name__.lower()}: {str(error).splitlines()[0]}"
        ) from error


def hosts(component: Component) -> list[str]:
    """Whom looking at a component, and breaking it, may contact. Raises NoTarget for a reference
    that is not set.
    """
    found = []
    if component.observe is not None:
        try:
            address = resolved(component.observe.address, os.environ)
        except KeyError as error:
            raise NoTarget(
                f"{component.name} is observed at ${{{error.args[0]}}}, which is not set"
            ) from None
        found = [address.rpartition(":")[0].strip("[]")]
    return [*found, *backends.get(component.backend).hosts(component.handle)]
