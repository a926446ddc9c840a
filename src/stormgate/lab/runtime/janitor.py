"""Tidies up after a lab's daemon that died without doing so itself (kill -9): its processes, shared
memory and folders.

It is a process of its own, in a session of its own, holding the read end of a pipe whose write end
only the daemon has: whatever the daemon dies of, the pipe ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stormgate.lab.native import sharedmemory
from stormgate.system import processes

_GRACE_S = 2.0


def clean_up(work: Path, leftovers: list[Path]) -> None:
    """End what is recorded in `work` and still runs, then remove its shared memory, `work` itself
    and `leftovers`.
    """
    for sig in (None, signal.SIGKILL):
        end = time.monotonic() + _GRACE_S
        for pid, ticks, own in _recorded(work):
            # Some have something to do as they die (PostgreSQL on SIGQUIT); the others are just
            # ended.
            processes.signal_if_same(pid, ticks, own if sig is None else sig)
            processes.signal_if_same(pid, ticks, signal.SIGCONT)
        while any(processes.alive(pid, ticks) for pid, ticks, _ in _recorded(work)):
            if time.monotonic() >= end:
                break
            time.sleep(0.02)
        else:
            break
    sharedmemory.remove_segments_of(work)
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)


def _recorded(work: Path) -> Iterator[tuple[int, int, signal.Signals]]:
    try:
        lines = (work / "processes.ndjson").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
            yield int(row["pid"]), int(row["start_ticks"]), signal.Signals(int(row["signal"]))
        except (ValueError, KeyError, TypeError):
            continue  # torn by the death, or a process that was gone before it could be noted


def main() -> None:
    """`python -m stormgate.lab.runtime.janitor <pipe fd> <work> <leftover>...`"""
    pipe, work, *leftovers = sys.argv[1:]
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    while os.read(int(pipe), 1):
        pass
    clean_up(Path(work), [Path(path) for path in leftovers])


if __name__ == "__main__":
    main()
