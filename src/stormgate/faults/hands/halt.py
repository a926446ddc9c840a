"""The order to halt: while it stands nothing is broken by anybody of this user on this machine.

`halted.json` in the state folder. Every injection writes its intent through `not_halted`, under a
lock that `halt`, once the order stands, takes alone: an intent is in a ledger before `halt`
returns, where whoever halts finds it, or it is refused. Taking back is never refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stormgate.faults.errors import Halted
from stormgate.faults.state import state_dir, state_path
from stormgate.system.files import read_json, sync_folder, write_durably

FILE, LOG = "halted.json", "halts.ndjson"
_ORDERS, _INTENTS = "halt.lock", "intents.lock"


@dataclass(frozen=True, slots=True)
class Halt:
    """An order that stands: who gave it, when (UTC, ISO 8601), and why."""

    by: str
    utc: str
    why: str

    def __str__(self) -> str:
        return f"halted by {self.by} at {self.utc}{f': {self.why}' if self.why else ''}"


def who() -> str:
    """This user on this machine, as ledgers and timelines name a person who said nothing else."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def standing() -> Halt | None:
    """The order that stands, if any. One that cannot be read stands, too."""
    path = state_path() / FILE
    if not (path.exists() or path.is_symlink()):
        return None
    data = read_json(path) or {}
    try:
        return Halt(str(data["by"]), str(data["utc"]), str(data["why"]))
    except KeyError:
        return Halt("nobody knows whom", "an unknown time", f"{path} cannot be read")


def halt(by: str, why: str = "") -> Halt:
    """Give the order; one that stands already is left as it is. From the return on no injection
    writes an intent any more. Raises OSError when it cannot be kept: then nothing is halted.
    """
    with _locked(_ORDERS, fcntl.LOCK_EX) as folder:
        order = standing()
        if order is None:
            order = Halt(by, _utc(), why)
            write_durably(folder / FILE, {"by": order.by, "utc": order.utc, "why": order.why})
            _note(folder, "halt", by, why)
        # The order first, so that nobody new comes in; then wait for those who are inside.
        with _locked(_INTENTS, fcntl.LOCK_EX):
            return order


def resume(by: str, why: str) -> Halt | None:
    """Take the order back; the one that stood. Raises OSError."""
    with _locked(_ORDERS, fcntl.LOCK_EX) as folder:
        before = standing()
        if before is not None:
            (folder / FILE).unlink(missing_ok=True)
            sync_folder(folder)
            _note(folder, "resume", by, why)
        return before


@contextlib.contextmanager
def not_halted() -> Iterator[None]:
    """For the block no order has been obeyed. Raises Halted when one stands; OSError."""
    with _locked(_INTENTS, fcntl.LOCK_SH):
        if (order := standing()) is not None:
            raise Halted(f"{order}; nothing is broken until `stormgate resume --reason TEXT`")
        yield


def _note(folder: Path, what: str, by: str, why: str) -> None:
    """Who halted and resumed when, for whoever asks afterwards."""
    row = {"utc": _utc(), "what": what, "by": by, "why": why}
    with open(folder / LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def _locked(name: str, how: int) -> Iterator[Path]:
    folder = state_dir()
    with open(folder / name, "a") as lock:
        fcntl.flock(lock, how)
        yield folder


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
