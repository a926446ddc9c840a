"""A FAIL over timing on the gate's own machine, while others had its processors, is no FAIL of the
target's for sure; all else stays what it was.
"""

from dataclasses import replace

import pytest
from tests.golden.judge_writer import (
    objective,
    phase_window,
    plan_of,
    rows_of,
    synthetic,
    write_folder,
)

from stormgate.evidence.laws import machine_problem
from stormgate.evidence.read import Run
from stormgate.judge.engine import judge_run
from stormgate.judge.rules.starved import starvation_of, taken_cores
from stormgate.model import Verdict

S = 1_000_000_000
FAST = {"quantile": 0.95, "lte_ms": 100.0}


def row(**more):
    return {
        "at_ns": 1, "window_s": 1.0, "cores": 2, "own": 0.8, "others": 1.2, "steal": 0.0,
        "waited": 0.9, "pressure": 1.0,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("more", "taken"),
    [
        ({}, 0.9),
        ({"waited": 5.0}, 1.2),  # no more than others had: the rest is its own crowd
        ({"others": 0.1, "own": 1.9}, 0.1),
        ({"others": 0.0, "own": 2.0, "waited": 9.0}, 0.0),  # a target that eats its own machine
        ({"others": 0.2, "steal": 1.0}, 0.9),
        ({"waited": 0.0}, 0.0),
        ({"others": 0.9}, 0.0),  # 0.3 of 2 were idle
        ({"others": 1.05}, 0.9),
        ({"cores": 64, "others": 2.0}, 0.0),
        ({"waited": None}, 0.0),
        ({"waited": float("nan")}, 0.0),
        ({"others": float("inf")}, 0.0),
        ({"steal": -1}, 0.0),
        ({"own": "0"}, 0.0),
        ({"cores": 0}, 0.0),
        ({"window_s": True}, 0.0),
        ({"at_ns": 1.5}, 0.0),
    ],
)
def test_what_was_taken_is_what_was_missed_and_what_others_had(more, taken):
    assert taken_cores(row(**more)) == pytest.approx(taken)


@pytest.mark.parametrize("key", ["own", "others", "steal", "waited", "cores", "window_s"])
def test_a_row_without_a_number_breaks_its_law(key):
    assert machine_problem(row()) is None
    assert key in str(machine_problem({k: v for k, v in row().items() if k != key}))


def run_of(*, provision, seconds, latency_ms=500.0, kind="latency", more=None, **validity):
    spec = {"latency": FAST, "availability": {"target": 0.99}}[kind]
    plan = plan_of([objective(kind, **spec)], steady_s=20.0, rate=50.0)
    plan = replace(
        plan,
        target=replace(plan.target, provision=provision),
        validity=replace(plan.validity, **validity),
    ).sealed()
    rows = rows_of(plan)
    if kind == "latency":
        rows.latency_ms[:] = latency_ms
    else:
        rows.outcome[::5] = 2
    run = synthetic(plan, rows)
    begin, _ = phase_window(run, "steady")
    run.machine = [row(at_ns=begin + (second + 1) * S, **(more or {})) for second in range(seconds)]
    return run


LAB = {"lab": {}}


@pytest.mark.parametrize("kind", ["latency", "availability"])
def test_a_failure_on_a_starved_machine_is_inconclusive_by_name(kind):
    judged = judge_run(run_of(provision=LAB, seconds=20, kind=kind))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.exit_code == 3
    told = (
        "machine starved in 20 of 20 s of steady (allowed 5%), first at +0 s: others had 1.20 of 2"
    )
    assert told in judged.why
    assert judged.objectives[0].detail["without_the_veto"] == "FAIL"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seconds": 0}, "nobody looked"),
        ({"seconds": 1}, "one second"),
        ({"provision": None}, "a target that is not ours"),
        ({"more": {"waited": float("nan")}}, "a number that is none"),
        ({"more": {"others": 0.0, "own": 2.0}}, "its own hunger"),
        ({"max_starved_cores": 2.0}, "within the gate's limit"),
        ({"max_starved_cores": 0.0}, "a limit that is none"),
    ],
)
def test_all_other_failures_stay(changes, why):
    judged = judge_run(run_of(**{"provision": LAB, "seconds": 20, **changes}))
    assert judged.objectives[0].verdict is Verdict.FAIL, why
    assert judged.verdict is Verdict.FAIL, why


def test_a_pass_on_a_starved_machine_is_one():
    judged = judge_run(run_of(provision=LAB, seconds=20, latency_ms=20.0))
    assert judged.verdict is Verdict.PASS


def test_a_starved_failure_is_not_tried_again_by_itself():
    """Else a gate would be repeated until it pleases."""
    from stormgate.judge.decide import generator_alone

    assert not generator_alone(judge_run(run_of(provision=LAB, seconds=20)))


def test_seconds_elsewhere_excuse_nothing():
    run = run_of(provision=LAB, seconds=20)
    for one in run.machine:
        one["at_ns"] += 100 * S
    assert judge_run(run).verdict is Verdict.FAIL


def test_it_is_read_from_the_folder_and_a_broken_row_is_named(tmp_path):
    import json

    run = run_of(provision=LAB, seconds=20)
    folder = write_folder(run, tmp_path / "run")
    file = folder / "machine.ndjson"
    file.write_text("".join(json.dumps(one) + "\n" for one in run.machine))
    assert judge_run(Run(folder)).verdict is Verdict.INCONCLUSIVE
    file.write_text(json.dumps(row(waited=None)) + "\n")
    judged = judge_run(Run(folder))
    assert judged.verdict is Verdict.FAIL
    assert any("machine.ndjson: row 1: waited is None" in str(f.detail) for f in judged.validity)


def test_the_limit_is_the_plans():
    run = run_of(provision=LAB, seconds=3)
    assert len(starvation_of(run.machine, run.plan).spans) == 3
    high = replace(run.plan, validity=replace(run.plan.validity, max_starved_cores=0.95))
    assert starvation_of(run.machine, high).spans == ()
    none = replace(run.plan, validity=replace(run.plan.validity, max_starved_cores=float("nan")))
    assert starvation_of(run.machine, none).spans == ()
