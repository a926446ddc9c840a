"""`python -m stormgate.lab.runtime.daemon --state DIR [--defect NAME]`: the parent of every process
of the lab.

Reads DIR/target.json, writes DIR/topology.json once the lab is whole, and DIR/error.txt with one
line if it cannot be. SIGTERM or SIGINT ends and cleans everything. A child that dies is noticed and
left dead: whoever killed it decides when it comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormgate.lab.defects import planted
from stormgate.lab.design.plan import plan
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.errors import LabError, PortTakenError
from stormgate.lab.runtime import folders
from stormgate.lab.runtime.boot import Lab, write_topology
from stormgate.lab.runtime.janitor import clean_up
from stormgate.model import Target, from_json
from stormgate.system import processes

_TRIES = 3
_STATE_FILES = ("topology.json", "daemon.json", "pids")


class Daemon:
    """One lab from its start to its end."""

    def __init__(self, state: Path, defect: str | None, env: Mapping[str, str]) -> None:
        self.state = state
        self.defect = defect
        self.env = env
        self.lab: Lab | None = None
        self.work: Path | None = None
        self.stopping = asyncio.Event()
        self._pipe: int | None = None
        self._janitor: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """Up, serve, down. Raises LabError; cleans up in every case."""
        try:
            booting = asyncio.create_task(self._boot())
            stopped = asyncio.create_task(self.stopping.wait())
            await asyncio.wait({booting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not booting.done():
                # Threads cannot be interrupted, but what they wait for can be taken away.
                if self.lab is not None:
                    await asyncio.to_thread(self.lab.stop)
                with contextlib.suppress(Exception):
                    await booting
                return
            booting.result()
            assert self.lab is not None  # noqa: S101
            control = await asyncio.start_unix_server(self._serve, path=self.lab.wiring.control)
            self.lab.wiring.control.chmod(0o600)
            self._write_daemon_file()
            write_topology(self.state, self.lab.target(self.defect))
            print("whole", flush=True)
            async with control:
                await self._watch()
        finally:
            await asyncio.to_thread(self._clean)

    async def _boot(self) -> None:
        target = from_json(Target, json.loads((self.state / "target.json").read_text()))
        defect = planted(self.defect)
        layout, settings = defect.layout(plan(target)), defect.settings(LabSettings())
        for attempt in range(1, _TRIES + 1):
            await asyncio.to_thread(folders.sweep_abandoned, self.env)
            for folder in ("pids", "logs"):  # an attempt before this one took its own with it
                (self.state / folder).mkdir(exist_ok=True)
            self.work = folders.make_work_dir(self.env)
            self._start_janitor(self.work)
            try:
                self.lab = Lab(layout, settings, self.work, self.state, self.env, self.defect)
                await asyncio.to_thread(self.lab.up, lambda text: print(text, flush=True))
                return
            except PortTakenError as error:
                if attempt == _TRIES or self.stopping.is_set():
                    raise
                print(f"trying other ports: {error}", flush=True)
                await asyncio.to_thread(self._clean)

    def _start_janitor(self, work: Path) -> None:
        reading, self._pipe = os.pipe()
        leftovers = [str(self.state / name) for name in _STATE_FILES]
        argv = [
            sys.executable,
            "-m",
            "stormgate.lab.runtime.janitor",
            str(reading),
            str(work),
            *leftovers,
        ]
        # Not `processes.spawn`: this one child must outlive us.
        self._janitor = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[reading],
            start_new_session=True,
            cwd="/",
        )
        os.close(reading)

    def _write_daemon_file(self) -> None:
        assert self.lab is not None  # noqa: S101
        pid = os.getpid()
        facts = {
            "pid": pid,
            "start_ticks": processes.pid_start_ticks(pid),
            "control": str(self.lab.wiring.control),
            "defect": self.defect,
        }
        fresh = self.state / "daemon.json.new"
        fresh.write_text(json.dumps(facts))
        os.replace(fresh, self.state / "daemon.json")

    async def _watch(self) -> None:
        """Reap and report the dead until told to stop."""
        assert self.lab is not None  # noqa: S101
        assert self.lab.fleet is not None  # noqa: S101
        known_dead: set[object] = set()
        while not self.stopping.is_set():
            for name, state in self.lab.fleet.states().items():
                if not state["running"] and state["pid"] not in known_dead:
                    known_dead.add(state["pid"])
                    print(
                        f"{time.monotonic():.3f} {name} ({state['pid']}) ended with "
                        f"{state['exit_code']}",
                        flush=True,
                    )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            answer = await self._do(request)
        except LabError as error:
            answer = {"error": str(error)}
        except (ValueError, KeyError, TypeError) as error:
            answer = {"error": f"not understood: {error!r}"}
        with contextlib.suppress(OSError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.lab is not None  # noqa: S101
        assert self.lab.fleet is not None  # noqa: S101
        match request["op"]:
            case "start":
                again = bool(request.get("again", False))
                return {
                    "pid": await asyncio.to_thread(
                        self.lab.fleet.start, str(request["component"]), again=again
                    )
                }
            case "status":
                return {"components": self.lab.fleet.states()}
            case "stop":
                self.stopping.set()
                return {}
        raise LabError(f"no such operation: {request['op']!r}")

    def _clean(self) -> None:
        """End everything, remove every trace but the logs; then let the janitor go, who finds
        nothing left to do.
        """
        try:
            if self.lab is not None:
                self.lab.stop()
        finally:
            if self.work is not None:
                clean_up(self.work, [self.state / name for name in _STATE_FILES])
            self.lab = self.work = None
            if self._pipe is not None:
                os.close(self._pipe)
                self._pipe = None
            if self._janitor is not None:
                self._janitor.wait()
                self._janitor = None


async def _main(state: Path, defect: str | None) -> None:
    daemon = Daemon(state, defect, os.environ)
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(sig, daemon.stopping.set)
    await daemon.run()


def main() -> None:
    """Exit code 0 after an orderly end, 1 with one line on stderr and in DIR/error.txt
    otherwise.
    """
    parser = argparse.ArgumentParser(prog="stormgate.lab.runtime.daemon")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--defect", default=None)
    arguments = parser.parse_args()
    state: Path = arguments.state.resolve()
    (state / "error.txt").unlink(missing_ok=True)
    shutil.rmtree(state / "logs", ignore_errors=True)
    try:
        asyncio.run(_main(state, arguments.defect))
    except (LabError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        with contextlib.suppress(OSError):
            (state / "error.txt").write_text(reason + "\n")
        raise SystemExit(reason) from None


if __name__ == "__main__":
    main()
