"""Shared memory that a killed PostgreSQL leaves behind, found by what its own data folder says of
it.

`dynamic_shared_memory_type=mmap` keeps the dynamic segments inside the data folder; what remains is
the small System V segment by which PostgreSQL knows whether another one uses the folder. Line 7 of
`postmaster.pid` names it: "key id".
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

_IPC_RMID = 0
_SHMCTL = ctypes.CDLL(None, use_errno=True).shmctl


def segment_of(data_dir: Path) -> int | None:
    """The id of the segment that the data folder's (last) server made; None when it says
    nothing.
    """
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
        return int(lines[6].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def attached(segment: int) -> int | None:
    """How many processes are attached to it; None when it is gone."""
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1]) == segment:
            return int(fields[6])
    return None


def remove_segment(data_dir: Path, deadline_s: float = 3.0) -> bool:
    """Remove that segment once nobody is attached; True when it is gone. Backends of a killed
    postmaster end by themselves.
    """
    segment = segment_of(data_dir)
    if segment is None:
        return True
    end = time.monotonic() + deadline_s
    while (count := attached(segment)) is not None:
        if count == 0 and _SHMCTL(segment, _IPC_RMID, None) == 0:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


def remove_segments_of(work: Path, deadline_s: float = 3.0) -> None:
    """The same for every data folder below a lab's working folder."""
    for pid_file in work.glob("*/postmaster.pid"):
        remove_segment(pid_file.parent, deadline_s)
