"""What users live through in a fault is judged if the gate says so; `plan` says when it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.golden.judge_writer import objective, phase_window, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.planning import assess, unwatched
from stormgate.judge.registry import kinds
from stormgate.model import Objective, Verdict

LATENCY = {"quantile": 0.95, "lte_ms": 50}
READING = {"probe": "roles", "phases": ["fault"], "aggregate": "max", "lte": 1}


@pytest.mark.parametrize(
    ("objectives", "named"),
    [
        ([], ["kill", "other"]),
        (
            [objective("latency", **LATENCY, phases=["steady", "recovery", "final"])],
            ["kill", "other"],
        ),
        ([objective("latency", **LATENCY, phases=["fault"])], []),
        ([objective("latency", **LATENCY, phases=["fault[kill]"])], ["other"]),
        ([objective("availability", target=0.9, phases=["steady", "fault"])], []),
        ([objective("failover", lte_s=5)], []),
        ([objective("failover", lte_s=5, fault="other")], ["kill"]),
        ([objective("failback", tolerance=0.1, settle_s=1)], ["kill", "other"]),
        ([objective("projectedAvailability", target=0.999)], []),
    ],
)
def test_faults_that_nobody_looks_at(objectives: list[Objective], named: list[str]) -> None:
    plan = plan_of(objectives, faults=["kill", "other"])
    found = unwatched(plan)
    assert [f"fault[{name}]" in said for name, said in zip(named, found, strict=True)] == [
        True for _ in named
    ]
    assert assess(plan).warnings == found


def test_every_kind_says_where_it_looks_at_users() -> None:
    told = {name: kind.users for name, kind in kinds().items()}
    assert set(told.values()) <= {"phases", "faults", ""}
    assert told["reading"] == told["share"] == ""


@pytest.mark.parametrize(
    ("phases", "verdict"), [(["fault"], Verdict.FAIL), (["steady"], Verdict.PASS)]
)
def test_latency_in_a_fault_is_judged_when_the_gate_says_so(
    phases: list[str], verdict: Verdict
) -> None:
    plan = plan_of([objective("latency", **LATENCY, phases=phases)], steady_s=30, faults=["kill"])
    rows = rows_of(plan)
    begin, end = phase_window(synthetic(plan, rows), "fault[kill]")
    inside = np.flatnonzero((rows.intended_ns >= begin) & (rows.intended_ns < end))
    rows.latency_ms[inside[::3]] = 400.0
    (found,) = judge(synthetic(plan, rows)).objectives
    assert found.verdict is verdict


def test_plan_prints_the_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from stormgate.commands.plan import command

    plan = plan_of([objective("availability", target=0.9, phases=["steady"])], faults=["kill"])
    monkeypatch.setattr("stormgate.documents.load_gate", lambda *_, **__: plan)
    monkeypatch.setattr("stormgate.commands.plan.preflight", lambda _, same: same)
    gate = tmp_path / "gate.yaml"
    gate.write_text("")
    done = CliRunner().invoke(command, [str(gate)], terminal_width=200)
    assert "warning: no objective looks at" in done.output
    assert "fault[kill]" in done.output
