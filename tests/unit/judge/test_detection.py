"""How many planted faults were found, with bounds; what decided nothing was not found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stormgate.judge.statistics.detection import (
    HEALTHY,
    DetectionTrial,
    false_alarms_of,
    power_of,
)
from stormgate.report.detection import detection_md, detection_svg, look_of


def trial(defect: str, seed: int, verdict: str, *failed: str) -> DetectionTrial:
    return DetectionTrial(
        defect=defect, seed=seed, verdict=verdict, failed=failed, took_s=100 + seed
    )


@pytest.mark.parametrize(("n", "at_least"), [(20, 0.86), (59, 0.95)])
def test_bounds_of_a_clean_sweep(n: int, at_least: float) -> None:
    power = power_of("a", ("failover",), [trial("a", i, "FAIL", "failover") for i in range(n)])
    assert power.found_always
    assert power.power_at_least == pytest.approx(at_least, abs=0.005)


def test_59_healthy_runs_bound_false_alarms_at_5_percent() -> None:
    alarms = false_alarms_of([trial(HEALTHY, i, "PASS") for i in range(59)])
    assert (alarms.failed, alarms.trials) == (0, 59)
    assert alarms.rate_at_most == pytest.approx(0.05, abs=0.001)


def test_nothing_tried_proves_nothing() -> None:
    assert power_of("a", ("failover",), []).power_at_least == 0.0
    assert not power_of("a", ("failover",), []).found_always
    assert false_alarms_of([]).rate_at_most == 1.0


TRIALS = [
    trial("a", 1, "FAIL", "failover", "availability"),
    trial("a", 2, "FAIL", "latency"),
    trial("a", 3, "PASS"),
    trial("a", 4, "INCONCLUSIVE"),
    trial("a", 5, "REFUSED"),
    trial("b", 1, "FAIL", "failover"),
    trial(HEALTHY, 1, "PASS"),
    trial(HEALTHY, 2, "FAIL", "latency"),
]


def test_each_answer_has_its_own_count() -> None:
    power = power_of("a", ("failover",), TRIALS)
    counts = (power.trials, power.own, power.other, power.passed, power.undecided, power.broken)
    assert counts == (5, 1, 1, 1, 1, 1)
    assert power.by == {"availability": 1, "failover": 1, "latency": 1}
    assert power.took_s == 103
    assert not power.found_always


def test_a_run_that_measured_nothing_found_nothing() -> None:
    """Whatever it came to, by its own objective or by another."""
    trials = [replace(trial("a", 1, "FAIL", kind), measured=False) for kind in ("failover", "x")]
    power = power_of("a", ("failover",), trials)
    assert (power.own, power.other, power.undecided, power.broken) == (0, 0, 2, 0)
    assert look_of(trials[0], ("failover",)) == "undecided"


def test_a_defect_without_an_objective_is_never_found() -> None:
    assert power_of("b", (), TRIALS).own == 0


@pytest.mark.parametrize(
    ("number", "look"),
    list(enumerate(["own", "other", "missed", "undecided", "broken", "own", "pass", "alarm"])),
)
def test_how_each_looks(number: int, look: str) -> None:
    assert look_of(TRIALS[number], ("failover",)) == look


def test_the_page_tells_what_was_not_run() -> None:
    powers = [power_of(name, ("failover",), TRIALS) for name in ("a", "b", "c")]
    page = detection_md("g", powers, false_alarms_of(TRIALS), "stormgate detect g", "today")
    assert "| `a` | failover | 5 | 1 | 1 | 1 | 1 | 1 |" in page
    assert "Not run: `c`." in page
    assert "2 runs, 1 PASS, 1 FAIL" in page
    assert "nothing is known of false alarms" in detection_md(
        "g", powers, false_alarms_of([]), "c", "today"
    )


def test_the_picture_has_a_cell_for_each_run_and_escapes_what_it_is_told() -> None:
    trials = [*TRIALS, trial("<script>", 1, "FAIL", "<b>")]
    found_by = {"a": ("failover",), "b": ("failover",), "<script>": ()}
    svg = detection_svg(trials, found_by, [1, 2, 3, 4, 5])
    assert svg.count("<rect") == len(trials)
    assert "<script>" not in svg
    assert "&lt;b&gt;" in svg
