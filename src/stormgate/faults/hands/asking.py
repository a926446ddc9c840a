"""Asking the process that keeps faults made by hand: where it listens, and one question to it.

A keeper (supervise/hands/keeper.py) notes itself in the state folder, one for each target, and
listens on a Unix socket in a folder of its own that only this user may enter. A question is one
line of JSON; the answer is lines `{"say": text}` and a last one `{"reply": {...}}`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stormgate.faults.errors import ChaosError
from stormgate.faults.state import Fate, ProcessOwner, slug, state_dir, state_path
from stormgate.system.files import read_json, write_durably

# What a platform needs to show a fault is waited for: minutes, not hours.
ANSWER_S = 900.0
MOST_BYTES = 1 << 20


class NotKept(ChaosError):  # noqa: N818 - named for what happened, as the others
    """The keeper did not answer: it has ended, or is ending."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """A live keeper: the target it holds, its run folder, and where it listens."""

    target: str
    folder: Path
    address: Path
    owner: ProcessOwner


def register(target: str, folder: Path, address: Path) -> None:
    """This process keeps the faults of this target from now on. Raises OSError."""
    state_dir()
    facts = {
        "target": target,
        "folder": str(folder.resolve()),
        "address": str(address),
        "owner": ProcessOwner.this().to_dict(),
    }
    write_durably(_path(target), facts)


def unregister(target: str) -> None:
    """Not any more; somebody else's note is left alone. Idempotent."""
    found = _read(_path(target))
    if found is not None and found.owner == ProcessOwner.this():
        _path(target).unlink(missing_ok=True)


def keeper_of(target: str) -> Keeper | None:
    """The live keeper of a target, if there is one on this machine."""
    found = _read(_path(target))
    return found if found is not None and found.owner.fate() is Fate.LIVE else None


def keepers() -> list[Keeper]:
    """Every live keeper of this user on this machine."""
    found = [_read(path) for path in sorted((state_path() / "hands").glob("*.json"))]
    return [one for one in found if one is not None and one.owner.fate() is Fate.LIVE]


def ask(
    keeper: Keeper, question: Mapping[str, Any], say: Callable[[str], object] = str
) -> dict[str, Any]:
    """The answer to one question. Raises NotKept when there is none."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(ANSWER_S)
            line.connect(str(keeper.address))
            line.sendall(json.dumps(dict(question)).encode() + b"\n")
            with line.makefile("rb") as answers:
                while row := answers.readline(MOST_BYTES):
                    data = json.loads(row)
                    if "reply" in data:
                        return dict(data["reply"])
                    say(str(data.get("say", "")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise NotKept(f"{keeper.owner} does not answer: {error}") from error
    raise NotKept(f"{keeper.owner} ended without an answer")


def _path(target: str) -> Path:
    return state_path() / "hands" / f"{slug(target)}.json"


def _read(path: Path) -> Keeper | None:
    data = read_json(path)
    try:
        return (
            None
            if data is None
            else Keeper(
                str(data["target"]),
                Path(data["folder"]),
                Path(data["address"]),
                ProcessOwner.of(data["owner"]),
            )
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
