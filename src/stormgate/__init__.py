"""Stormgate decides whether a release may ship: load, faults, evidence, verdict.

`stormgate.judge_folder(path)` judges a run folder from Python; everything else is a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from stormgate.model import Judgement, Plan

__all__ = ["__version__", "judge_folder"]

__version__ = "0.1.0"


def judge_folder(path: str | Path, plan: Plan | None = None) -> Judgement:
    """The judgement over the run folder at `path` (docs/evidence.md), by its own plan or by
    `plan`, as `stormgate judge` comes to it. Writes nothing.

    What is missing, torn or unlawful in the folder makes it INCONCLUSIVE or worse and is named;
    nothing is raised over it. Raises FileNotFoundError when there is no such folder.
    """
    from stormgate.evidence import open_run
    from stormgate.judge import judge

    return judge(open_run(path), plan)
