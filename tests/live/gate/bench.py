"""A whole gate made short, run as users run it: a process in a suite folder, with a terminal's
signals and an exit code.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers}
spec:
  service: test
  indicator:
    metadata: {name: good}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: stormgate, spec: {outcome: ok, within: 2s}}}
        total: {metricSource: {type: stormgate, spec: {}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: two nines, target: 0.99}]
---
"""
# Generous about the generator: these tests are about the course of a run, on machines whose other
# core is busy.
GATE = """\
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {{name: short}}
spec:
  target: ../targets/{target}
  load: {{locustfile: ../loadtests/chenu.py, ratePerS: {rate}, users: {users}, workers: {workers}}}
  seed: 7
  confidence: 95%
  sloRefs: [answers]
  phases: {{warmup: 2s, steady: {steady}, final: 2s}}
  faults: {faults}
  objectives:
    - {{name: availability, kind: availability, slo: answers, phases: [steady]}}
{failover}
  validity: {{maxSendLagP99: 2s, minAchieved: 10%, maxCpu: 100%}}
  abort: {{maxFaultDuration: {max_fault}}}
"""
FAULT = """
    - name: region-loss
      experiment: ../experiments/region-loss.yaml
      configuration: {region: eu-west, hold_s: 12}
      recovery: 2s"""
CROWD = """
    - name: flash-crowd
      experiment: ../experiments/flash-crowd.yaml
      configuration: {factor: 3, hold_s: 6}
      recovery: 2s"""
FAILOVER = """\
    - {name: failover, kind: failover, lte: 11s, within: 2s, by: [population, op]}"""


@dataclass
class Suite:
    """Content folders copied from the project, with a short gate."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def gate(self) -> Path:
        return self.folder / "slas" / "short.yaml"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def write_gate(
        self,
        *,
        steady: str = "4s",
        fault: str = FAULT,
        failover: str | None = None,
        target: str = "lab.yaml",
        max_fault: str = "60s",
        workers: int = 1,
        users: int = 200,
        rate: int = 200,
    ) -> None:
        """`fault` "" is a gate without any. Unless said otherwise failover is judged when there is
        one.
        """
        text = GATE.format(
            steady=steady,
            faults=fault or "[]",
            failover=(FAILOVER if fault else "") if failover is None else failover,
            workers=workers,
            users=users,
            rate=rate,
            target=target,
            max_fault=max_fault,
        )
        self.gate.write_text(SLO + text)

    def start(self, *arguments: str) -> Gate:
        # Without the look beforehand: what it would refuse is here to be met by the run itself.
        argv = [sys.executable, "-m", "stormgate.cli", "gate", str(self.gate), "--no-check"]
        argv += arguments
        output = self.folder / "output.txt"
        with output.open("wb") as file:
            # A group of its own: ctrl-C in a terminal reaches the gate, and nothing of this test.
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            )
        return Gate(self, process, output)


def make_suite(folder: Path) -> Suite:
    for name in ("loadtests", "experiments", "probes", "targets"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "slas").mkdir()
    suite = Suite(folder)
    suite.write_gate()
    return suite


@dataclass
class Gate:
    """A gate that runs, and everything it has started."""

    suite: Suite
    process: subprocess.Popen[bytes]
    output: Path
    seen: dict[int, int] = field(default_factory=dict)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def until(self, happened: Callable[[], Any], what: str, within_s: float = 90.0) -> Any:
        """Wait for something, keeping note of every process the gate starts meanwhile."""
        deadline = time.monotonic() + within_s
        while not (value := happened()):
            self.note_descendants()
            assert self.process.poll() is None, (
                f"the gate ended ({self.process.returncode}) before {what}:\n{self.said()}"
            )
            assert time.monotonic() < deadline, f"no {what} within {within_s:g} s:\n{self.said()}"
            time.sleep(0.05)
        self.note_descendants()
        return value

    def until_event(self, event: str, **fields: str) -> None:
        self.until(
            lambda: any(is_event(row, event, fields) for row in self.timeline()),
            f"{event} {fields or ''}",
        )

    def end(self, within_s: float = 120.0) -> int:
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            self.note_descendants()
            assert time.monotonic() < deadline, (
                f"the gate did not end within {within_s:g} s:\n{self.said()}"
            )
            time.sleep(0.1)
        return self.process.returncode

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    @property
    def folder(self) -> Path:
        return (self.suite.reports / "latest").resolve()

    def timeline(self) -> list[dict[str, Any]]:
        return rows_of(self.folder / "timeline.ndjson")

    def verdict(self) -> dict[str, Any]:
        return json.loads((self.folder / "verdict.json").read_text())

    def note_descendants(self) -> None:
        children: dict[int, list[int]] = {}
        for pid, parent, _ in processes():
            children.setdefault(parent, []).append(pid)
        queue = [self.process.pid]
        while queue:
            for pid in children.get(queue.pop(), []):
                queue.append(pid)
                if pid not in self.seen and (ticks := start_ticks(pid)) is not None:
                    self.seen[pid] = ticks

    def left_running(self, within_s: float = 20.0) -> list[str]:
        """What the gate started and still runs after a while: must be nothing."""
        deadline = time.monotonic() + within_s
        while True:
            left = [pid for pid, ticks in self.seen.items() if start_ticks(pid) == ticks]
            if not left or time.monotonic() > deadline:
                return [command_line(pid) for pid in left]
            time.sleep(0.1)

    def pid_of(self, word: str) -> int:
        """The oldest process below the gate whose command line has `word`."""
        self.note_descendants()
        found = [
            pid
            for pid, ticks in sorted(self.seen.items())
            if start_ticks(pid) == ticks and word in command_line(pid)
        ]
        assert found, f"nothing below the gate has {word!r} in its command line"
        return found[0]


def is_event(row: dict[str, Any], event: str, fields: dict[str, str]) -> bool:
    return row["event"] == event and all(row.get(name) == value for name, value in fields.items())


def rows_of(path: Path) -> list[dict[str, Any]]:
    try:
        return [
            json.loads(line)
            for line in path.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
        ]
    except FileNotFoundError:
        return []


def processes() -> Iterator[tuple[int, int, str]]:
    """(pid, parent pid, state) of everything that runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(entry.name), int(fields[1]), fields[0]


def start_ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def command_line(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
            .strip()
        )
    except OSError:
        return ""


def stormgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command as users run it, to its end."""
    argv = [sys.executable, "-m", "stormgate.cli", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
