"""Kinds of the lab's processes, one file each, found by being there: `kinds/<name>.py` with `KIND`.

A kind says which processes there are, whom they dial, how they start, what they are asked, and how
they are looked at. Nothing else in the lab takes a component's name apart.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.wiring import Wiring
from stormgate.model import Store


class Child(Protocol):
    """What is needed of a process: subprocess.Popen has it, and so has the nursery's."""

    pid: int
    returncode: Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, sig: int, /) -> None: ...


class Host(Protocol):
    """What a kind is given to start its processes with (runtime/fleet.py)."""

    wiring: Wiring
    binaries: Any

    def fork(self, kind: str, config: Path, log_path: Path) -> Child:
        """A process of our own programs, born of the one that has imported them all."""

    def start(self, component: str) -> int:
        """Start a component and wait until it answers."""


class ProcessKind:
    """A kind of process; the defaults are those of a program of our own, in every region one."""

    name: ClassVar[str]
    # Where it stands in lists, and what is there before it: data first, what needs it later.
    rank: ClassVar[int] = 5
    # Its own protocol, in which it is looked at: http (GET /healthz), redis or postgres.
    protocol: ClassVar[str] = "http"
    # A program of our own: `module:function` that gives the handler and the loops of its process
    # (see services/serving.py). None: a server that `spawn` starts.
    program: ClassVar[str | None] = None
    # Started only once everything else answers, so that it takes nothing that is starting for dead.
    last: ClassVar[bool] = False
    # The steward asks it itself how it is.
    watched: ClassVar[bool] = True
    # How long it may take to answer, s.
    start_s: ClassVar[float] = 30.0
    # What ends it at once, its own leftovers included.
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def parts(self, layout: Layout) -> Iterable[Process]:
        """Its processes."""
        return [Process(f"{region}/{self.name}", self.name, region) for region in layout.regions]

    def links(self, layout: Layout) -> Iterable[Hop]:
        """The hops that lead to its processes from outside the lab, and those that they dial."""
        return ()

    def stores(self, wiring: Wiring, part: Process) -> Iterable[Store]:
        """Where one of its processes leaves data, and how that is asked."""
        return ()

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        """What a program of our own is told beside its name, port and the settings, as JSON."""
        return {}

    def spawn(self, host: Host, part: Process, log_path: Path) -> Child:
        """Start one. Raises OSError, LabError."""
        return host.fork(self.name, host.wiring.config_path(part.name), log_path)

    def prepare(self, host: Host, part: Process) -> None:
        """Whatever a start needs done first, each time. Raises LabError."""

    def founding(self, host: Host, env: Mapping[str, str]) -> Callable[[Process], object]:
        """What starts one for the first time, when nothing of the lab is there yet."""
        return lambda part: host.start(part.name)

    def clear(self, wiring: Wiring, part: Process) -> None:
        """Take away what an ended process may have left behind outside its folder."""


@functools.cache
def kinds() -> Mapping[str, ProcessKind]:
    """All kinds by name."""
    found = [
        importlib.import_module(f"{__name__}.{info.name}").KIND
        for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    ]
    return {kind.name: kind for kind in found}


def kind_of(layout: Layout, component: str) -> ProcessKind:
    """The kind of a component. Raises LookupError for a name that the lab does not have."""
    return kinds()[layout.part(component).kind]
