"""The lab's processes: starting each so that it answers, knowing which live, ending them all."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from stormgate.lab.design.wiring import HOST, Wiring
from stormgate.lab.errors import LabError, PortTakenError
from stormgate.lab.native import postgres
from stormgate.lab.runtime.folders import Binaries
from stormgate.lab.runtime.forkserver import Nursery
from stormgate.lab.services import steward_state
from stormgate.system import processes

_START_S = 30.0
_PORT_TAKEN = (
    "address already in use",
    "could not bind",
    "error while attempting to bind",
    "failed listening on port",
)


class Child(Protocol):
    """What the fleet needs of a process: subprocess.Popen has it, and so has the nursery's."""

    pid: int
    returncode: Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, sig: int, /) -> None: ...


class Fleet:
    """All processes of one lab. Methods block; they may be called from several threads, each
    component by one at a time.
    """

    def __init__(self, wiring: Wiring, binaries: Binaries) -> None:
        self.wiring = wiring
        self.binaries = binaries
        self._journal_lock = threading.Lock()
        self.nursery = Nursery(wiring.work, wiring.log_path("nursery"))
        self.record("nursery", self.nursery.process)
        self._running: dict[str, Child] = {}
        self._running_lock = threading.Lock()
        self._closing = False
        self._locks = {name: threading.Lock() for name in wiring.layout.components()}

    def start(self, component: str, *, again: bool = False) -> int:
        """Start a component (with `again`: stop it first) and wait until it answers; its pid. Does
        nothing to one that runs.

        Raises LabError with the last line of its log, PortTakenError when somebody else has its
        port.
        """
        lock = self._locks.get(component)
        if lock is None:
            raise LabError(
                f"the lab has no component {component!r}; there are: {', '.join(self._locks)}"
            )
        with lock:
            process = self._running.get(component)
            if process is not None and process.poll() is None:
                if not again:
                    return process.pid
                self._end(component, process)
            return self._start(component)

    def states(self) -> dict[str, dict[str, object]]:
        """Of every component: pid, whether it runs, and its exit code when it does not."""
        found: dict[str, dict[str, object]] = {}
        for name in self._locks:
            process = self._running.get(name)
            code = process.poll() if process else None
            address = self.wiring.address(name)
            running = process is not None and code is None
            found[name] = {
                "pid": process.pid if process else None,
                "running": running,
                "exit_code": code,
                "address": address,
            }
        return found

    def stop_all(self) -> None:
        """End everything at once; nothing of the lab's data is to be kept."""
        with self._running_lock:
            # A start that is under way in another thread sees this and takes back what it has just
            # spawned.
            self._closing = True
            running = dict(self._running)
        for name, process in running.items():
            self._signal(name, process)
        end = time.monotonic() + 2.0
        for process in running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            process.kill()
            process.wait()
        self.nursery.stop()
        for name in self._locks:
            if "/db-" in name:
                with contextlib.suppress(LabError):
                    postgres.clear_leftovers(self.wiring.data_dir(name))

    def record(self, name: str, process: Child) -> None:
        """Note a process down, for the janitor to end should we die without doing so."""
        row = {
            "name": name,
            "pid": process.pid,
            "start_ticks": processes.pid_start_ticks(process.pid),
        }
        with self._journal_lock, (self.wiring.work / "processes.ndjson").open("a") as journal:
            journal.write(json.dumps(row) + "\n")

    def _start(self, component: str) -> int:
        if "/db-" in component:
            self._prepare_database(component)
        log_path = self.wiring.log_path(component)
        log_size = log_path.stat().st_size if log_path.exists() else 0
        process = self._spawn(component, log_path)
        with self._running_lock:
            self._running[component] = process
            closing = self._closing
        self.record(component, process)
        if closing:
            self._end(component, process)
            raise LabError(f"{component} was not started: the lab is being stopped")
        self._write_pid(component, process.pid)
        end = time.monotonic() + _START_S
        while not self._answers(component):
            if process.poll() is not None:
                raise self._died(component, process.returncode, log_path, log_size)
            if time.monotonic() > end:
                self._end(component, process)
                raise LabError(
                    f"{component} does not answer at {self.wiring.address(component)} after "
                    f"{_START_S:g} s"
                )
            time.sleep(0.01)
        return process.pid

    def _spawn(self, component: str, log_path: Path) -> Child:
        wiring, binaries = self.wiring, self.binaries
        kind = component.rpartition("/")[2]
        try:
            if kind.startswith("db-"):
                # PostgreSQL tidies up its shared memory on SIGQUIT, and does not on SIGKILL.
                return processes.spawn(
                    postgres.server_argv(binaries, wiring.data_dir(component)),
                    env=postgres.environment(),
                    cwd=Path("/"),
                    log_path=log_path,
                    user=binaries.user,
                    new_session=True,
                    death_signal=signal.SIGQUIT,
                )
            if kind == "cache":
                argv: list[str | Path] = [
                    binaries.valkey,
                    "--port",
                    str(wiring.ports[component]),
                    "--bind",
                    HOST,
                    "--dir",
                    "/",
                    "--save",
                    "",
                ]
                argv += [
                    "--appendonly",
                    "no",
                    "--maxmemory",
                    "64mb",
                    "--maxmemory-policy",
                    "allkeys-lru",
                    "--loglevel",
                    "warning",
                ]
                return processes.spawn(
                    argv,
                    env=postgres.environment(),
                    cwd=Path("/"),
                    log_path=log_path,
                    user=binaries.user,
                    new_session=True,
                )
            return self.nursery.fork(kind, wiring.config_path(component), log_path)
        except OSError as error:
            raise LabError(f"{component} cannot be started: {error}") from error

    def _prepare_database(self, component: str) -> None:
        """Bring a database's folder into the role that is due to it."""
        data_dir = self.wiring.data_dir(component)
        region, _, shard = component.partition("/db-")
        state = steward_state.load(self.wiring.cluster)[shard]
        if (data_dir / "postmaster.pid").exists():
            postgres.clear_leftovers(data_dir)
        if region == state.primary:
            return
        other = f"{state.primary}/db-{shard}"
        if not postgres.is_standby(data_dir):
            # Straight to the primary, not over the link: this is repair, and the link may be cut
            # still.
            source = postgres.Upstream(HOST, self.wiring.ports[other], region)
            if not _postgres_answers(source.port):
                raise LabError(
                    f"{component} was a primary and must be rewound from {other}, which is "
                    "down: start that first"
                )
            postgres.rewind(self.binaries, data_dir, source)
        self.write_standby(component, other, region)

    def write_standby(self, component: str, primary: str, application: str) -> None:
        """Make a (stopped) database follow `primary` over its link."""
        data_dir = self.wiring.data_dir(component)
        via = self.wiring.via(component, primary)
        upstream = postgres.Upstream(via["host"], via["port"], application)
        postgres.write_role(
            data_dir, port=self.wiring.ports[component], upstream=upstream, synchronous_with=None
        )
        postgres.give_to(data_dir, self.binaries.user)

    def _answers(self, component: str) -> bool:
        port = self.wiring.ports[component]
        kind = component.rpartition("/")[2]
        if kind.startswith("db-"):
            return _postgres_answers(port)
        if kind == "cache":
            return _exchange(port, b"PING\r\n").startswith(b"+PONG")
        return _exchange(
            port, b"GET /healthz HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n"
        ).startswith(b"HTTP/1.1 ")

    def _died(self, component: str, code: int, log_path: Path, from_byte: int) -> LabError:
        with log_path.open("rb") as log:
            log.seek(from_byte)
            lines = [
                line.strip()
                for line in log.read().decode(errors="replace").splitlines()
                if line.strip()
            ]
        last = lines[-1] if lines else "it said nothing"
        said = f"{component} ended with {code} as it started: {last}"
        taken = any(mark in line.lower() for line in lines for mark in _PORT_TAKEN)
        return PortTakenError(said) if taken else LabError(said)

    def _write_pid(self, component: str, pid: int) -> None:
        path = self.wiring.pid_path(component)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": pid, "start_ticks": processes.pid_start_ticks(pid)}))
        fresh.replace(path)

    def _signal(self, component: str, process: Child) -> None:
        for sig in (signal.SIGQUIT if "/db-" in component else signal.SIGKILL, signal.SIGCONT):
            process.send_signal(sig)

    def _end(self, component: str, process: Child) -> None:
        self._signal(component, process)
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _exchange(port: int, request: bytes) -> bytes:
    """What is answered to `request`; empty when nobody is there."""
    try:
        with socket.create_connection((HOST, port), 0.5) as line:
            line.sendall(request)
            return line.recv(64)
    except OSError:
        return b""


# An SSLRequest (length 8, code 80877103) is answered with one byte by every server that serves,
# without a login.
_SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


def _postgres_answers(port: int) -> bool:
    return _exchange(port, _SSL_REQUEST)[:1] in {b"N", b"S"}
