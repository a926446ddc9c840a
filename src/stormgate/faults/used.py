"""The target that `stormgate use` chose for a suite: what plain `chaos run` acts on from there when
the environment names none.

`.stormgate/target.json` in the suite's root: the resolved target, and the digest of what it was
resolved from. One whose source has changed since is refused: it might break something else.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from stormgate.faults.errors import NoTarget
from stormgate.model import Target, from_json, to_json
from stormgate.system.files import write_atomically

FOLDER, FILE = ".stormgate", "target.json"


def write_used(root: Path, target: Target, source: Path) -> Path:
    """Use this target in the suite at `root` from now on; the file written. Raises OSError."""
    path = root / FOLDER / FILE
    path.parent.mkdir(exist_ok=True)
    facts = {
        "source": os.path.relpath(source.resolve(), root.resolve()),
        "digest": _digest(source),
        "target": to_json(target),
    }
    write_atomically(path, json.dumps(facts, indent=2) + "\n")
    return path


def forget_used(root: Path) -> bool:
    """Whether there was one to forget."""
    path = root / FOLDER / FILE
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def find_used(start: Path) -> Path | None:
    """The file of the nearest suite at or above a folder for which a target was chosen."""
    folder = start.resolve()
    found = (one / FOLDER / FILE for one in (folder, *folder.parents))
    return next((path for path in found if path.is_file()), None)


def read_used(path: Path) -> Target:
    """The target chosen. Raises NoTarget where it cannot be trusted any more, with what to do."""
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
        source = path.parent.parent / str(facts["source"])
        digest, target = str(facts["digest"]), from_json(Target, facts["target"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoTarget(f"{path}: unreadable ({error}): run `stormgate use` again") from error
    name = os.path.relpath(source)
    try:
        now = _digest(source)
    except OSError as error:
        why = f"{name}, which `stormgate use` chose, is gone"
        raise NoTarget(f"{why}: choose another with `stormgate use TARGET`") from error
    if now != digest:
        raise NoTarget(f"{name} has changed since `stormgate use`: run it again")
    return target


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
