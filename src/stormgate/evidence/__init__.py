"""The run folder: appended to while a run goes on, read afterwards (docs/evidence.md).

`open_run(folder)` is the way in for notebooks: `open_run("reports/latest").samples()` is a pandas
DataFrame.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

__all__ = ["open_run"]


def open_run(folder: str | Path) -> Run:
    """The evidence in a run folder. Raises FileNotFoundError when there is none; anything else
    missing is a `problem`.
    """
    from stormgate.evidence.read import Run

    return Run(Path(folder))
