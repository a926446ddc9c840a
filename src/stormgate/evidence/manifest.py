"""manifest.json: SHA-256 and size of every file of a finished run, and whether a folder still
matches it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stormgate.evidence.read import read_json
from stormgate.evidence.write import RESTORED
from stormgate.system.files import write_atomically

MANIFEST = "manifest.json"
SCHEMA = "stormgate.manifest/1"
SIGNATURE = "manifest.dsse.json"
# More than this in one folder is no run of ours.
MOST_FILES = 100_000
# What may stand beside a sealed run without being sealed: the seal, its signature, what `restore`
# did afterwards.
_BESIDE = (MANIFEST, SIGNATURE)
_RESTORED = {f"{RESTORED}/undo.ndjson", f"{RESTORED}/timeline.ndjson"}


@dataclass(frozen=True, slots=True)
class Found:
    """Something in a run folder that is no folder itself; `regular`: a file, and no link to one."""

    name: str
    path: Path
    regular: bool


def run_files(folder: Path) -> Iterator[Found]:
    """All that stands in a run folder, however hidden, in a fixed order; links are not followed.
    Raises ValueError when it is more than any run writes, OSError when it cannot be listed.
    """
    waiting, count = [folder], 0
    while waiting:
        here = waiting.pop()
        with os.scandir(here) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            count += 1
            if count > MOST_FILES:
                raise ValueError(f"more than {MOST_FILES:,} files")
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
                continue
            name = path.relative_to(folder).as_posix()
            yield Found(name, path, entry.is_file(follow_symlinks=False))


def write_manifest(folder: Path) -> None:
    """Seal a finished run folder."""
    files: dict[str, Any] = {}
    for found in run_files(folder):
        if found.regular and not _is_beside(found.name):
            digest, size = _digest(found.path)
            files[found.name] = {"sha256": digest, "bytes": size}
    write_atomically(
        folder / MANIFEST,
        json.dumps({"schema": SCHEMA, "files": files}, indent=1, sort_keys=True) + "\n",
    )


def check_manifest(folder: Path) -> list[str]:
    """What differs from the manifest: changed, missing and added files, links and all else that is
    no file. A missing manifest is one problem.
    """
    try:
        listed = _listed(folder)
    except FileNotFoundError:
        return [f"{MANIFEST}: missing (the run did not end by itself)"]
    except (OSError, ValueError) as error:
        return [f"{MANIFEST}: not a manifest ({error})"]
    problems: list[str] = []
    seen: set[str] = set()
    try:
        for found in run_files(folder):
            seen.add(found.name)
            if (problem := _problem(found, listed)) is not None:
                problems.append(problem)
    except (OSError, ValueError) as error:
        problems.append(f"{folder.name}: cannot be listed ({error})")
    missing = sorted(listed.keys() - seen)
    return [f"{name}: listed in {MANIFEST} but missing" for name in missing] + problems


def is_sealed(folder: Path) -> bool:
    """Whether a run ended by itself here, so that nothing in it is written any more."""
    return os.path.lexists(folder / MANIFEST)


def _problem(found: Found, listed: dict[str, tuple[str, int]]) -> str | None:
    if not found.regular:
        what = "a link, which is" if found.path.is_symlink() else "a pipe or device, which is"
        return f"{found.name}: {what} no evidence"
    if _is_beside(found.name):
        return None
    if found.name not in listed:
        return f"{found.name}: not listed in {MANIFEST}"
    digest, size = listed[found.name]
    changed = f"{found.name}: changed since the run"
    try:
        # Sizes first: what has grown without end is not read to its end.
        now = found.path.lstat().st_size
        if now != size:
            return f"{changed} ({now:,} bytes, {MANIFEST} says {size:,})"
        if _digest(found.path) != (digest, size):
            return f"{changed} (SHA-256 differs from {MANIFEST})"
    except OSError as error:
        return f"{found.name}: cannot be read ({error.strerror or error})"
    return None


def _is_beside(name: str) -> bool:
    return name in _BESIDE or name in _RESTORED


def _listed(folder: Path) -> dict[str, tuple[str, int]]:
    """Digest and size by name. Raises OSError or ValueError for what is no manifest."""
    data = read_json(folder / MANIFEST)
    if data.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {str(data.get('schema'))[:60]!r}, not {SCHEMA!r}")
    files = data.get("files")
    if not isinstance(files, dict):
        raise ValueError("it lists no files")
    found = {}
    for name, entry in files.items():
        if not isinstance(entry, dict):
            raise ValueError(f"no SHA-256 and size of {name[:80]!r}")
        digest, size = entry.get("sha256"), entry.get("bytes")
        if not isinstance(digest, str) or type(size) is not int:
            raise ValueError(f"no SHA-256 and size of {name[:80]!r}")
        found[name] = (digest, size)
    return found


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a regular file. Raises OSError for anything that took its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path.name} is no regular file")
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
