"""The reading back as the supervisor has it: a child that starts with the load, is told when that
has ended, and has so long and no longer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stormgate.evidence.write import Timeline
from stormgate.judge.registry import kinds
from stormgate.model import Event, Plan
from stormgate.supervise import children
from stormgate.system.processes import spawn, stop

# Beyond what the target allows for reads and looks: taking the keys in, writing it all down.
_SLACK_S = 20.0
LOG = "read_back.log"


class ReadingBack:
    """The child, if the target lists stores and an objective is judged on data; else nothing
    happens, and nothing is written.
    """

    def __init__(self, plan: Plan, folder: Path, root: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._root = root
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to look through the stores. Raises OSError."""
        known = kinds()
        asked = any(one.kind in known and known[one.kind].data for one in self._plan.objectives)
        if not asked or not self._plan.target.stores:
            return
        self._child = spawn(
            [sys.executable, "-m", "stormgate.supervise.read_back"],
            env=children.environment(self._folder, self._root),
            cwd=self._root,
            log_path=self._folder / "logs" / LOG,
            new_session=True,
        )

    def finish(self, timeline: Timeline, tick: Callable[[], object]) -> None:
        """The load has ended: read back what was written, ticking meanwhile. What is not done in
        time is not there, and the timeline says so.
        """
        if self._child is None:
            return
        timeline.write(Event.READ_BACK_BEGIN)
        allowed = self._plan.target.final_read
        seconds = allowed.after_s + 2 * allowed.scan_within_s + allowed.within_s + _SLACK_S
        deadline = time.monotonic() + seconds
        while self._child.poll() is None and time.monotonic() < deadline:
            tick()
        why = None
        if self._child.poll() is None:
            why = "it did not end in time"
        elif self._child.returncode != 0:
            why = (
                f"it ended with {self._child.returncode}; "
                f"{children.last_line(self._folder / 'logs' / LOG)}"
            )
        self.stop()
        timeline.write(Event.READ_BACK_END, whole=why is None, why=why)

    def stop(self) -> None:
        """End the child, whatever it is at."""
        if self._child is not None:
            stop(self._child, 0.5, group=True)
            self._child = None
