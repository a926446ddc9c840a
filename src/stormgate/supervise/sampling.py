"""The readings as the supervisor has them: a child that reads the plan's probes while the load
runs. What it does not write is missing, and whoever asked for it hears so from the judge.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from stormgate.model import Plan
from stormgate.supervise import children
from stormgate.system.processes import spawn, stop

LOG = "readings.log"


class SamplingProbes:
    """The child, if the plan has readings; else nothing happens, and nothing is written."""

    def __init__(self, plan: Plan, folder: Path, root: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._root = root
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to read. Raises OSError."""
        if not self._plan.readings:
            return
        self._child = spawn(
            [sys.executable, "-m", "stormgate.chaos.sampler"],
            env=children.environment(self._folder, self._root),
            cwd=self._root,
            log_path=self._folder / "logs" / LOG,
            new_session=True,
            death_signal=signal.SIGTERM,
        )

    def stop(self) -> None:
        """End it; what is being read has its time."""
        if self._child is not None:
            grace_s = max(one.within_s for one in self._plan.readings) + 0.5
            stop(self._child, grace_s, group=True)
            self._child = None
