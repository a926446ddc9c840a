"""Containers as far as signals go: each a PID namespace of its own, with a real process tree below
a PID 1 that the kernel keeps signals from, and commands that are run inside.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

ALONE = ("sleep", "1000")
# PID 1 waits for its one child and ends with it, as an init does.
BELOW_AN_INIT = ("sh", "-c", "sleep 1000 & wait $!")
EXEC_S = 5.0


@functools.cache
def _unshare() -> tuple[str, ...] | None:
    """How a PID namespace is made here; None where the kernel gives us none."""
    if not all(map(shutil.which, ("setpriv", "unshare", "nsenter"))):
        return None
    for more in ((), ("--user", "--map-root-user")):
        argv = (
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            *more,
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        )
        done = subprocess.run([*argv, "true"], capture_output=True, check=False)
        if done.returncode == 0:
            return argv
    return None


def possible() -> bool:
    """Whether this machine lets us."""
    return _unshare() is not None


class Container:
    """One container; it dies with the thread that began it."""

    def __init__(self, argv: tuple[str, ...] = BELOW_AN_INIT, **more: Any) -> None:
        self.argv, self.more = argv, more
        self.restarts = -1
        self.ended: int | None = None
        self.start()

    def start(self) -> None:
        found = _unshare()
        assert found is not None
        self.restarts += 1
        self.id = f"containerd://{uuid.uuid4().hex}"
        self.outer = subprocess.Popen([*found, *self.argv], stdin=subprocess.DEVNULL, **self.more)
        self.init = self._child()

    def exec(self, argv: list[str]) -> tuple[bytes, bytes, int]:
        """(stdout, stderr, exit code) of a command in it."""
        enter = ["nsenter", "--target", str(self.init), "--pid", "--mount"]
        found = _unshare() or ()
        enter += ["--user", "--preserve-credentials"] if "--user" in found else []
        try:
            done = subprocess.run(
                [*enter, "--", *argv], capture_output=True, timeout=EXEC_S, check=False
            )
        except FileNotFoundError as error:
            return b"", str(error).encode(), 127
        code = done.returncode
        return done.stdout, done.stderr, code if code >= 0 else 128 - code

    def look(self) -> bool:
        """Start it anew when it has ended, as a kubelet does; whether it had."""
        code = self.outer.poll()
        if code is None:
            return False
        self.ended = code if code >= 0 else 128 - code
        self.start()
        return True

    def status(self, name: str = "main") -> dict[str, Any]:
        """What a kubelet says of it."""
        found: dict[str, Any] = {
            "name": name,
            "containerID": self.id,
            "restartCount": self.restarts,
            "ready": True,
            "state": {"running": {}},
        }
        if self.ended is not None:
            found["lastState"] = {"terminated": {"exitCode": self.ended, "reason": "Error"}}
        return found

    def states(self) -> list[str]:
        """The states of its processes below PID 1."""
        found = []
        for line in self.exec(["sh", "-c", "cat /proc/[0-9]*/stat"])[0].decode().splitlines():
            if not line.startswith("1 ") and "(sleep)" in line:
                found.append(line.rpartition(") ")[2][0])
        return found

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self.outer.kill()
        self.outer.wait()

    def _child(self) -> int:
        path = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children")
        end = time.monotonic() + 5
        while True:
            children = path.read_text().split()
            # It is the container once it is another program than unshare itself.
            if children:
                name = Path(f"/proc/{children[0]}/comm").read_text().strip()
                if name not in ("setpriv", "unshare"):
                    return int(children[0])
            assert time.monotonic() < end, "no container began"
            time.sleep(0.002)
