"""One run per target at a time: a lease with an owner that can be checked and an expiry for owners
that cannot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stormgate.faults.errors import LeaseHeld
from stormgate.faults.state import boot_id, slug, state_dir
from stormgate.system.files import read_json, sync_folder, write_durably
from stormgate.system.processes import alive, pid_start_ticks

DEFAULT_TTL_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may break `target`. `boot` and `start_ticks` tell the owner from any later process of its
    pid.
    """

    target: str
    pid: int
    start_ticks: int
    host: str
    boot: str
    folder: str
    expires_unix: float

    def release(self) -> None:
        """Give the target back. Idempotent; a lease that someone took over meanwhile is left to
        them.
        """
        release(self)


def is_stale(lease: Lease, *, boot: str, now_unix: float, owner_alive: bool) -> bool:
    """Whether a lease no longer protects anything: past its expiry, or its owner (on this boot of
    this machine) is gone.
    """
    if now_unix >= lease.expires_unix:
        return True
    return lease.boot == boot and not owner_alive


def acquire(target_name: str, *, folder: Path | str = "", ttl_s: float = DEFAULT_TTL_S) -> Lease:
    """Take the lease for this process; its own is renewed, a stale one is taken over.

    Raises LeaseHeld, naming the owner and its run folder, when another live run holds it.
    """
    mine = Lease(
        target=target_name,
        pid=os.getpid(),
        start_ticks=pid_start_ticks(os.getpid()) or 0,
        host=platform.node(),
        boot=boot_id(),
        folder=str(folder),
        expires_unix=time.time() + ttl_s,
    )
    with _locked(target_name) as path:
        held = _read(path)
        if held is not None and not _same_owner(held, mine) and not _stale(held):
            where = f" (run folder {held.folder})" if held.folder else ""
            raise LeaseHeld(
                f"target {target_name!r} is in use by process {held.pid} on {held.host}{where}; "
                f"wait for it or stop it. An owner that died is taken over by itself."
            )
        write_durably(path, asdict(mine))
    return mine


def release(lease: Lease) -> None:
    """See `Lease.release`."""
    with _locked(lease.target) as path:
        held = _read(path)
        if held is not None and _same_owner(held, lease):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)


def holder(target_name: str) -> Lease | None:
    """The live lease on this target, if any."""
    held = _read(_path(target_name))
    return None if held is None or _stale(held) else held


def _same_owner(one: Lease, other: Lease) -> bool:
    return (one.pid, one.start_ticks, one.boot) == (other.pid, other.start_ticks, other.boot)


def _stale(lease: Lease) -> bool:
    return is_stale(
        lease, boot=boot_id(), now_unix=time.time(), owner_alive=alive(lease.pid, lease.start_ticks)
    )


def _path(target_name: str) -> Path:
    return state_dir() / "leases" / f"{slug(target_name)}.json"


def _read(path: Path) -> Lease | None:
    data = read_json(path)
    try:
        return None if data is None else Lease(**data)
    except TypeError:
        return None  # written by another version: a lease nobody can check protects nothing


@contextlib.contextmanager
def _locked(target_name: str) -> Iterator[Path]:
    path = _path(target_name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
