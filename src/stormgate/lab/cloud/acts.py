"""What calls to the API really do: processes die and come back, links swallow, a standby takes
over.
"""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stormgate.lab.runtime import control
from stormgate.system import processes
from stormgate.toxiproxy.client import Client

_GRACE_S = 5.0
_START_S = 40.0
_PROMOTED_S = 20.0
_TOXIPROXY_S = 5.0
_PREFIX = "aws_nacl"


class Acts:
    """Acts on one lab; may be called from several threads."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._pid_files: dict[str, str] = config["inventory"]["pid_files"]
        self._control = Path(config["control"])
        self._status = str(config["status"])
        self._toxiproxy = Path(config["toxiproxy"])
        self._out: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def end(self, component: str, *, hard: bool) -> None:
        """End a process and all below it: at once, or after it was asked to."""
        try:
            data = json.loads(Path(self._pid_files[component]).read_bytes())
            pid, ticks = int(data["pid"]), int(data["start_ticks"])
        except (OSError, ValueError, KeyError):
            return  # it does not run
        members = processes.tree(pid, ticks)
        if not hard:
            processes.signal_if_same(pid, ticks, signal.SIGTERM)
            end = time.monotonic() + _GRACE_S
            while processes.alive(pid, ticks) and time.monotonic() < end:
                time.sleep(0.01)
        # All are stopped before one dies: a postmaster would tidy up after a child.
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for member in members:
                processes.signal_if_same(*member, sig)

    def start(self, component: str) -> None:
        """Bring a process back. Raises LabError."""
        control.ask(self._control, {"op": "start", "component": component}, _START_S)

    def start_soon(self, components: Iterable[str]) -> None:
        """The same for several, without waiting for them, as AWS does."""
        for component in components:
            threading.Thread(target=self._start_and_say, args=(component,), daemon=True).start()

    def took_over(self, component: str) -> bool:
        """Wait until the steward names a database the primary of its shard."""
        end = time.monotonic() + _PROMOTED_S
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(self._status, timeout=1.0) as answer:  # noqa: S310 - the lab's own, on loopback
                    role = json.load(answer)["components"][component]["role"]
            except (OSError, ValueError, KeyError):
                role = None
            if role == "primary":
                return True
            time.sleep(0.05)
        return False

    def serve(self, edges: Iterable[str], *, wanted: bool, why: str) -> None:
        """Whether the steward's table has these edges: no user is led to one that is out, for
        whatever reason. Raises OSError.
        """
        own = {(why, edge) for edge in edges}
        with self._lock:
            self._out = self._out - own if wanted else self._out | own
            request = urllib.request.Request(  # noqa: S310 - the lab's own, on loopback
                f"{self._status.removesuffix('/status')}/targets",
                method="PUT",
                data=json.dumps({"out": sorted({edge for _, edge in self._out})}).encode(),
            )
            urllib.request.urlopen(request, timeout=5.0).close()  # noqa: S310 - the same

    def cut(self, links: Iterable[str]) -> None:
        """Nothing passes over these links, and nobody is told."""
        client = self._client()
        for link in links:
            for stream in ("upstream", "downstream"):
                name = f"{_PREFIX}_{stream}"
                client.ensure_toxic(link, "timeout", {"timeout": 0}, name=name, stream=stream)

    def mend(self, links: Iterable[str]) -> None:
        """They pass again."""
        client = self._client()
        for link in links:
            for stream in ("upstream", "downstream"):
                client.ensure_no_toxic(link, f"{_PREFIX}_{stream}")

    def _client(self) -> Client:
        return Client(self._toxiproxy.read_text().strip(), _TOXIPROXY_S)

    def _start_and_say(self, component: str) -> None:
        try:
            self.start(component)
        except Exception as error:  # a thread of its own: whoever looks sees that it is down
            print(f"{component}: {error}", flush=True)
