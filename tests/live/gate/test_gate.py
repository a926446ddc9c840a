"""`stormgate gate` on good days and bad ones: the right exit code, a reason in one line, evidence,
and nothing left behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.gate.bench import CROWD, Gate, Suite, make_suite

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return make_suite(tmp_path)


@pytest.fixture
def gates(suite: Suite) -> Iterator[list[Gate]]:
    """Gates that a failed test would leave running are ended by their own pid."""
    running: list[Gate] = []
    yield running
    for gate in running:
        if gate.process.poll() is None:
            gate.process.send_signal(signal.SIGTERM)
            try:
                gate.process.wait(60)
            except subprocess.TimeoutExpired:
                gate.process.kill()
                gate.process.wait()


def stormgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stormgate.cli", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def test_a_healthy_lab_passes_and_the_evidence_stands_alone(
    suite: Suite, gates: list[Gate]
) -> None:
    gates.append(gate := suite.start())
    gate.until_event("run.begin")
    # From the first second there is neither a green nor a gap.
    assert gate.verdict()["verdict"] == "INCONCLUSIVE"
    assert ET.parse(gate.folder / "junit.xml").getroot().findall(".//error")
    assert "INCONCLUSIVE" in (gate.folder / "summary.md").read_text()

    assert gate.end() == 0, gate.said()
    assert gate.left_running() == []
    verdict = gate.verdict()
    assert (verdict["verdict"], verdict["exit_code"]) == ("PASS", 0)
    assert {o["name"]: o["verdict"] for o in verdict["objectives"]} == {
        "availability": "PASS",
        "failover": "PASS",
    }
    assert ET.parse(gate.folder / "junit.xml").getroot().findall(".//failure") == []

    phases = [row["phase"] for row in gate.timeline() if row["event"] == "phase.begin"]
    assert phases == ["warmup", "steady", "fault[region-loss]", "recovery[region-loss]", "final"]
    order = [
        row["event"] for row in gate.timeline() if row["event"].startswith(("fault.", "chaos."))
    ]
    assert order == [
        "chaos.begin",
        "fault.requested",
        "fault.acknowledged",
        "fault.observed",
        "chaos.rollback",
        "fault.cleared",
        "chaos.end",
    ]

    before = (gate.folder / "verdict.json").read_bytes()
    again = stormgate("judge", gate.folder, "--json", "--no-write")
    assert (again.returncode, again.stdout.encode()) == (0, before)
    checked = stormgate("evidence", "check", gate.folder)
    assert checked.returncode == 0, checked.stdout


def test_two_workers_serve_a_flash_crowd_and_end_whole(suite: Suite, gates: list[Gate]) -> None:
    suite.write_gate(fault=CROWD, failover="", workers=2)
    gates.append(gate := suite.start())
    assert gate.end() == 0, gate.said()
    assert gate.left_running() == []
    events = gate.timeline()
    assert [row for row in events if row["event"] == "load.lost"] == []
    (cleared,) = [row["at_ns"] for row in events if row["event"] == "fault.cleared"]
    (observed,) = [row["at_ns"] for row in events if row["event"] == "fault.observed"]
    seconds = [
        json.loads(line) for line in (gate.folder / "generator.ndjson").read_text().splitlines()
    ]
    assert {row["worker"] for row in seconds if row["final"]} == {"worker-0", "worker-1"}

    def planned_per_s(begin_ns: float, end_ns: float) -> float:
        whole = [
            row
            for row in seconds
            if begin_ns <= row["at_ns"] - row["window_s"] * 1e9 and row["at_ns"] <= end_ns
        ]
        return float(
            sum(row["planned"] for row in whole) / sum(row["window_s"] for row in whole) * 2
        )

    (begun,) = [
        row["at_ns"] for row in events if row["event"] == "phase.begin" and row["phase"] == "steady"
    ]
    (ended,) = [
        row["at_ns"] for row in events if row["event"] == "phase.end" and row["phase"] == "steady"
    ]
    calm, crowd = planned_per_s(begun, ended), planned_per_s(observed, cleared - 1e9)
    assert 2 < crowd / calm < 4
    assert planned_per_s(cleared, seconds[-1]["at_ns"]) < 2 * calm
    orders = [json.loads(line) for line in (gate.folder / "surge.ndjson").read_text().splitlines()]
    assert [order.get("factor") for order in orders] == [3.0, None]


def test_ctrl_c_in_the_middle_of_a_fault_undoes_it_and_says_aborted(
    suite: Suite, gates: list[Gate]
) -> None:
    gates.append(gate := suite.start())
    gate.until_event("fault.observed")
    gate.interrupt()
    assert gate.end(60) == 5, gate.said()
    assert gate.left_running() == []
    assert gate.verdict()["verdict"] == "ABORTED"
    assert "stopped by SIGINT" in gate.said()
    assert [row["event"] for row in gate.timeline() if row["event"] == "fault.cleared"] == [
        "fault.cleared"
    ]


@pytest.mark.parametrize("moment", ["target", "load", "warmup"])
def test_ctrl_c_before_anything_is_broken(suite: Suite, gates: list[Gate], moment: str) -> None:
    gates.append(gate := suite.start())
    said = {"target": "target", "load": "load", "warmup": "warmup"}[moment]
    gate.until(
        lambda: any(
            line.split()[-1:] == [said] or f" {said} " in line for line in gate.said().splitlines()
        ),
        said,
    )
    gate.interrupt()
    assert gate.end(60) == 5, gate.said()
    assert gate.left_running() == []
    assert gate.verdict()["verdict"] == "ABORTED"


def test_a_load_process_that_dies_leaves_the_release_undecided(
    suite: Suite, gates: list[Gate]
) -> None:
    suite.write_gate(steady="20s", fault="")
    gates.append(gate := suite.start())
    gate.until_event("phase.begin", phase="steady")
    os.kill(gate.pid_of("stormgate.load"), signal.SIGKILL)
    assert gate.end(60) == 3, gate.said()
    assert gate.left_running() == []
    assert gate.verdict()["verdict"] == "INCONCLUSIVE"
    assert "the load process ended early" in gate.said()


def test_a_lab_that_dies_is_an_error_of_the_harness(suite: Suite, gates: list[Gate]) -> None:
    suite.write_gate(steady="20s", fault="")
    gates.append(gate := suite.start())
    gate.until_event("phase.begin", phase="steady")
    os.kill(gate.pid_of("stormgate.lab.runtime.daemon"), signal.SIGKILL)
    assert gate.end(60) == 4, gate.said()
    assert gate.left_running() == []
    assert "the lab ended during the run" in gate.said()


def test_killed_outright_it_leaves_no_process_and_no_green(suite: Suite, gates: list[Gate]) -> None:
    gates.append(gate := suite.start())
    gate.until_event("fault.observed")
    gate.process.kill()
    gate.process.wait()
    assert gate.left_running() == []
    assert gate.verdict()["verdict"] == "INCONCLUSIVE"
    assert stormgate("judge", gate.folder, "--no-write").returncode not in (0, 1)


def test_a_guard_stops_a_fault_that_lasts_too_long(suite: Suite, gates: list[Gate]) -> None:
    # A hold that documents tell of is refused beforehand; nobody can know how long a program takes.
    experiment = suite.folder / "experiments" / "region-loss.yaml"
    text = experiment.read_text()
    held = """      type: python
      module: stormgate.chaos.actions
      func: hold
      arguments: {seconds: "${hold_s}"}
