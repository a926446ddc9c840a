"""The lab's processes: starting each so that it answers, knowing which live, ending them all."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from pathlib import Path

from stormgate.lab.design.wiring import Wiring
from stormgate.lab.errors import LabError, PortTakenError
from stormgate.lab.kinds import Child, kind_of, kinds
from stormgate.lab.runtime.folders import Binaries
from stormgate.lab.runtime.forkserver import Nursery
from stormgate.model import Observe
from stormgate.net.look import State, look
from stormgate.system import processes

_LOOK_S = 0.5
_PORT_TAKEN = (
    "address already in use",
    "could not bind",
    "error while attempting to bind",
    "failed listening on port",
)


class Fleet:
    """All processes of one lab. Methods block; they may be called from several threads, each
    component by one at a time.
    """

    def __init__(self, wiring: Wiring, binaries: Binaries, defect: str | None = None) -> None:
        self.wiring = wiring
        self.binaries = binaries
        self._journal_lock = threading.Lock()
        self.nursery = Nursery(wiring.work, wiring.log_path("nursery"), defect)
        self.record("nursery", self.nursery.process)
        self._running: dict[str, Child] = {}
        self._running_lock = threading.Lock()
        self._closing = False
        self._locks = {part.name: threading.Lock() for part in wiring.layout.parts}

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
        for part in self.wiring.layout.parts:
            with contextlib.suppress(LabError):
                kinds()[part.kind].clear(self.wiring, part)

    def fork(self, kind: str, config: Path, log_path: Path) -> Child:
        """A process of our own programs (`Host`)."""
        return self.nursery.fork(kind, config, log_path)

    def record(
        self, name: str, process: Child, death_signal: signal.Signals = signal.SIGKILL
    ) -> None:
        """Note a process down, for the janitor to end should we die without doing so."""
        row = {
            "name": name,
            "signal": int(death_signal),
            "pid": process.pid,
            "start_ticks": processes.pid_start_ticks(process.pid),
        }
        with self._journal_lock, (self.wiring.work / "processes.ndjson").open("a") as journal:
            journal.write(json.dumps(row) + "\n")

    def _start(self, component: str) -> int:
        kind, part = kind_of(self.wiring.layout, component), self.wiring.layout.part(component)
        kind.prepare(self, part)
        log_path = self.wiring.log_path(component)
        log_size = log_path.stat().st_size if log_path.exists() else 0
        try:
            process = kind.spawn(self, part, log_path)
        except OSError as error:
            raise LabError(f"{component} cannot be started: {error}") from error
        with self._running_lock:
            self._running[component] = process
            closing = self._closing
        self.record(component, process, kind.death_signal)
        if closing:
            self._end(component, process)
            raise LabError(f"{component} was not started: the lab is being stopped")
        self._write_pid(component, process.pid)
        own = Observe(protocol=kind.protocol, address=self.wiring.address(component))
        end = time.monotonic() + kind.start_s
        while look(own, _LOOK_S).state is not State.ANSWERS:
            if process.poll() is not None:
                raise self._died(component, process.returncode, log_path, log_size)
            if time.monotonic() > end:
                self._end(component, process)
                raise LabError(
                    f"{component} does not answer at {own.address} after {kind.start_s:g} s"
                )
            time.sleep(0.01)
        return process.pid

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
        for sig in (kind_of(self.wiring.layout, component).death_signal, signal.SIGCONT):
            process.send_signal(sig)

    def _end(self, component: str, process: Child) -> None:
        self._signal(component, process)
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
