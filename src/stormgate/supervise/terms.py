"""What a run is told and what it tells: options, whoever is watching, why it ended early."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from stormgate.model import Event, Judgement
from stormgate.supervise.children import RunningTarget


class RunStopped(Exception):  # noqa: N818 - it is how a run ends, often rightly
    """The run ends early. `event` says whether a guard or person (ABORT) or the harness (ERROR)
    ended it; None: already said.
    """

    def __init__(self, event: Event | None, why: str) -> None:
        super().__init__(why)
        self.event = event
        self.why = why


class Screen(Protocol):
    """What the supervisor tells whoever is watching."""

    def phase(self, name: str, seconds: float | None) -> None: ...
    def tick(self, stats: Mapping[str, Any]) -> None: ...
    def event(self, text: str) -> None: ...
    def done(self, judgement: Judgement, folder: Path) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where a gate runs: `root` holds the content folders, `reports` gets the run folder.
    `standing`: the target runs already and goes on afterwards, whatever the plan says of it.
    """

    root: Path
    reports: Path
    lab_defect: str | None = None
    standing: RunningTarget | None = None


@contextlib.contextmanager
def stopped_by_signals(heard: Callable[[str], None]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP call `heard` with the signal's name; what it raises ends the
    trial where it stands. From the main thread.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        heard(signal.Signals(number).name)

    wanted = [signal.SIGINT, signal.SIGTERM]
    # Under nohup the run is meant to outlive its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
