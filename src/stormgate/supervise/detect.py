"""A gate run over planted defects, each run a process of its own: what it came to is kept line by
line, so that a stopped matrix goes on where it stood.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stormgate.judge.statistics.detection import HEALTHY, DetectionTrial
from stormgate.model import Plan, digest_of, from_json, to_json
from stormgate.system.files import sync_folder

RESULTS = "detect.ndjson"
# Facts of a plan that are of one run, not of what is asked.
_OF_A_RUN = ("seed", "started_utc", "versions", "digest", "release", "attempts", "proofs")


def gate_key(plan: Plan) -> str:
    """What makes two runs comparable: the plan without seed, versions, release and times."""
    data = {key: value for key, value in to_json(plan).items() if key not in _OF_A_RUN}
    return digest_of(data)


class Results:
    """The results of one gate below a folder; those of other gates, and lines cut off by a kill,
    are left alone.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / RESULTS
        self._key = key

    def read(self) -> list[DetectionTrial]:
        """The trials there are, the last of each defect and seed. Raises OSError."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found: dict[tuple[str, int], DetectionTrial] = {}
        for line in lines:
            row = _row(line)
            if row is None or row.pop("key", None) != self._key:
                continue
            try:
                trial = from_json(DetectionTrial, row)
            except ValueError:
                continue
            found[(trial.defect, trial.seed)] = trial
        return list(found.values())

    def add(self, trial: DetectionTrial) -> None:
        """Keep one, durably. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": self._key, **asdict(trial)}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            # A line cut off by a kill must not swallow this one.
            file.write(line if file.tell() == 0 or _ends_whole(self._path) else "\n" + line)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._path.parent)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def missing(
    cases: Iterable[tuple[str, int]], there: Iterable[DetectionTrial]
) -> list[tuple[str, int]]:
    """The cases that have no answer yet. A run that broke (it was killed, the harness failed) is
    no answer, nor is one whose generator was too busy, whatever it came to.
    """
    answers = {"PASS", "FAIL", "INCONCLUSIVE"}
    done = {(t.defect, t.seed) for t in there if t.verdict in answers and t.measured}
    return [case for case in cases if case not in done]


def play(
    gate: Path, cases: Iterable[tuple[str, int]], folder: Path, results: Results, jobs: int = 1
) -> Iterator[DetectionTrial]:
    """Run the gate over each case, `jobs` at a time; each answer is kept before it is told. Who
    stops asking ends after the runs that go on. Raises OSError.
    """
    with ThreadPoolExecutor(jobs) as pool:
        playing = [pool.submit(_play_one, gate, *case, folder) for case in cases]
        try:
            for done in as_completed(playing):
                trial = done.result()
                results.add(trial)
                yield trial
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _play_one(gate: Path, defect: str, seed: int, folder: Path) -> DetectionTrial:
    reports = folder / f"{defect}-{seed}"
    reports.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "stormgate.cli", "gate", str(gate), "--seed", str(seed)]
    argv += ["--reports", str(reports)]
    if defect != HEALTHY:
        argv += ["--lab-defect", defect]
    before = _latest(reports)
    began = time.monotonic()
    with (reports / "gate.log").open("wb") as log:
        # In our own group: ctrl-C reaches the gate too, which undoes and ends by itself.
        done = subprocess.run(argv, stdout=log, stderr=subprocess.STDOUT, check=False)
    took_s = time.monotonic() - began
    run = _latest(reports)
    if run is None or run == before:
        told = f"exit {done.returncode}, no run folder: see {reports / 'gate.log'}"
        return DetectionTrial(defect=defect, seed=seed, verdict="REFUSED", took_s=took_s, why=told)
    verdict = _row((reports / run / "verdict.json").read_text(encoding="utf-8")) or {}
    failed = [o["kind"] for o in verdict.get("objectives", ()) if o.get("verdict") == "FAIL"]
    rules = {o.get("name"): o.get("verdict") for o in verdict.get("validity", ())}
    return DetectionTrial(
        defect=defect,
        seed=seed,
        measured=rules.get("generator", "PASS") == "PASS",
        verdict=str(verdict.get("verdict", "ERROR")),
        failed=tuple(failed),
        took_s=round(took_s, 1),
        run=f"{reports.name}/{run}",
        why=str(verdict.get("why", "")),
    )


def _latest(reports: Path) -> str | None:
    """The newest run folder's name: they begin with their UTC time."""
    names = [p.name for p in reports.iterdir() if p.is_dir() and not p.is_symlink()]
    return max(names, default=None)
