"""A probe on its schedule: whatever becomes of a reading is written, and none holds up another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.golden.judge_writer import objective, plan_of

from stormgate.chaos.sampler import Sampler
from stormgate.evidence.laws import reading_problem
from stormgate.model import Sampling, to_json


def turns(read: Callable[[], Any], count: int = 1, within_s: float = 5.0) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    once = Sampling(name="p", module="m", func="f", every_s=0.1, within_s=within_s)
    sampler = Sampler(once, read, rows.append)
    for _ in range(count):
        sampler.turn()
    assert [reading_problem(row) for row in rows] == [None] * count
    return rows


def raising() -> float:
    raise ConnectionRefusedError("nobody there")


@pytest.mark.parametrize(
    ("read", "value", "error"),
    [
        (lambda: 0.25, 0.25, None),
        (lambda: 0, 0.0, None),
        (lambda: True, 1.0, None),
        (lambda: None, None, "ValueError: the probe found nothing to measure"),
        (lambda: float("nan"), None, "ValueError: nan is no finite number"),
        (lambda: "3", None, "ValueError: str is no number: 3"),
        (raising, None, "ConnectionRefusedError: nobody there"),
    ],
)
def test_an_answer_is_a_number_or_a_failed_reading(
    read: Callable[[], Any], value: float | None, error: str | None
) -> None:
    (row,) = turns(read)
    assert (row["value"], row["error"]) == (value, error)


def test_one_that_hangs_is_a_failed_reading_at_each_turn_and_its_late_answer_is_none() -> None:
    free = threading.Event()
    rows = turns(lambda: free.wait(30), 2, within_s=0.05)
    free.set()
    assert [row["value"] for row in rows] == [None, None]
    assert rows[0]["error"] == "no answer within 0.05 s"
    assert rows[1]["error"] == "the reading before it has not come back"
    assert rows[0]["duration_ms"] >= 50


PROBE = """import socket
def level(base): return base + 1
def far(): return socket.create_connection(("192.0.2.1", 9), timeout=5)
"""


def test_the_process_reads_what_the_plan_says_and_reaches_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "levels.py").write_text(PROBE)
    plan = plan_of([objective("reading", probe="level", lte=9)])
    common = {"module": "levels", "every_s": 0.1, "within_s": 1.0}
    readings = [
        Sampling(name="level", func="level", arguments={"base": 1}, **common),  # type: ignore[arg-type]
        Sampling(name="far", func="far", **common),  # type: ignore[arg-type]
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "plan.json").write_text(
        json.dumps({**to_json(plan), "readings": [to_json(one) for one in readings]})
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "STORMGATE_EVIDENCE": str(folder)}
    env["STORMGATE_PLAN"] = str(folder / "plan.json")
    argv = [sys.executable, "-m", "stormgate.chaos.sampler"]
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE) as child:
        file, end = folder / "readings.ndjson", time.monotonic() + 30
        while (not file.exists() or file.read_text().count("\n") < 8) and time.monotonic() < end:
            time.sleep(0.02)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [reading_problem(row) for row in rows] == [None] * len(rows)
    levels = [row for row in rows if row["probe"] == "level"]
    assert {row["value"] for row in levels} == {2.0}
    assert levels == sorted(levels, key=lambda row: row["at_ns"])
    strangers = [row for row in rows if row["probe"] == "far"]
    assert strangers
    assert all("192.0.2.1" in row["error"] for row in strangers)
    events = [json.loads(line) for line in (folder / "timeline.ndjson").read_text().splitlines()]
    assert {event["event"] for event in events} == {"net.refused"}
    assert not (folder / "undo.ndjson").exists(), "reading breaks nothing"
