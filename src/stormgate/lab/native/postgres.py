"""PostgreSQL as the lab runs it: settings, copies of a template as primary and standby, rewinding
an old primary.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stormgate.lab.errors import LabError
from stormgate.lab.native import sharedmemory
from stormgate.lab.runtime.folders import Binaries

SUPERUSER = "chenu"
# What the template is made of: a change here must give it another name in the cache.
TEMPLATE_FORMAT = 3
_TOOL_TIMEOUT_S = 60.0

# Chosen for a small server that is killed often and measured in milliseconds.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Dynamic segments inside the data folder: a killed server leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "16MB",
    "huge_pages": "off",
    "max_connections": "100",
    "superuser_reserved_connections": "5",
    "io_method": "sync",
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    # A lab lives for minutes: vacuum would only add jitter.
    "autovacuum": "off",
    "update_process_title": "off",
    # kill -9 of a process loses nothing that reached the kernel, and the lab cannot lose the
    # kernel.
    "fsync": "off",
    "wal_level": "replica",
    "max_wal_senders": "6",
    # pg_rewind needs the WAL since the fork, and hint bits in it.
    "wal_keep_size": "64MB",
    "wal_log_hints": "on",
    "min_wal_size": "2MB",
    "max_wal_size": "64MB",
    "checkpoint_timeout": "30min",
    "hot_standby": "on",
    # With the default of 5 s every second promotion waits that long for WAL that will never come.
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_status_interval": "1s",
    "wal_receiver_timeout": "3s",
    "wal_sender_timeout": "3s",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "log_startup_progress_interval": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_HBA = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a standby streams from: the address of its link to the primary, and the name it goes by
    there.
    """

    host: str
    port: int
    application: str


def environment() -> dict[str, str]:
    """What the native servers are given: nothing of ours leaks into them."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def run_tool(argv: Sequence[str | Path], user: str | None, cwd: Path | None = None) -> None:
    """Run a PostgreSQL program to its end. Raises LabError with the last line it said."""
    try:
        done = subprocess.run(
            [str(part) for part in argv],
            env=environment(),
            cwd=cwd or "/",
            user=user,
            group=_group(user),
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{Path(argv[0]).name}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(
            f"{Path(argv[0]).name} ended with {done.returncode}: "
            f"{said[-1] if said else 'it said nothing'}"
        )


def _group(user: str | None) -> int | None:
    import pwd

    return pwd.getpwnam(user).pw_gid if user else None


def initdb(binaries: Binaries, data_dir: Path) -> None:
    """Make an empty cluster with our settings. `data_dir` must not exist; its parent must be
    writable for the servers' user.
    """
    argv: list[str | Path] = [
        binaries.tool("initdb"),
        "-D",
        data_dir,
        "-U",
        SUPERUSER,
        "--auth=trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "-N",
    ]
    # Small segments: a copy of the template is then 25 MB smaller. No instructions: nobody reads
    # them.
    run_tool([*argv, "--wal-segsize=1", "--no-instructions"], binaries.user)
    lines = [f"{name} = '{value}'\n" for name, value in SETTINGS.items()]
    (data_dir / "postgresql.conf").write_text("".join(lines))
    (data_dir / "pg_hba.conf").write_text(_HBA)


def write_role(
    data_dir: Path, *, port: int, upstream: Upstream | None, synchronous_with: str | None
) -> None:
    """Make the (stopped) cluster a primary (`upstream` None) or a standby, for its next start."""
    lines = [f"port = {port}\n"]
    if upstream is not None:
        target = (
            f"host={upstream.host} port={upstream.port} user={SUPERUSER} "
            f"application_name={upstream.application} sslmode=disable"
        )
        lines.append(f"primary_conninfo = '{target} connect_timeout=3'\n")
    names = f'"{synchronous_with}"' if synchronous_with else ""
    lines.append(f"synchronous_standby_names = '{names}'\n")
    # ALTER SYSTEM writes this very file, so a role that the steward gave outlives a restart.
    (data_dir / "postgresql.auto.conf").write_text("".join(lines))
    signal_file = data_dir / "standby.signal"
    if upstream is not None:
        signal_file.touch()
    else:
        signal_file.unlink(missing_ok=True)


def is_standby(data_dir: Path) -> bool:
    """Whether the cluster was a standby when it last ran."""
    return (data_dir / "standby.signal").exists()


def clone(template: Path, data_dir: Path, user: str | None) -> None:
    """Copy a template. Raises LabError (a full disk, a template that cannot be read)."""
    # By cp: a thousand small files take 20 ms this way and 150 ms by shutil.
    run_tool(["/bin/cp", "-r", "--reflink=auto", template, data_dir], None)
    give_to(data_dir, user)


def give_to(path: Path, user: str | None) -> None:
    """Hand the folder to the servers' user, closed to all others as PostgreSQL demands."""
    path.chmod(0o700)
    if user is not None:
        run_tool(["/bin/chown", "-R", f"{user}:", path], None)


def server_argv(binaries: Binaries, data_dir: Path) -> list[str]:
    """The command line of the server."""
    return [str(binaries.tool("postgres")), "-D", str(data_dir)]


def clear_leftovers(data_dir: Path) -> None:
    """What a killed server left: its segment and its lock file. Raises LabError while processes of
    it still run.
    """
    if not sharedmemory.remove_segment(data_dir):
        raise LabError(f"{data_dir.name}: processes of the killed server still run")
    (data_dir / "postmaster.pid").unlink(missing_ok=True)


def rewind(binaries: Binaries, data_dir: Path, source: Upstream) -> None:
    """Take back what a former primary wrote after the fork, from the present primary. Raises
    LabError when it cannot.
    """
    server = (
        f"host={source.host} port={source.port} user={SUPERUSER} dbname=postgres sslmode=disable"
    )
    run_tool(
        [binaries.tool("pg_rewind"), "-D", data_dir, "--source-server", server, "--no-sync"],
        binaries.user,
    )
