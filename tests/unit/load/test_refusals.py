"""What a worker was refused reaches the evidence: straight, or by its sink without a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stormgate.model import Load, Plan, Target, to_json

SCRIPT = """
import json, os, socket, sys
from stormgate.load.record import refusals
refusals.begin()
for _ in range(5):
    try:
        socket.create_connection(("127.0.0.2", 9), 1)
    except PermissionError:
        pass
class Sink:
    def event(self, name, fields):
        print(json.dumps({"event": name, **fields}))
refusals.hand_over(Sink(), 42)
refusals.hand_over(Sink(), 43, final=True)
"""


def run(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **env},
        cwd=tmp_path,
    )


@pytest.fixture
def plan(tmp_path: Path) -> str:
    made = Plan(
        gate="g",
        seed=1,
        confidence=0.95,
        target=Target(name="t", allow=("127.0.0.1/32",)),
        load=Load(locustfile="l.py", rate_per_s=1, users=1),
        warmup_s=1,
        steady_s=1,
        final_s=1,
        faults=(),
        objectives=(),
    )
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(to_json(made)))
    return str(path)


def test_on_the_machine_of_the_folder_they_are_written_at_once(tmp_path: Path, plan: str) -> None:
    (tmp_path / "timeline.ndjson").touch()
    done = run(tmp_path, STORMGATE_PLAN=plan, STORMGATE_EVIDENCE=str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "timeline.ndjson").read_text().splitlines()]
    assert sum(row["count"] for row in rows) == 5, done.stderr
    assert {row["where"] for row in rows} == {"127.0.0.2:9"}
    assert done.stdout == ""


def test_elsewhere_they_go_by_the_sink(tmp_path: Path, plan: str) -> None:
    done = run(tmp_path, STORMGATE_PLAN=plan, STORMGATE_EVIDENCE=str(tmp_path / "not-here"))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["at_ns"], row["count"]) for row in rows] == [(42, 1), (42, 1), (42, 2), (43, 1)]
    assert {row["event"] for row in rows} == {"net.refused"}


def test_a_plan_that_is_none_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    done = run(tmp_path, STORMGATE_PLAN=str(tmp_path / "plan.json"))
    assert done.returncode == 2
    assert "not a plan" in done.stderr
