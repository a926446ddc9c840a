"""Which process a handle names: by its pid file, its systemd unit, or its command line.

A process is (pid, start ticks). A pid file that holds a bare number does not say which of the
processes that ever had the number is meant: one that began after the file was written is another.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormgate.model import Component
from stormgate.system.processes import alive, pid_start_ticks

Identity = tuple[int, int]

_ASK_S = 5.0
# File times and start times are taken by different clocks, and a start time is in ticks.
_CLOCKS_S = 2.0


def identity(part: Component) -> Identity | None:
    """The running process that the part's handle names; None when there is none, or nobody can
    tell which.
    """
    found, _ = find(part.handle)
    return found


def why_none(part: Component) -> str:
    """Why there is none, as a message says it."""
    return find(part.handle)[1]


def find(handle: Mapping[str, Any]) -> tuple[Identity | None, str]:
    """The process, and if there is none, why."""
    if unit := handle.get("systemd"):
        return _of_unit(str(unit))
    if pattern := handle.get("match"):
        return _matching(str(pattern))
    path = handle.get("pid_file")
    if not isinstance(path, str):
        return None, "its handle names no process"
    return _in_file(Path(path))


def start_of(handle: Mapping[str, Any]) -> list[str]:
    """The command that brings it back: its own, else what follows from how it is named; empty
    where nothing does.
    """
    if start := handle.get("start"):
        return [str(word) for word in start]
    if unit := handle.get("systemd"):
        return ["systemctl", "start", str(unit)]
    return []


def read_pid_file(path: str | Path) -> Identity | None:
    """(pid, start ticks) a pid file names: `{"pid", "start_ticks"}`, or a number on its first line
    (then the ticks are those of the process that has it now, if it began before the file was
    written). None when there is none or it is torn.
    """
    return _read(Path(path))[0]


def _in_file(path: Path) -> tuple[Identity | None, str]:
    named, why = _read(path)
    if named is None or alive(*named):
        return named, why
    return None, f"no running process behind {path}"


def _read(path: Path) -> tuple[Identity | None, str]:
    gone = f"no running process behind {path}"
    try:
        raw, written = path.read_bytes(), path.stat().st_mtime
    except OSError:
        return None, gone
    first = raw.split(b"\n", 1)[0].strip()
    if not first.isdigit():
        try:
            data: Any = json.loads(raw)
            return (int(data["pid"]), int(data["start_ticks"])), ""
        except (ValueError, KeyError, TypeError):
            return None, f"{path} holds neither a number nor {{pid, start_ticks}}"
    pid = int(first)
    ticks = pid_start_ticks(pid)
    if ticks is None:
        return None, gone
    if _began(ticks) > written + _CLOCKS_S:
        return None, f"process {pid} began after {path} was written: another one has its number"
    return (pid, ticks), ""


def _began(ticks: int) -> float:
    """When a process began, seconds since the epoch."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _of_unit(unit: str) -> tuple[Identity | None, str]:
    argv = ["systemctl", "show", "--property=MainPID", "--value", unit]
    code, said = ask(argv)
    if code != 0 or not said.isdigit():
        return None, f"`{' '.join(argv)}`: {said or 'no answer'}"
    ticks = pid_start_ticks(int(said)) if int(said) > 0 else None
    if ticks is None:
        return None, f"systemd knows no running process of {unit}"
    return (int(said), ticks), ""


def _matching(pattern: str) -> tuple[Identity | None, str]:
    """The one process whose command line matches, or the topmost of a tree of them."""
    wanted, ours = re.compile(pattern), _ancestors()
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in ours:
            continue
        try:
            words = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        line = b" ".join(words).decode("utf-8", "replace")
        if line and wanted.search(line):
            parents[int(folder.name)] = int(fields[1])
    roots = sorted(pid for pid, parent in parents.items() if parent not in parents)
    if len(roots) > 1:
        listed = ", ".join(map(str, roots[:5]))
        return None, f"{len(roots)} processes match {pattern!r} ({listed}): make it say which"
    ticks = pid_start_ticks(roots[0]) if roots else None
    if ticks is None:
        return None, f"no running process matches {pattern!r}"
    return (roots[0], ticks), ""


def _ancestors() -> set[int]:
    """This process and those above it: their command lines may hold the pattern, too."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            break
        pid = int(fields[1])
    return found


def ask(argv: list[str], timeout_s: float = _ASK_S) -> tuple[int | None, str]:
    """The exit code of a command that only looks (None: it did not end), and all it said, else the
    last line of its complaint.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
        )
    except OSError as error:
        return None, f"`{argv[0]}` cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return None, f"`{argv[0]}` did not answer within {timeout_s:.0f} s"
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else said
    return done.returncode, said
