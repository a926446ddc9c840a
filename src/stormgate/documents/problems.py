"""What is wrong with a document, said so that it can be mended: file, line, what, and what is
allowed instead.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. `line` counts from 1; `fix` says what is allowed, or the nearest
    allowed word.
    """

    file: str
    line: int
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}; {self.fix}"


class DocumentErrors(ValueError):  # noqa: N818 - many errors, and the name says so
    """Documents that cannot be used. `problems` holds every one found, sorted by file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """Collects problems, so that one reading of the documents reports all of them."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, file: str, line: int, message: str, fix: str) -> None:
        """Note one problem; the same one twice counts once."""
        self._found[Problem(file, line, message, fix)] = None

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def raise_any(self) -> None:
        """DocumentErrors with all that was found, or nothing."""
        if self._found:
            raise DocumentErrors(self._found)


def nearest(word: str, allowed: Iterable[str], *, what: str = "allowed here") -> str:
    """A fix for an unknown word: the allowed one it was probably meant to be, else all of them (at
    most 20).
    """
    words = list(dict.fromkeys(allowed))
    if not words:
        return "nothing can stand here; remove it"
    lowered = {w.lower(): w for w in reversed(words)}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    listed = ", ".join(words[:20]) + (f" and {len(words) - 20} more" if len(words) > 20 else "")
    return f"{what}: {listed}"


def label(path: Path) -> str:
    """How a message names a file: relative to the working directory where that is shorter to click
    on, else whole.
    """
    relative = os.path.relpath(path)
    return os.path.normpath(path) if relative.startswith("..") else relative


def suite_root(path: Path) -> Path:
    """The folder that holds the content folders a document belongs to; its own folder where there
    are none.
    """
    folder = path.resolve().parent
    for candidate in (folder, *folder.parents):
        if any((candidate / name).is_dir() for name in ("loadtests", "experiments", "targets")):
            return candidate
    return folder
