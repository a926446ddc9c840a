"""Carrying one experiment through to its undoing, whoever drives Chaos Toolkit: our runner, or
`chaos run` with our control.

The first SIGTERM, SIGINT or SIGUSR1/2 stops everything: what waits is woken, a thread of ours
undoes the ledger at once (the main thread may be deep in somebody's activity), and the main thread
leaves Chaos Toolkit by SystemExit, which it cannot swallow. Later signals change nothing, so that a
rollback under way is never cut short.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from stormgate.faults.context import Context
from stormgate.faults.errors import UndoFailed
from stormgate.faults.provisioned import is_gone
from stormgate.faults.undo import still_open, undo_all
from stormgate.judge.journal import OURS
from stormgate.model import Event
from stormgate.net.status import wait_whole
from stormgate.system.files import write_atomically
from stormgate.system.secrets import redacted_data

logger = logging.getLogger("chaostoolkit")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
# chaoslib takes 30 to mean "without rollbacks"; 20 is its code for a stop that plays them.
STOP_CODE = 20
# After everything is undone, how long somebody's activity may hold Chaos Toolkit before the journal
# is written without it.
UNWIND_S = 2.0
# What Chaos Toolkit itself says in a journal.
_WORDS = frozenset({"status", "type", "module", "func", "fault"})


class ChaosSession:
    """One experiment in one process. `begin` in the main thread, `end` when Chaos Toolkit has
    returned, however it did.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.journal: dict[str, Any] = {}
        self._undoing: threading.Thread | None = None
        self._rolling_back = False
        self._over = False
        self._unwound = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self._failed: list[str] = []
        self.controls: tuple[str, ...] = ()
        """Controls of somebody else's that see every experiment on this machine."""

    def begin(self, journal: dict[str, Any]) -> None:
        """From inside chaoslib's own signal scope (its `started` event): ours replace its handlers,
        which it puts back itself.
        """
        self.journal = journal
        self.take_signals()

    def take_signals(self) -> None:
        for each in SIGNALS:
            before = signal.signal(each, self._on_signal)
            self._before.setdefault(each, before)

    def rolling_back(self) -> None:
        """The method is over and undoing begins: say so once."""
        if not self._rolling_back:
            self._rolling_back = True
            # What ends from here on was taken back, by whomever's rollback.
            self.context.watch.end()
            with contextlib.suppress(
                OSError
            ):  # a full disk must not keep anything from being undone
                self.context.timeline.write(Event.CHAOS_ROLLBACK, fault=self.context.fault)

    @property
    def is_rolling_back(self) -> bool:
        """Whether undoing has begun."""
        return self._rolling_back

    def unwound(self) -> None:
        """Chaos Toolkit is past the method and plays the rollbacks; they have deadlines of their
        own.
        """
        self.rolling_back()
        self._unwound.set()

    def end(self) -> list[str]:
        """Undo what the rollbacks left open; what is still broken, in words. From here on signals
        change nothing.
        """
        self._unwound.set()
        self.take_signals()
        if still_open(self.context.folder, self.context.fault):
            self.rolling_back()
            self._undo()
        if self._undoing is not None:
            self._undoing.join()
        left = self.seal()
        self._over = True
        return left

    def give_signals_back(self) -> None:
        """To whoever had them before; a process of our own goes on ignoring them until it is
        gone.
        """
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def seal(self, whole_s: float = 0.0) -> list[str]:
        """Write what the ledger and the target say into the journal; what is still broken, in
        words.
        """
        left = still_open(self.context.folder, self.context.fault)
        target = self.context.target
        self.journal[OURS] = {
            "fault": self.context.fault,
            "open": left,
            "whole": wait_whole(target, whole_s).whole if target.status_url is not None else None,
            "gone": is_gone(target),
            "undo_failed": self._failed,
            "stopped": self.context.stopping.is_set(),
            **({"controls": list(self.controls)} if self.controls else {}),
            "folder": str(self.context.folder),
        }
        return left

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._over or self.context.stopping.is_set():
            return
        self.context.stopping.set()
        undoing_already = self._rolling_back or self._unwound.is_set()
        self._undoing = threading.Thread(target=self._undo_now, name="undo", daemon=True)
        self._undoing.start()
        if not undoing_already:
            raise SystemExit(STOP_CODE)

    def _undo_now(self) -> None:
        self.rolling_back()
        self._undo()
        if not self._unwound.wait(UNWIND_S):
            # Somebody's activity holds the main thread. Everything of ours is undone; say so and
            # go.
            try:
                self.journal["status"] = "interrupted"
                self.seal(whole_s=UNWIND_S)
                write_journal(self.context.folder, self.context.fault, self.journal)
            finally:
                os._exit(STOP_CODE)

    def _undo(self) -> None:
        try:
            undo_all(self.context, fault=self.context.fault)
        except UndoFailed as error:
            self._failed.append(str(error))
            logger.error(f"undo failed: {error}")
        except (
            Exception
        ) as error:  # the ledger cannot be read or written: it stays open, and that is said
            self._failed.append(f"{type(error).__name__}: {error}")
            logger.error(f"undo failed: {error}")


def write_journal(folder: Path, fault: str, journal: dict[str, Any]) -> Path:
    """journals/<fault>.json, in one step. What is not JSON in it is written as text."""
    path = folder / "journals" / f"{fault}.json"
    path.parent.mkdir(exist_ok=True)
    journal = redacted_data(journal, keep=_WORDS)
    write_atomically(path, json.dumps(journal, indent=2, ensure_ascii=False, default=str))
    return path
