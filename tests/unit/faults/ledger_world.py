"""A target whose only component is broken and mended by touching a file, and its ledger."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from stormgate.commands.restore import restore_command
from stormgate.faults import pointers
from stormgate.faults.ledger import Entry, Ledger
from stormgate.model import Component, Observe, Target

# `flag` there: broken. Each call is written down.
SCRIPT = """
import pathlib, sys
flag, step = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(sys.argv[1] + ".calls", "a") as calls:
    calls.write(step + chr(10))
if step == "undo":
    flag.unlink(missing_ok=True)
sys.exit(0 if step != "observe" or flag.exists() else 1)
"""


class World:
    """One run folder with one open fault on `db`."""

    def __init__(self, place: Path, **target: Any) -> None:
        self.flag = place / "flag"
        self.flag.touch()
        self.script = place / "script.py"
        self.script.write_text(SCRIPT)
        self.folder = place / "run"
        self.folder.mkdir()
        self.target = Target(name="t", components=(self.component(),), **target)
        self.ledger = Ledger(self.folder, self.target)

    def argv(self, step: str) -> list[str]:
        return [sys.executable, str(self.script), str(self.flag), step]

    def component(self, undo: str = "undo", observe: Observe | None = None) -> Component:
        handle = {
            "apply": {"slow": self.argv("apply")},
            "undo": {"slow": self.argv(undo)},
            "observe": self.argv("observe"),
        }
        return Component(
            name="db", kind="database", backend="command", handle=handle, observe=observe
        )

    def entry(self, name: str = "1", **change: Any) -> Entry:
        whole: dict[str, Any] = {
            "id": name,
            "instance": name,
            "batch": name,
            "fault": "f",
            "component": "db",
            "asked": "slow",
            "part": self.component(),
            "mode": "slow",
            "record": {"mode": "slow", "environment": {}},
        }
        return Entry(**{**whole, **change})

    @property
    def path(self) -> Path:
        return self.folder / "undo.ndjson"

    @property
    def calls(self) -> list[str]:
        file = Path(f"{self.flag}.calls")
        return file.read_text().split() if file.exists() else []


def orphan() -> None:
    """As if the process that broke things had died."""
    for pointer in pointers.pointers():
        data = json.loads(pointer.path.read_text())
        data["owner"]["start_ticks"] = 1
        pointer.path.write_text(json.dumps(data))


def restoring(*arguments: Any) -> tuple[int, str]:
    done = CliRunner().invoke(
        restore_command, [str(each) for each in arguments], standalone_mode=False
    )
    assert done.exception is None, done.exception
    return done.return_value, done.output
