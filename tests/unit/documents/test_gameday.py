"""The GameDay kind: read with every mistake at its line, and turned into what is measured."""

from pathlib import Path

import pytest

from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.days.read import day_plan, read_day, read_shape

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
