"""Users who are served: what that means before a fault, and who is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.golden.judge_writer import BAD, S, objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.served import due_lately, served_well, unserved, well
from stormgate.model import Plan, Verdict

WELL = {"london": (1000, 1000), "tokyo": (600, 600), "lima": (400, 400)}


@pytest.mark.parametrize(
    ("bad", "sent", "good_share", "expected"),
    [
        (0, 0, 0.99, False),
        (0, 1, 0.99, True),
        (1, 1, 0.99, False),
        (1, 9, 0.99, False),
        (1, 10, 0.99, True),  # a stray
        (2, 10, 0.99, False),
        (1, 100, 0.99, True),
        (2, 100, 0.99, True),  # one time in four by chance
        (3, 100, 0.99, False),
        (10, 1000, 0.99, True),
        (12, 1000, 0.99, True),
        (14, 1000, 0.99, False),
        (1_000_000, 100_000_000, 0.99, True),
        (1_010_000, 100_000_000, 0.99, False),
        (1, 1000, 1.0, True),
        (2, 1000, 1.0, False),
        (0, 1000, 1.0, True),
        (40, 1000, 0.96, True),
    ],
)
def test_well(bad: int, sent: int, good_share: float, expected: bool) -> None:
    assert well(bad, sent, good_share) is expected


def plan(*specs: dict[str, object], rate: float = 400) -> Plan:
    objectives = [objective("failover", name=f"f{i}", **spec) for i, spec in enumerate(specs)]
    return plan_of(objectives, faults=["kill", "other"], rate=rate)


def test_served_is_what_the_failover_objectives_over_it_call_recovered() -> None:
    assert served_well(plan(), "kill") == (0.9, 2000)
    strict = {"lte_s": 5, "sustained_good": 0.999, "within_ms": 500.0}
    loose = {"lte_s": 5, "sustained_good": 0.95, "fault": "other"}
    assert served_well(plan(strict, loose), "kill") == (0.999, 500)
    assert served_well(plan(strict, loose), "other") == (0.95, 2000)
    assert served_well(plan({"lte_s": 5}), "kill") == (0.99, 2000)


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        (WELL, []),
        (None, ["nobody has asked anything yet"]),
        ({**WELL, "lima": (380, 400)}, ["lima: 20 of 400 requests"]),
        ({**WELL, "lima": (0, 0)}, ["lima asked nothing in the last 5 s, about 400"]),
        ({"tokyo": (600, 600)}, ["london asked nothing", "lima asked nothing"]),
        ({**WELL, "london": (0, 1000)}, ["london: 1,000 of 1,000"]),
    ],
)
def test_unserved(counts: dict[str, tuple[int, int]] | None, named: list[str]) -> None:
    found = unserved(plan({"lte_s": 5}), "kill", counts)
    assert len(found) == len(named)
    assert all(words in problem for words, problem in zip(named, found, strict=True))


def test_who_asks_seldom_may_be_silent() -> None:
    assert unserved(plan(rate=2), "kill", {}) == []
    assert unserved(plan(rate=2), "kill", None) == []
    assert len(unserved(plan(rate=2), "kill", {"lima": (0, 2)})) == 1


BEGUN = {"at_ns": 100 * S, "event": "load.step", "users": 1, "spawn_rate": 1}


@pytest.mark.parametrize(
    ("shape", "timeline", "at_s", "due"),
    [
        (None, [BEGUN], 110, 2000),  # no shape: the plan's rate
        ("Tide", [], 110, 2000),  # nobody knows when it began
        ("Tide", [BEGUN], 110, 50),  # one of 40 users
        ("Tide", [BEGUN], 162, 50),  # the rise may come later than planned
        ("Tide", [BEGUN], 180, 2000),
        ("Tide", [BEGUN], 260, 0),  # planned to be silent
    ],
)
def test_a_shape_is_held_to_its_own_schedule(
    shape: str | None, timeline: list[dict[str, object]], at_s: int, due: float
) -> None:
    flat = plan()
    schedule = ((0.0, 1.0), (60.0, 1.0), (60.1, 40.0), (150.0, 40.0), (150.0, 0.0))
    load = replace(flat.load, users=40, shape=shape, schedule=schedule if shape else ())
    tide = replace(flat, load=load)
    found = due_lately(tide, timeline, at_s * S)
    assert found == pytest.approx(due, rel=0.02, abs=0.1)
    silent = unserved(tide, "kill", {}, found)
    # Of 50 requests of all, lima's ten may be missing by chance.
    assert len(silent) == {2000: 3, 50: 2, 0: 0}[round(due)]
    assert bool(unserved(tide, "kill", None, found)) is (due > 0)


@pytest.mark.parametrize(
    ("every", "verdict"),
    [(1000, Verdict.PASS), (60, Verdict.INCONCLUSIVE), (25, Verdict.INCONCLUSIVE)],
)
def test_a_cell_that_did_not_reach_the_share_shows_no_failover(
    every: int, verdict: Verdict
) -> None:
    trial = plan_of([objective("failover", lte_s=5)], steady_s=60, faults=["kill"])
    rows = rows_of(trial)
    at = next(
        r["at_ns"] for r in synthetic(trial, rows).timeline if r["event"] == "fault.requested"
    )
    before = np.flatnonzero(rows.intended_ns < at)
    rows.outcome[before[::every]] = BAD
    (failover,) = judge(synthetic(trial, rows)).objectives
    assert failover.verdict is verdict
    if verdict is Verdict.INCONCLUSIVE:
        assert "was not well before the fault" in failover.why


def test_what_was_bad_long_before_is_no_state_of_now() -> None:
    trial = plan_of([objective("failover", lte_s=5)], steady_s=60, faults=["kill"])
    rows = rows_of(trial)
    at = next(
        r["at_ns"] for r in synthetic(trial, rows).timeline if r["event"] == "fault.requested"
    )
    rows.outcome[rows.intended_ns < at - 31 * S] = BAD
    assert judge(synthetic(trial, rows)).objectives[0].verdict is Verdict.PASS
