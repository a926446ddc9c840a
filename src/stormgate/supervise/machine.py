"""Who had this machine's processors while a run's own target ran on it: one row a second in
machine.ndjson, for the judge, who must know whether a slow answer was the target's doing.

Only where the gate started the target itself: of processes that are not its own nobody could tell
whether they are the target's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from stormgate.evidence.write import MACHINE, Journal
from stormgate.system.cpu import MachineCpu, ProcessTree, TreeCpu, machine_cpu, pressure

ROW_S = 1.0


class MachineWatch:
    """Writes a row each second from `start` to `stop`, about this process and all below it. What
    cannot be read is not written: nobody is excused by a row that is not there.
    """

    def __init__(self, folder: Path, root_pid: int | None = None) -> None:
        self._folder = folder
        self._tree = ProcessTree(os.getpid() if root_pid is None else root_pid)
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="machine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Idempotent; returns when the last row is written."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        with contextlib.suppress(OSError, ValueError), Journal(self._folder / MACHINE) as journal:
            before = self._look()
            while not self._is_over.wait(ROW_S):
                now = self._look()
                journal.append(row_of(before, now))
                before = now

    def _look(self) -> Look:
        return Look(time.monotonic_ns(), machine_cpu(), self._tree.cpu(), pressure())


class Look:
    """One look at the machine. `at_ns`: CLOCK_MONOTONIC."""

    __slots__ = ("at_ns", "machine", "pressure_s", "tree")

    def __init__(
        self, at_ns: int, machine: MachineCpu, tree: TreeCpu, pressure_s: float | None
    ) -> None:
        self.at_ns = at_ns
        self.machine = machine
        self.tree = tree
        self.pressure_s = pressure_s


def row_of(before: Look, now: Look) -> dict[str, float | int | None]:
    """The row of the time between two looks. All but the times are processors: seconds of CPU, or
    of waiting for it, per second.
    """
    window_s = max((now.at_ns - before.at_ns) / 1e9, 1e-9)
    busy = (now.machine.busy_s - before.machine.busy_s) / window_s
    steal = max(0.0, now.machine.steal_s - before.machine.steal_s) / window_s
    own = max(0.0, now.tree.used_s - before.tree.used_s) / window_s
    pressed = None
    if now.pressure_s is not None and before.pressure_s is not None:
        pressed = round((now.pressure_s - before.pressure_s) / window_s, 4)
    return {
        "at_ns": now.at_ns,
        "window_s": round(window_s, 6),
        "cores": now.machine.cores,
        "own": round(own, 4),
        "others": round(max(0.0, busy - own), 4),
        "steal": round(steal, 4),
        "waited": round(now.tree.waited_since(before.tree) / window_s, 4),
        "pressure": pressed,
    }
