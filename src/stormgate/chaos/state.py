"""Where this machine remembers which targets are held and which have open ledgers: outside any run
folder, across runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/stormgate`, else `~/.local/state/stormgate`, else a folder of this user
    below the temporary one.

    The first that can be made and written; raises OSError when none can.
    """
    env = os.environ if env is None else env
    wanted = env.get("XDG_STATE_HOME", "")
    candidates = [Path(wanted)] if os.path.isabs(wanted) else []
    home = env.get("HOME", "")
    if os.path.isabs(home):
        candidates.append(Path(home) / ".local" / "state")
    error: OSError | None = None
    for base in candidates:
        try:
            return _writable(base / "stormgate", parents=True)
        except OSError as problem:
            error = problem
    fallback = Path(tempfile.gettempdir()) / f"stormgate-{os.getuid()}"
    try:
        return _writable(fallback, parents=False)
    except OSError as problem:
        raise (error or problem) from problem


def _writable(folder: Path, *, parents: bool) -> Path:
    folder.mkdir(mode=0o700, parents=parents, exist_ok=True)
    if (
        folder.is_symlink()
        or folder.stat().st_uid != os.getuid()
        or not os.access(folder, os.W_OK | os.X_OK)
    ):
        # In a shared temporary folder another user may have made it first.
        raise PermissionError(f"{folder} is not a folder of this user that can be written")
    return folder


def slug(name: str) -> str:
    """A file name for any target name; two names never share one."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40]
    return f"{plain or 'target'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_durably(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step, on disk (file and directory entry) before this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a created, renamed or removed name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """This boot of this machine: pids and start ticks mean nothing beyond it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None when it is missing, torn or something else."""
    with contextlib.suppress(OSError, ValueError):
        data = json.loads(path.read_bytes())
        if isinstance(data, dict):
            return data
    return None
