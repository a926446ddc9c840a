"""How many instances there ought to be, what they cost, and what an instance lets through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stormgate.documents import load_target
from stormgate.lab.defects import planted
from stormgate.lab.design import prices
from stormgate.lab.design.autoscaling import Autoscaler, Launch, Scaling, scaling_of
from stormgate.lab.design.plan import plan
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.errors import LabError
from stormgate.lab.services.scaling.instance import Turns

TARGETS = Path(__file__).parents[3] / "targets"
LAUNCH = Scaling(capacity_per_s=60, ahead_s=10, launches=(Launch(20, 3, 18),))


def played(scaling: Scaling, rate: Any, until_s: int = 60) -> list[int]:
    """How many stand at each second's end, when the load follows `rate`."""
    scaler, standing, seen = Autoscaler(scaling), scaling.least, []
    for second in range(until_s):
        standing = scaler.step(float(second), 0.0, rate(second), standing)
        seen.append(standing)
    return seen


def launch(second: int) -> float:
    return 108.0 if 20 <= second < 38 else 36.0


def test_a_launch_is_prepared_for_beforehand_and_over_afterwards() -> None:
    seen = played(LAUNCH, launch)
    assert seen[:10] == [1] * 10
    assert seen[10:38] == [3] * 28
    assert seen[41:] == [1] * (60 - 41)


def test_without_an_announcement_it_comes_with_the_load() -> None:
    seen = played(replace(LAUNCH, launches=()), launch)
    assert seen[:20] == [1] * 20
    assert seen[20:38] == [3] * 18


def test_a_launch_brings_so_many_times_what_was_usual_before_it() -> None:
    scaler = Autoscaler(LAUNCH)
    scaler.step(9.0, 0.0, 20.0, 1)
    # While it is prepared for, and while it is on, what comes is not the usual.
    assert scaler.step(19.0, 0.0, 41.0, 1) == 2
    assert scaler.usual_per_s == 20.0
    assert scaler.step(30.0, 0.0, 10.0, 2) == 2, "it is not over"
    assert scaler.step(30.0, None, 10.0, 1) == 1, "nobody has come yet: no day has begun"


@pytest.mark.parametrize(
    ("rate", "standing", "wanted"),
    [(42, 1, 1), (43, 1, 2), (240, 1, 4), (1000, 4, 4), (0, 1, 1), (36, 2, 2), (35, 2, 2)],
)
def test_above_70_percent_more_are_started_and_none_ends_at_once(rate, standing, wanted) -> None:
    assert Autoscaler(Scaling(capacity_per_s=60)).step(0.0, None, rate, standing) == wanted


@pytest.mark.parametrize(("rate", "standing", "after"), [(35, 2, 1), (36, 2, 2), (60, 4, 2)])
def test_below_30_percent_it_goes_towards_half_once_it_is_calm(rate, standing, after) -> None:
    scaler = Autoscaler(Scaling(capacity_per_s=60))
    for now_s in (0.0, 2.9):
        assert scaler.step(now_s, None, rate, standing) == standing
    assert scaler.step(3.0, None, rate, standing) == after


def test_what_a_target_asks_for() -> None:
    target = load_target(TARGETS / "lab-scale.yaml")
    assert scaling_of(target) == LAUNCH
    assert Scaling.from_json(LAUNCH.to_json()) == LAUNCH
    assert scaling_of(load_target(TARGETS / "lab.yaml")) is None
    names = [part.name for part in plan(target).parts]
    assert names == [part.name for part in plan(load_target(TARGETS / "lab-edges.yaml")).parts]


@pytest.mark.parametrize(
    "asked",
    [
        3,
        {"least": 0},
        {"most": 5},
        {"least": 3, "most": 2},
        {"least": 1.5},
        {"capacityPerS": 0},
        {"aheadS": True},
        {"launches": [{"atS": 1, "factor": 3}]},
        {"launches": [{"atS": 1, "factor": 1, "forS": 3}]},
        {"spare": 1},
    ],
)
def test_what_cannot_be_is_refused(asked: Any) -> None:
    target = load_target(TARGETS / "lab-scale.yaml")
    lab = {**(target.provision or {})["lab"], "autoscaling": asked}
    with pytest.raises(LabError, match=r"provision\.lab\.autoscaling takes least and most"):
        scaling_of(replace(target, provision={"lab": lab}))


def test_the_table_at_half_use_is_the_claim_and_all_of_it_is_dealt_to_the_answers() -> None:
    assert sum(prices.BY_REQUEST.values()) + sum(prices.BY_CAPACITY.values()) == 70_000
    bill = prices.Bill(0.0)
    # 60 requests a second to instances that can serve 120.
    said = [bill.answered(n / 60, 120) for n in range(1, 6001)]
    assert sum(said) / len(said) == pytest.approx(70_000 / 30e9)
    idle = prices.Bill(0.0)
    idle.stands(10.0, 60)
    assert idle.answered(10.0, 120) == pytest.approx(
        prices.REQUEST_USD + 600 * prices.CAPACITY_USD
    ), "what was paid for while nobody asked is due to the next"


def test_an_instance_lets_through_what_it_can_and_no_more() -> None:
    turns = Turns(10)
    waits = [turns.wait_s(0.0) for _ in range(7)]
    assert waits[:6] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert waits[6] is None, "who would wait for longer is refused"
    assert turns.wait_s(0.35) == pytest.approx(0.25), "and takes nobody's turn"
    assert turns.wait_s(9.0) == 0.0


def test_defects_of_scaling_change_what_they_say() -> None:
    healthy = LabSettings()
    slow = planted("slow-start-autoscale").settings(healthy).instance_start_s
    assert slow > LAUNCH.ahead_s > healthy.instance_start_s
    for name in ("blind-autoscale", "never-scales-down"):
        assert set(planted(name).programs) == {"pool"}
