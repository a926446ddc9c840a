"""manifest.json: SHA-256 and size of every file of a finished run, and whether a folder still
matches it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from stormgate.evidence.read import read_json
from stormgate.evidence.write import RESTORED
from stormgate.system.files import write_atomically

MANIFEST = "manifest.json"
SCHEMA = "stormgate.manifest/1"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def evidence_files(folder: Path) -> list[Path]:
    """Every file of a run folder but its manifest and what was done afterwards, in a fixed order.
    A link is no file: what it leads to is not in the folder.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and path != folder / MANIFEST
        and path.relative_to(folder).parts[0] != RESTORED
    )


def write_manifest(folder: Path) -> None:
    """Seal a finished run folder."""
    files: dict[str, Any] = {
        str(path.relative_to(folder)): {"sha256": _digest(path), "bytes": path.stat().st_size}
        for path in evidence_files(folder)
    }
    write_atomically(
        folder / MANIFEST,
        json.dumps({"schema": SCHEMA, "files": files}, indent=1, sort_keys=True) + "\n",
    )


def check_manifest(folder: Path, only: tuple[str, ...] = ("",)) -> list[str]:
    """What differs from the manifest among the files whose names begin like one of `only`: changed,
    missing and added ones. A missing manifest is one problem.
    """
    try:
        listed = read_json(folder / MANIFEST)["files"]
        expected = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in listed.items()
            if str(name).startswith(only)
        }
    except FileNotFoundError:
        return [f"{MANIFEST}: missing (the run did not end by itself)"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"{MANIFEST}: not a manifest"]
    found = {str(path.relative_to(folder)): path for path in evidence_files(folder)}
    found = {name: path for name, path in found.items() if name.startswith(only)}
    problems = [
        f"{name}: listed in {MANIFEST} but missing"
        for name in sorted(expected.keys() - found.keys())
    ]
    links = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink()]
    problems += [
        f"{name}: a link, which is no evidence" for name in sorted(links) if name.startswith(only)
    ]
    problems += [
        f"{name}: not listed in {MANIFEST}" for name in sorted(found.keys() - expected.keys())
    ]
    for name in sorted(expected.keys() & found.keys()):
        size, digest = expected[name]
        try:
            # Sizes first: a file that has grown without end is not read to its end.
            now = found[name].stat().st_size
            if now != size:
                said = f"{now:,} bytes, {MANIFEST} says {size:,}"
                problems.append(f"{name}: changed since the run ({said})")
            elif _digest(found[name]) != digest:
                problems.append(f"{name}: changed since the run (SHA-256 differs from {MANIFEST})")
        except OSError as error:
            problems.append(f"{name}: cannot be read: {error.strerror}")
    return problems
