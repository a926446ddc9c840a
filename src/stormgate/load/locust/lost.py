"""When a load worker is to be taken for lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SILENT_S = 3.0


def process_state(pid: int) -> str:
    """The state letter of a local process from /proc (Z: ended, not yet waited for); "" when there
    is none.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def why_lost(
    worker: Mapping[str, Any],
    now: float,
    last_beat: float,
    *,
    host: str,
    state_of: Callable[[int], str] = process_state,
) -> str | None:
    """Why a worker is to be taken for lost, or None. `worker` is its hello: {name, pid, host}.
    Times in seconds.
    """
    if worker.get("host") == host and state_of(int(worker["pid"])) in ("", "Z", "X"):
        return f"its process {worker['pid']} is gone"
    if now - last_beat > SILENT_S:
        return f"no heartbeat for {now - last_beat:.1f} s"
    return None