"""
    assert held in text
    program = '      type: process\n      path: sleep\n      arguments: "12"\n'
    experiment.write_text(text.replace(held, program))
    suite.write_gate(max_fault="2s")
    gates.append(gate := suite.start())
    assert gate.end() == 5, gate.said()
    assert "guard: a fault has lasted" in gate.said()
    assert [row["event"] for row in gate.timeline() if row["event"] == "fault.cleared"] == [
        "fault.cleared"
    ]
    assert gate.left_running() == []


def test_a_run_that_can_only_fail_ends_early_if_so_asked(suite: Suite, gates: list[Gate]) -> None:
    text = suite.gate.read_text().replace("within: 2s}}}", "within: 1ms}}}")
    suite.gate.write_text(text.replace("seed: 7", "seed: 7\n  stop: certain"))
    gates.append(gate := suite.start())
    assert gate.end() == 1, gate.said()
    assert gate.left_running() == []
    assert [row["phase"] for row in gate.timeline() if row["event"] == "phase.begin"] == [
        "warmup",
        "steady",
    ]
    assert [row["why"] for row in gate.timeline() if row["event"] == "run.certain"]
    assert {o["name"]: o["verdict"] for o in gate.verdict()["objectives"]}["availability"] == "FAIL"


DEAD_TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: dead}
spec:
  environment: laboratory
  allow: [127.0.0.0/8]
  regions: [{name: here, latitude: 0, longitude: 0}]
  populations:
    - {name: all, share: 1, latitude: 0, longitude: 0, edges: [edge], links: {edge: "http://127.0.0.1:9"}}
"""


def test_a_target_that_answers_nothing_is_told_apart_before_anything_is_broken(
    suite: Suite, gates: list[Gate]
) -> None:
    (suite.folder / "targets" / "dead.yaml").write_text(DEAD_TARGET)
    suite.write_gate(target="dead.yaml", fault="")
    gates.append(gate := suite.start())
    assert gate.end(60) == 5, gate.said()
    assert "the target answered none of" in gate.said()
    assert gate.left_running() == []


def test_a_lab_that_cannot_start_says_why_in_one_line(suite: Suite, gates: list[Gate]) -> None:
    suite.environment["STORMGATE_TOXIPROXY_URL"] = "http://127.0.0.1:9"
    gates.append(gate := suite.start())
    assert gate.end(60) == 4, gate.said()
    reasons = [line for line in gate.said().splitlines() if "the lab did not come up:" in line]
    assert len(reasons) >= 1
    assert "Traceback" not in gate.said()
    assert gate.left_running() == []


def test_wrong_documents_start_nothing(suite: Suite, gates: list[Gate]) -> None:
    text = (
        suite.gate.read_text()
        .replace("ratePerS: 200", "ratePerSec: 200")
        .replace("sloRefs: [answers]", "sloRefs: [answer]")
    )
    suite.gate.write_text(text)
    gates.append(gate := suite.start())
    assert gate.end(30) == 2, gate.said()
    assert "short.yaml:" in gate.said()
    assert "ratePerS" in gate.said()
    assert "answers" in gate.said()
    assert not suite.reports.exists()


def test_an_unknown_defect_starts_nothing(suite: Suite, gates: list[Gate]) -> None:
    gates.append(gate := suite.start("--lab-defect", "slow-failovr"))
    assert gate.end(30) == 2, gate.said()
    assert "slow-failover" in gate.said()
    assert not suite.reports.exists()
