"""The GameDay kind: read with every mistake at its line, and turned into what is measured."""

from pathlib import Path

import pytest

from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.days.read import day_plan, read_day, read_shape
from stormgate.judge.canary import canary_problems
from stormgate.model.gameday import GameStep, Hypothesis

ROOT = Path(__file__).resolve().parents[3]
DAY = ROOT / "gamedays" / "cache.yaml"


def read(path):
    shape, document, gate = read_shape(path)
    plan = load_gate(gate)
    return read_day(shape, document, plan, rehearsal=True), plan


def test_the_day_that_is_here_measures_each_step_by_its_own_phases():
    day, plan = read(DAY)
    assert [step.name for step in day.steps] == ["cache-gone", "slow-cache"]
    assert (day.steps[0].mode, day.steps[1].params) == ("crash", {"latency_ms": 80})
    made = day_plan(day, plan, steady_s=6, final_s=3)
    assert [fault.name for fault in made.faults] == ["cache-gone", "slow-cache"]
    assert {o.name: list(o.spec["phases"]) for o in made.objectives} == {
        "cache-gone/honest-errors": ["fault[cache-gone]", "recovery[cache-gone]"],
        "slow-cache/honest-errors": ["fault[slow-cache]", "recovery[slow-cache]"],
    }
    assert made.gate == "cache-day"


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("us-east/cache", "us-east/cash", 17, "no component has name 'us-east/cash'"),
        (
            "[honest-errors]\n        detected",
            "[honest-eror]\n        detected",
            21,
            "honest-errors",
        ),
        ("name: slow-cache", "name: cache-gone", 15, "listed twice"),
        ("for: 5s}\n      recovery", "for: 59s}\n      recovery", 17, "maxFaultDuration"),
        ("says: A cache", "sais: A cache", 28, "did you mean 'says'"),
        ("../slas/chenu-release", "../slas/chenu-relaese", 9, "there is no file"),
        ("kind: GameDay", "kind: GamDay", 5, "did you mean 'GameDay'"),
    ],
)
def test_a_slip_is_told_at_its_line(tmp_path, old, new, line, why):
    text = DAY.read_text().replace("../slas/", f"{ROOT}/slas/")
    old, new = (one.replace("../slas/", f"{ROOT}/slas/") for one in (old, new))
    assert old in text
    path = tmp_path / "day.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DocumentErrors) as told:
        read(path)
    found = [one for one in str(told.value).splitlines() if why in one]
    assert found, told.value
    assert f"day.yaml:{line}:" in found[0]


OWN = """objectives:
          - honest-errors
          - {name: quick, kind: latency, quantile: 0.95, lte: 250ms, by: population}"""


def written(tmp_path, own):
    text = DAY.read_text().replace("../slas/", f"{ROOT}/slas/")
    path = tmp_path / "day.yaml"
    path.write_text(text.replace("objectives: [honest-errors]", own, 1))
    return path


def test_a_step_may_write_an_objective_of_its_own(tmp_path):
    day, plan = read(written(tmp_path, OWN))
    said = day.steps[0].hypothesis
    assert said.objectives == ("honest-errors",)
    assert [one.name for one in said.own] == ["quick"]
    made = day_plan(day, plan, steady_s=6, final_s=3)
    assert [one.name for one in made.objectives] == [
        "cache-gone/honest-errors",
        "cache-gone/quick",
        "slow-cache/honest-errors",
    ]
    quick = made.objectives[1]
    assert (quick.kind, quick.spec["lte_ms"]) == ("latency", 250)
    assert list(quick.spec["phases"]) == ["fault[cache-gone]", "recovery[cache-gone]"]
    assert canary_problems(made) == []


def test_what_a_step_asks_itself_is_sealed_with_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    digests = {
        read(written(tmp_path / name, OWN.replace("250ms", limit)))[0].steps[0].digest
        for name, limit in (("a", "250ms"), ("b", "260ms"))
    }
    assert len(digests) == 2


def test_a_step_that_asks_nothing_itself_is_sealed_as_it_always_was():
    step = GameStep(
        name="cache",
        mode="crash",
        components=("us/cache",),
        for_s=5,
        recovery_s=5,
        hypothesis=Hypothesis(says="Nobody waits.", objectives=("failover",)),
    )
    assert step.digest == "68b7b78ae17b6f432809419c09592e6d6ecc92564422b9757b02a85b4d24084c"


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("kind: latency", "kind: latensy", 23, "did you mean 'latency'"),
        ("lte: 250ms", "lte: fast", 23, "lte"),
        ("lte: 250ms, ", "", 23, "lacks 'lte'"),
        ("quantile: 0.95", "quantil: 0.95", 23, "did you mean 'quantile'"),
        ("by: population", "by: citty", 23, "no column 'citty'"),
        ("name: quick, ", "", 23, "'name' is missing"),
        ("name: quick", "name: honest-errors", 22, "listed twice"),
        ("by: population", "phases: [steady]", 23, "held over this step alone"),
        ("by: population", "slo: answers", 23, "write its limit here"),
        ("- honest-errors", "- 7", 22, "objectives"),
    ],
)
def test_a_slip_in_an_objective_of_a_step_is_told_at_its_line(tmp_path, old, new, line, why):
    assert old in OWN
    path = written(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(DocumentErrors) as told:
        read(path)
    found = [one for one in str(told.value).splitlines() if why in one]
    assert found, told.value
    assert f"day.yaml:{line}:" in found[0]
