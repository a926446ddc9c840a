"""Start, recognise and end child processes, so that none outlives its parent and none of a
stranger's is ever killed.

Linux only: it relies on `prctl(PR_SET_PDEATHSIG)`, pidfds and `/proc`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pwd
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded at import: between fork and exec nothing may allocate a lock or open a library.
_PRCTL = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(
    parent_pid: int | None = None, death_signal: signal.Signals = signal.SIGKILL
) -> None:
    """Ask the kernel to signal this process when its parent dies, even by kill -9. For
    `preexec_fn`.

    The kernel ties the signal to the *thread* that forked (a parent thread that ends counts as the
    parent's death) and forgets it on a change of credentials. `spawn` takes care of both; a caller
    of this function must. `parent_pid` closes the race in which the parent dies before this call.
    """
    _PRCTL(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(127)


def spawn(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log_path: Path | None = None,
    user: str | int | None = None,
    new_session: bool = False,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `argv` as a child that dies with this process; its output is appended to `log_path`
    (none: discarded).

    `env` None inherits ours. `user` (name or uid; needs root) also takes that user's group and no
    others. `new_session` makes the child a group leader, so that ctrl-C in the terminal does not
    reach it. `death_signal` is what it gets when we die: SIGTERM for a child that must tidy up
    after itself first. Raises OSError when the program cannot be started (missing, not executable),
    LookupError for an unknown user name.
    """
    uid, gid = _ids(user) if user is not None else (None, None)
    log = open(log_path, "ab") if log_path is not None else None  # noqa: SIM115 (closed in both branches below)
    output = log if log is not None else subprocess.DEVNULL

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [os.fspath(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log is not None else subprocess.DEVNULL,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=new_session,
            user=uid,
            group=gid,
            extra_groups=[] if uid is not None else None,
            # CPython runs preexec_fn after setuid, so the credentials change does not clear the
            # death signal.
            preexec_fn=functools.partial(die_with_parent, os.getpid(), death_signal),  # noqa: PLW1509
        )

    try:
        return _on_lasting_thread(start)
    finally:
        if log is not None:
            log.close()


def stop(
    proc: subprocess.Popen[bytes], grace_s: float = 5.0, *, group: bool = False, leads: bool = False
) -> int:
    """End a child of ours: SIGTERM, `grace_s` to comply, then SIGKILL. Returns its exit code;
    idempotent.

    A frozen (SIGSTOP) child is woken so that it can comply. `group` signals the whole session of a
    child that was spawned with `new_session`, and sweeps up what is left of it afterwards. A child
    that `leads` ends its own children in good order (a Locust master its workers): it alone is
    asked, and the others are only swept up.
    """
    pgid = proc.pid if group else None
    _signal_child(proc, signal.SIGTERM, None if leads else pgid)
    _signal_child(proc, signal.SIGCONT, pgid)
    try:
        code = proc.wait(grace_s)
    except subprocess.TimeoutExpired:
        _signal_child(proc, signal.SIGKILL, pgid)
        code = proc.wait()
    if pgid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pgid, signal.SIGKILL)
    return code


def pid_start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (field 22 of /proc/<pid>/stat); None when
    it is gone.

    `(pid, start_ticks)` names one process for ever, where a pid alone is reused.
    """
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def alive(pid: int, start_ticks: int) -> bool:
    """Whether exactly this process still runs. A zombie, or another process under the same pid,
    does not count.
    """
    fields = _stat_fields(pid)
    return bool(fields) and int(fields[19]) == start_ticks and fields[0] not in {"Z", "X"}


def signal_if_same(pid: int, start_ticks: int, sig: signal.Signals) -> bool:
    """Signal the process named by `(pid, start_ticks)`; False when it is gone. Never reaches a
    successor of the pid.

    Raises PermissionError when the process is not ours to signal.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The pidfd pins the process first; only then is it compared, so a reuse between the two
        # cannot be hit.
        if not alive(pid, start_ticks):
            return False
        signal.pidfd_send_signal(handle, sig)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def tree(pid: int, start_ticks: int) -> list[tuple[int, int]]:
    """The process and its descendants, parents before children, each as (pid, start ticks)."""
    if not alive(pid, start_ticks):
        return []
    found = [(pid, start_ticks)]
    for parent, _ in found:
        for child in _children(parent):
            child_ticks = pid_start_ticks(child)
            if child_ticks is not None and (child, child_ticks) not in found:
                found.append((child, child_ticks))
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return _children_by_scan(pid)


def _children_by_scan(pid: int) -> list[int]:
    """For kernels without /proc/<pid>/task/<tid>/children (CONFIG_PROC_CHILDREN)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if len(fields) > 1 and int(fields[1]) == pid:
                found.append(int(folder.name))
    return found


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state (field 3) on; the name before may itself hold ')'
    and spaces.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _ids(user: str | int) -> tuple[int, int]:
    if isinstance(user, str):
        entry = pwd.getpwnam(user)
        return entry.pw_uid, entry.pw_gid
    try:
        return user, pwd.getpwuid(user).pw_gid
    except KeyError:
        return user, user


def _signal_child(proc: subprocess.Popen[bytes], sig: signal.Signals, pgid: int | None) -> None:
    if pgid is None:
        proc.send_signal(sig)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, sig)


_Start = Callable[[], "subprocess.Popen[bytes]"]
_requests: queue.SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
_spawner_lock = threading.Lock()
_spawner: threading.Thread | None = None


def _on_lasting_thread(start: _Start) -> subprocess.Popen[bytes]:
    """Fork on a thread that lives as long as the process: the main one, else one kept for this
    alone.
    """
    global _spawner  # noqa: PLW0603
    if threading.current_thread() is threading.main_thread():
        return start()
    with _spawner_lock:
        if _spawner is None or not _spawner.is_alive():
            _spawner = threading.Thread(target=_serve_spawns, name="spawner", daemon=True)
            _spawner.start()
    done: Future[subprocess.Popen[bytes]] = Future()
    _requests.put((start, done))
    return done.result()


def _serve_spawns() -> None:
    while True:
        start, done = _requests.get()
        try:
            done.set_result(start())
        except BaseException as error:
            done.set_exception(error)
