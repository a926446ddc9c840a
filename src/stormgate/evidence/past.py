"""Earlier runs, as their folders tell of them: what each came to and what it measured."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stormgate.evidence.read import read_json
from stormgate.model import Finding, Judgement, Verdict, from_json

# `create_run_folder` names them so; nothing else in a reports folder is looked at, nor removed.
RUN_NAME = re.compile(r"(\d{8}T\d{6}Z)-.+-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run folder. `judgement` is None, with the reason in `problem`, where its verdict.json
    cannot be read.
    """

    folder: Path
    began: datetime
    judgement: Judgement | None
    problem: str = ""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def gate(self) -> str:
        return self.judgement.gate if self.judgement is not None else ""

    @property
    def passed(self) -> bool:
        """Whether the whole gate passed; that a short try did proves less."""
        judged = self.judgement
        return judged is not None and judged.verdict is Verdict.PASS and not judged.short

    @property
    def release(self) -> str:
        """Which release it judged, as its verdict tells; empty where it does not."""
        return self.judgement.release.text if self.judgement is not None else ""

    def finding(self, objective: str) -> Finding | None:
        """What that objective came to then."""
        found = self.judgement.objectives if self.judgement is not None else ()
        return next((f for f in found if f.name == objective), None)


def past_runs(reports: Path, gate: str | None = None) -> list[PastRun]:
    """The runs under a reports folder, the oldest first; of one gate where it is named. A folder
    that cannot be read is told of in its `problem`, and is nobody's gate.
    """
    found = []
    for folder in run_folders(reports):
        began = datetime.strptime(folder.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        try:
            judgement = from_json(Judgement, read_json(folder / "verdict.json"))
            run = PastRun(folder, began, judgement)
        except FileNotFoundError:
            run = PastRun(folder, began, None, "no verdict.json")
        except (OSError, ValueError, RecursionError) as error:
            run = PastRun(folder, began, None, f"verdict.json: {str(error).splitlines()[0][:120]}")
        if gate is None or run.gate == gate:
            found.append(run)
    return found


def run_folders(reports: Path) -> list[Path]:
    """The run folders under a reports folder by their names, which begin with their time."""
    if not reports.is_dir():
        return []
    return sorted(
        (
            path
            for path in reports.iterdir()
            if RUN_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        ),
        key=lambda path: path.name,
    )


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays when a reports folder is pruned: what is younger than `days`, the last `runs` of
    each gate, and of each gate the last that passed.
    """

    days: float = 30.0
    runs: int = 20


def to_prune(runs: Iterable[PastRun], keep: Keep, now: datetime) -> list[PastRun]:
    """The runs that the rule does not keep, the oldest first. One whose verdict cannot be read is
    kept: nobody can say whose it is.
    """
    by_gate: dict[str, list[PastRun]] = {}
    for run in sorted(runs, key=lambda run: run.name):
        if run.judgement is not None:
            by_gate.setdefault(run.gate, []).append(run)
    gone = []
    for mine in by_gate.values():
        last = mine[-keep.runs :] if keep.runs > 0 else []
        kept = {run.name for run in last}
        kept |= {run.name for run in [r for r in mine if r.passed][-1:]}
        old = timedelta(days=keep.days)
        gone += [run for run in mine if run.name not in kept and now - run.began > old]
    return sorted(gone, key=lambda run: run.name)
