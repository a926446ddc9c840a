"""What is put on trial, and how often it was: a release by its name and commit, and the attempts
before this one.
"""

from __future__ import annotations

from dataclasses import dataclass

# How a plan ends the line of a fault that a short try does not play.
LEFT_OUT = "was left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Which release a run judged. Empty texts: nobody said.

    `told_by` is who said so (the command line, GitHub Actions, ...), `pipeline` the address of the
    pipeline's own page.
    """

    name: str = ""
    commit: str = ""
    told_by: str = ""
    pipeline: str = ""

    def __bool__(self) -> bool:
        return bool(self.name or self.commit)

    @property
    def text(self) -> str:
        """Name and the start of the commit, as people say it."""
        short = self.commit[:12]
        return f"{self.name} ({short})" if self.name and short else self.name or short


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An earlier attempt of the same trial: its run folder's name and what it came to."""

    folder: str
    verdict: str
    why: str
