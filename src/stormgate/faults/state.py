"""Where this machine remembers which targets are held and which have open ledgers: outside any run
folder, across runs. And who a process is, told so that no later one is taken for it.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stormgate.system.files import write_durably
from stormgate.system.processes import alive, pid_start_ticks

HOW_TO_KEEP_STATE = "set XDG_STATE_HOME to a folder that this user can write, and keep it set"


def state_path(env: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/stormgate`, else `~/.local/state/stormgate`, else (no home at all) a folder
    of this user below the temporary one. Which one depends on the environment alone, never on what
    can be written: a run must not hide its ledger where no `restore` looks.
    """
    env = os.environ if env is None else env
    wanted, home = env.get("XDG_STATE_HOME", ""), env.get("HOME", "")
    if os.path.isabs(wanted):
        return Path(wanted) / "stormgate"
    if os.path.isabs(home):
        return Path(home) / ".local" / "state" / "stormgate"
    return Path(tempfile.gettempdir()) / f"stormgate-{os.getuid()}"


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """The folder of `state_path`, made if need be. Raises OSError when it cannot be used."""
    folder = state_path(env)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (
        folder.is_symlink()
        or folder.stat().st_uid != os.getuid()
        or not os.access(folder, os.W_OK | os.X_OK)
    ):
        # In a shared temporary folder another user may have made it first.
        raise PermissionError(f"{folder} is not a folder of this user that can be written")
    return folder


def require_writable() -> Path:
    """The state folder, after something was really written to it: a full or read-only disk has to
    be found before the first fault. Raises OSError.
    """
    folder = state_dir()
    probe = folder / f"writable.{os.getpid()}"
    write_durably(probe, {"pid": os.getpid()})
    probe.unlink()
    return folder


def elsewhere(env: Mapping[str, str] | None = None) -> list[Path]:
    """Other folders where runs of this user may have left ledgers, under another environment."""
    env = os.environ if env is None else env
    others = [state_path({"HOME": env.get("HOME", "")}), state_path({})]
    here = state_path(env)
    return [folder for folder in dict.fromkeys(others) if folder != here and folder.is_dir()]


def slug(name: str) -> str:
    """A file name for any target name; two names never share one."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain or 'target'}-{digest[:8]}"


def boot_id() -> str:
    """This boot of this machine: pids and start ticks mean nothing beyond it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node()


def pid_namespace() -> str:
    """Where our pids mean something: in another container they name other processes."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def machine() -> str:
    """This machine, across reboots."""
    identity = ""
    with contextlib.suppress(OSError):
        identity = Path("/etc/machine-id").read_text().strip()
    return f"{identity}/{platform.node()}"


class Fate(enum.Enum):
    """What is known of a process."""

    LIVE = "live"
    DEAD = "dead"
    UNKNOWN = "unknown"  # on another machine, or in another pid namespace


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """A process, told from every other one that ever had its pid."""

    pid: int
    start_ticks: int
    boot: str
    pid_ns: str
    machine: str

    @classmethod
    def this(cls) -> ProcessOwner:
        """This process."""
        ticks = pid_start_ticks(os.getpid()) or 0
        return cls(os.getpid(), ticks, boot_id(), pid_namespace(), machine())

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> ProcessOwner:
        """From what `to_dict` gave. Raises ValueError when that is not what stands there."""
        pid, ticks = data.get("pid"), data.get("start_ticks")
        words = [data.get(name) for name in ("boot", "pid_ns", "machine")]
        if type(pid) is not int or type(ticks) is not int or pid <= 0 or ticks < 0:
            raise ValueError("it does not say whose it is")
        if not all(isinstance(word, str) for word in words):
            raise ValueError("it does not say where its owner lives")
        return cls(pid, ticks, *(str(word) for word in words))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fate(self, here: ProcessOwner | None = None) -> Fate:
        """Whether it still lives, as far as that can be told from `here` (this process)."""
        here = here or ProcessOwner.this()
        if self.boot == here.boot:
            if self.pid_ns != here.pid_ns:
                return Fate.UNKNOWN
            return Fate.LIVE if alive(self.pid, self.start_ticks) else Fate.DEAD
        # A reboot ends everything that ran on a machine; of another machine nothing is known.
        return Fate.DEAD if self.machine == here.machine else Fate.UNKNOWN

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.rpartition('/')[2] or 'an unknown machine'}"
