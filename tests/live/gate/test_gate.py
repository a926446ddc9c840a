"""`stormgate gate` on good days and bad ones: the right exit code, a reason in one line, evidence,
and nothing left behind.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from tests.live.gate.bench import CROWD, Gate, Suite, stormgate

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]


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
    program = '      type: process\n      path: sleep\n      arguments: "6"\n'
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
