"""Gates that end before their time, or never begin: the right exit code, a reason in one line,
evidence, and nothing left behind. None of it minds a neighbour.
"""

from __future__ import annotations

import os
import signal

import pytest
from tests.live.gate.bench import FAULT, Gate, Suite, stormgate

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

# Little to do: what users saw must not matter before the end does.
CALM = {"rate": 60, "users": 200}


@pytest.fixture
def suite(suite: Suite) -> Suite:
    suite.write_gate(fault=FAULT.replace("hold_s: 12", "hold_s: 40"), **CALM)
    return suite


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
    suite.write_gate(steady="20s", fault="", **CALM)
    gates.append(gate := suite.start())
    gate.until_event("phase.begin", phase="steady")
    os.kill(gate.pid_of("stormgate.load"), signal.SIGKILL)
    assert gate.end(60) == 3, gate.said()
    assert gate.left_running() == []
    assert gate.verdict()["verdict"] == "INCONCLUSIVE"
    assert "the load process ended early" in gate.said()


def test_a_lab_that_dies_is_an_error_of_the_harness(suite: Suite, gates: list[Gate]) -> None:
    suite.write_gate(steady="20s", fault="", **CALM)
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
    suite.write_gate(target="dead.yaml", fault="", **CALM)
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
        .replace("ratePerS: ", "ratePerSec: ")
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
