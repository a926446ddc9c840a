"""Whose the processors were: this machine's CPU time, and that of a tree of processes, with how
long its threads stood in the run queue. From /proc alone (proc(5); Documentation/scheduler/
sched-stats.rst).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_NS = 1e-9
# Of a line of /proc/stat: user nice system idle iowait irq softirq steal.
_BUSY = (0, 1, 2, 5, 6)
_STEAL = 7


@dataclass(frozen=True, slots=True)
class MachineCpu:
    """CPU seconds of all processors since boot: worked by somebody here (`busy_s`), taken by the
    hypervisor (`steal_s`).
    """

    cores: int
    busy_s: float
    steal_s: float


def machine_cpu(stat: str | None = None) -> MachineCpu:
    """What /proc/stat says. Raises OSError or ValueError where it says nothing."""
    text = (_PROC / "stat").read_text() if stat is None else stat
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    total = [int(word) * _TICK_S for word in lines[0][1:]] if lines else []
    if len(total) <= _STEAL:
        raise ValueError("/proc/stat does not say whose the processors were")
    return MachineCpu(len(lines) - 1, sum(total[at] for at in _BUSY), total[_STEAL])


@dataclass(frozen=True, slots=True)
class TreeCpu:
    """CPU seconds of a tree so far, and how long each of its threads has waited in the run queue.

    Differences of two of them are what counts: a child's time goes to its parent when it is waited
    for, so none is lost; of a thread that ended in between, its last wait is.
    """

    used_s: float
    waits_s: dict[tuple[int, int], float]

    def waited_since(self, before: TreeCpu) -> float:
        """How long its threads have waited since then, together, s."""
        earlier = before.waits_s
        return sum(
            max(0.0, wait - earlier.get(thread, 0.0)) for thread, wait in self.waits_s.items()
        )


@dataclass(slots=True)
class ProcessTree:
    """A process and its descendants. One that was once seen among them stays one, though its
    parent dies.
    """

    root: int
    _known: dict[int, int] = field(default_factory=dict)

    def cpu(self) -> TreeCpu:
        """What it has used and waited for. Raises OSError where /proc cannot be read."""
        found = dict(_processes())
        members = {pid for pid, start in self._known.items() if _start_of(found.get(pid)) == start}
        members.add(self.root)
        children: dict[int, list[int]] = {}
        for pid, fields in found.items():
            children.setdefault(int(fields[1]), []).append(pid)
        queue = list(members)
        while queue:
            for child in children.get(queue.pop(), ()):
                if child not in members:
                    members.add(child)
                    queue.append(child)
        self._known = {pid: int(found[pid][19]) for pid in members if pid in found}
        used = sum(int(word) for pid in self._known for word in found[pid][11:15])
        waits: dict[tuple[int, int], float] = {}
        for pid in self._known:
            waits.update(_waits(pid))
        return TreeCpu(used * _TICK_S, waits)


def _start_of(fields: list[str] | None) -> int | None:
    return int(fields[19]) if fields is not None else None


def _processes() -> list[tuple[int, list[str]]]:
    """Every process with the fields of its /proc/PID/stat after its name, from the state on."""
    found = []
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                text = (_PROC / entry.name / "stat").read_text()
                found.append((int(entry.name), text.rpartition(")")[2].split()))
    return found


def _waits(pid: int) -> list[tuple[tuple[int, int], float]]:
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(_PROC / str(pid) / "task"):
            with contextlib.suppress(OSError):
                words = (_PROC / str(pid) / "task" / entry.name / "schedstat").read_text().split()
                found.append(((pid, int(entry.name)), int(words[1]) * _NS))
    return found


def pressure() -> float | None:
    """Seconds since boot in which some task waited for a processor (/proc/pressure/cpu); None where
    the kernel does not count them.
    """
    try:
        first = (_PROC / "pressure" / "cpu").read_text().splitlines()[0]
        return int(first.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return None
