"""Where the lab's Python processes are born: one process that has imported everything forks each of
them.

Importing an HTTP server and a database driver costs most of a CPU second; nine processes that each
do so would be most of the lab's start, and a process that comes back after a fault would be late by
it. The children die with the nursery, which dies with the daemon.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormgate.lab.errors import LabError
from stormgate.system import processes

_READY_S = 60.0
_TICK_S = 0.1


class Forked:
    """A child of the nursery, with the part of subprocess.Popen that the fleet uses."""

    def __init__(self, nursery: Nursery, pid: int, start_ticks: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        """None while it runs, else its exit code (negative: the signal it died of)."""
        if self.returncode is None and not processes.alive(self.pid, self.start_ticks):
            self.returncode = self._nursery.exit_code(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
            time.sleep(0.005)
        return code

    def send_signal(self, sig: int) -> None:
        """Signal it; nothing happens when it is gone."""
        processes.signal_if_same(self.pid, self.start_ticks, signal.Signals(sig))

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The daemon's side. Thread-safe."""

    def __init__(self, work: Path, log_path: Path, defect: str | None = None) -> None:
        self._path = work / "nursery.sock"
        planted = [defect] if defect else []
        self.process = processes.spawn(
            [sys.executable, "-m", "stormgate.lab.runtime.forkserver", self._path, *planted],
            log_path=log_path,
            new_session=True,
        )
        self._log_path = log_path
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._exits: dict[int, int] = {}

    def fork(self, kind: str, config: Path, log_path: Path) -> Forked:
        """A new process of that kind. Raises LabError when the nursery is gone."""
        answer = self._ask({"kind": kind, "config": str(config), "log": str(log_path)})
        return Forked(self, int(answer["pid"]), int(answer["start_ticks"]))

    def exit_code(self, pid: int) -> int:
        """How that child ended."""
        if pid not in self._exits:
            with contextlib.suppress(LabError):
                self._exits.update(
                    {int(child): code for child, code in self._ask({"kind": ""}).items()}
                )
        return self._exits.get(pid, -signal.SIGKILL)

    def stop(self) -> None:
        """End it, and with it whatever child is left."""
        if self._line is not None:
            self._line.close()
        processes.stop(self.process, 0.0)

    def _ask(self, request: Mapping[str, str]) -> dict[str, Any]:
        with self._lock:
            try:
                line = self._line = self._line or self._connect()
                line.sendall(json.dumps(request).encode() + b"\n")
                data = b""
                while not data.endswith(b"\n"):
                    part = line.recv(65536)
                    if not part:
                        raise ConnectionError("it ended")
                    data += part
            except OSError as error:
                raise LabError(
                    f"the lab's nursery does not answer: {error}: {self._last_words()}"
                ) from error
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _connect(self) -> socket.socket:
        end = time.monotonic() + _READY_S
        while True:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(self._path))
                line.settimeout(_READY_S)
                return line
            except OSError:
                line.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _last_words(self) -> str:
        lines = (
            self._log_path.read_text(errors="replace").strip().splitlines()
            if self._log_path.exists()
            else []
        )
        return lines[-1] if lines else "it said nothing"


def _serve(path: str, defect: str | None) -> None:
    """Fork on request until the daemon hangs up."""
    from stormgate.lab.defects import programs
    from stormgate.lab.services import serving

    starts = programs(defect)
    # Shared for good: a collection in a child would copy every page it looks at.
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(1)
        line, _ = listener.accept()
    exits: dict[int, int] = {}
    pending = b""
    while True:
        _reap(exits)
        if not select.select([line], [], [], _TICK_S)[0]:
            continue
        data = line.recv(65536)
        if not data:
            return
        pending += data
        *requests, pending = pending.split(b"\n")
        for request in map(json.loads, requests):
            if not request["kind"]:
                _reap(exits)
                answer: dict[str, Any] = {str(pid): code for pid, code in exits.items()}
            else:
                pid = os.fork()
                if pid == 0:
                    line.close()
                    _become(
                        lambda: serving.main(starts[request["kind"]], request["config"]),  # noqa: B023
                        request["log"],
                    )
                answer = {"pid": pid, "start_ticks": processes.pid_start_ticks(pid)}
            line.sendall(json.dumps(answer).encode() + b"\n")


def _reap(exits: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            exits[found[0]] = os.waitstatus_to_exitcode(found[1])


def _become(run: Any, log_path: str) -> None:
    """The child's whole life: never returns."""
    code = 1
    try:
        processes.die_with_parent(os.getppid())
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        run()
        code = 0
    except SystemExit as end:
        if isinstance(end.code, int):
            code = end.code
        else:
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
