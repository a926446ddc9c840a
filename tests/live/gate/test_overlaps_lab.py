"""Faults that stand together on the lab, each proven, judged and taken back by itself."""

from __future__ import annotations

import pytest
from tests.live.gate.bench import Gate, Suite

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(300)]

TOGETHER = """
    - name: node-east
      experiment: ../experiments/cache-node-loss.yaml
      configuration: {region: us-east, hold_s: 25}
      recovery: 3s
    - name: node-west
      experiment: ../experiments/cache-node-loss.yaml
      configuration: {region: us-west, hold_s: 8}
      recovery: 3s
      overlaps: node-east
      after: 1s"""
SERVED = """\
    - {name: served, kind: failover, lte: 4s, within: 2s, by: [population]}
    - {name: answered, kind: availability, target: 99%, within: 2s, phases: [fault, recovery]}"""


def test_a_healthy_lab_passes_while_two_of_its_caches_are_lost(
    suite: Suite, gates: list[Gate]
) -> None:
    suite.write_gate(fault=TOGETHER, failover=SERVED, rate=100, users=100)
    gates.append(gate := suite.start())
    assert gate.end(200) == 0, gate.said()
    assert gate.left_running() == []
    verdict = {one["name"]: one for one in gate.verdict()["objectives"]}
    assert {name: one["verdict"] for name, one in verdict.items()} == {
        "availability": "PASS",
        "served": "PASS",
        "answered": "PASS",
    }
    # Each fault is judged over its own window.
    cells = {cell["name"].partition(":")[0] for cell in verdict["served"]["cells"]}
    assert cells == {"node-east", "node-west"}
    order = [(row["event"], row.get("fault")) for row in gate.timeline()]
    assert order.index(("fault.observed", "node-west")) < order.index(
        ("chaos.rollback", "node-east")
    )
    assert order.index(("fault.cleared", "node-west")) < order.index(("fault.cleared", "node-east"))
