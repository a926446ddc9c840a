"""The readings as the supervisor has them: a child that reads the plan's probes while the load
runs, one that listens for what the target tells, and a look at who has the processors. What they do
not write is missing, and whoever asked for it hears so from the judge.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from stormgate.model import Plan
from stormgate.supervise import children
from stormgate.supervise.machine import MachineWatch
from stormgate.supervise.terms import Options
from stormgate.system.processes import spawn, stop


class SamplingProbes:
    """The children, as far as the plan has something for them; else nothing happens, and nothing is
    written.
    """

    def __init__(self, plan: Plan, folder: Path, options: Options) -> None:
        self._plan = plan
        self._folder = folder
        self._root = options.root
        self._machine: MachineWatch | None = None
        if plan.target.provision is not None and options.standing is None:
            self._machine = MachineWatch(folder)
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Begin to read and to listen. Raises OSError."""
        if self._machine is not None:
            self._machine.start()
        if self._plan.readings:
            self._spawn("readings", "stormgate.chaos.sampler")
        if self._plan.receive:
            self._spawn("receiver", "stormgate.supervise.receiver", self._plan.receive)

    def _spawn(self, name: str, *module: str) -> None:
        self._children.append(
            spawn(
                [sys.executable, "-m", *module],
                env=children.environment(self._folder, self._root),
                cwd=self._root,
                log_path=self._folder / "logs" / f"{name}.log",
                new_session=True,
                death_signal=signal.SIGTERM,
            )
        )

    def stop(self) -> None:
        """End them; what is being read has its time."""
        if self._machine is not None:
            self._machine.stop()
        grace_s = max((one.within_s for one in self._plan.readings), default=0.0) + 0.5
        for child in self._children:
            stop(child, grace_s, group=True)
        self._children = []
