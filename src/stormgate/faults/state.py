"""Where this machine remembers which targets are held and which have open ledgers: outside any run
folder, across runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path


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


def boot_id() -> str:
    """This boot of this machine: pids and start ticks mean nothing beyond it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()
