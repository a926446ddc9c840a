"""One run per target at a time: a lease that its owner holds for as long as it lives.

Three signs tell a live owner, and any one of them keeps everybody else out: a lock that the kernel
holds for it (also across pid namespaces, and while it is stopped), the process itself (by boot, pid
namespace, pid and start time), and, where neither can be seen from here, that it renews the lease.
No wall clock takes a lease from a live owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stormgate.faults.errors import LeaseHeld
from stormgate.faults.state import Fate, ProcessOwner, slug, state_dir
from stormgate.system.files import read_json, sync_folder, write_durably

RENEW_S = 20.0
# An owner that cannot be looked at from here is believed for so long after its last renewal.
UNSEEN_S = 300.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may break `target`. `renewed_ns` is CLOCK_BOOTTIME of the owner's machine."""

    target: str
    owner: ProcessOwner
    folder: str
    renewed_ns: int

    def release(self) -> None:
        """Give the target back. Idempotent; a lease that someone took over meanwhile is left to
        them.
        """
        release(self)


@dataclass(slots=True)
class _Hold:
    """What this process holds of a lease: the kernel's lock, and the thread that renews."""

    lock: int
    stop: threading.Event


_holds: dict[Path, _Hold] = {}


def is_free(*, locked: bool, fate: Fate, unrenewed_s: float) -> bool:
    """Whether a lease no longer protects anything: nobody holds its lock, and its owner is gone, or
    cannot be looked at and has not renewed it for UNSEEN_S.
    """
    if locked or fate is Fate.LIVE:
        return False
    return fate is Fate.DEAD or unrenewed_s >= UNSEEN_S


def acquire(target_name: str, *, folder: Path | str = "") -> Lease:
    """Take the lease for this process and renew it until `release`; that of an owner who is gone is
    taken over.

    Raises LeaseHeld, naming the owner and its run folder, when another live run holds it, or when
    nobody can read who does; OSError when the state folder cannot be written.
    """
    mine = Lease(target_name, ProcessOwner.this(), str(folder), _boottime_ns())
    with _locked(target_name) as path:
        held = _read(path)
        if held is not None and held.owner != mine.owner:
            _refuse_if_held(held, path)
        if path not in _holds:
            lock = _try_lock(path)
            if lock is None:
                raise LeaseHeld(
                    f"target {target_name!r} is in use: somebody holds {path.with_suffix('.held')}"
                    " (in another container, perhaps); wait for that run, or stop it"
                )
            _holds[path] = _Hold(lock, threading.Event())
            threading.Thread(
                target=_renew, args=(mine, path, _holds[path].stop), name="lease", daemon=True
            ).start()
        write_durably(path, _to_json(mine))
    return mine


def release(lease: Lease) -> None:
    """See `Lease.release`."""
    with _locked(lease.target) as path:
        with contextlib.suppress(LeaseHeld):
            held = _read(path)
            if held is not None and held.owner == lease.owner:
                path.unlink(missing_ok=True)
                sync_folder(path.parent)
        if lease.owner == ProcessOwner.this() and (hold := _holds.pop(path, None)) is not None:
            hold.stop.set()
            os.close(hold.lock)


def holder(target_name: str) -> Lease | None:
    """The live lease on this target, if any. Raises LeaseHeld when nobody can read whose it is."""
    with _locked(target_name) as path:
        held = _read(path)
        return held if held is not None and not _free(held, path) else None


def _renew(lease: Lease, path: Path, stop: threading.Event) -> None:
    while not stop.wait(RENEW_S):
        # A full disk costs a renewal; the kernel's lock still stands.
        with contextlib.suppress(OSError, LeaseHeld), _locked(lease.target):
            held = _read(path)
            if not stop.is_set() and (held is None or held.owner == lease.owner):
                write_durably(path, _to_json(replace(lease, renewed_ns=_boottime_ns())))


def _refuse_if_held(held: Lease, path: Path) -> None:
    if _free(held, path):
        return
    where = f" (run folder {held.folder})" if held.folder else ""
    how = "An owner that died is taken over by itself."
    if held.owner.fate() is Fate.UNKNOWN:
        how = (
            "It cannot be looked at from here (another machine or container); if it is gone, its "
            f"lease ends {UNSEEN_S:g} s after it was last renewed."
        )
    raise LeaseHeld(
        f"target {held.target!r} is in use by {held.owner}{where}; wait for it or stop it. {how}"
    )


def _free(held: Lease, path: Path) -> bool:
    locked = path not in _holds and _is_locked(path)
    return is_free(locked=locked, fate=held.owner.fate(), unrenewed_s=_unrenewed_s(held, path))


def _unrenewed_s(held: Lease, path: Path) -> float:
    """Seconds since the last renewal: by the clock of this boot, which nobody sets; for another
    machine by the clock of the file system, which both write to.
    """
    if held.owner.boot == ProcessOwner.this().boot:
        return (_boottime_ns() - held.renewed_ns) / 1e9
    now = path.with_suffix(".lock")
    os.utime(now)
    return now.stat().st_mtime - path.stat().st_mtime


def _try_lock(path: Path) -> int | None:
    """The kernel's lock beside a lease, for as long as the descriptor is open; None when somebody
    has it.
    """
    lock = os.open(path.with_suffix(".held"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


def _is_locked(path: Path) -> bool:
    lock = _try_lock(path)
    if lock is None:
        return True
    os.close(lock)
    return False


def _path(target_name: str) -> Path:
    return state_dir() / "leases" / f"{slug(target_name)}.json"


def _to_json(lease: Lease) -> dict[str, object]:
    return {
        "target": lease.target,
        "owner": lease.owner.to_dict(),
        "folder": lease.folder,
        "renewed_ns": lease.renewed_ns,
    }


def _read(path: Path) -> Lease | None:
    """The lease in a file; None when there is none. Raises LeaseHeld when it cannot be read: then
    somebody may well hold it.
    """
    if not path.exists() and not path.is_symlink():
        return None
    data = read_json(path) if path.is_file() else None
    try:
        if data is None or type(data["renewed_ns"]) is not int:
            raise ValueError("not a lease")
        owner = ProcessOwner.of(data["owner"])
        return Lease(str(data["target"]), owner, str(data["folder"]), data["renewed_ns"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LeaseHeld(
            f"{path} cannot be read ({error}), so somebody may be using this target; see that no "
            "run is alive, then remove that file"
        ) from error


@contextlib.contextmanager
def _locked(target_name: str) -> Iterator[Path]:
    path = _path(target_name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
