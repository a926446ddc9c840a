"""What a plan makes due: its rate, or the schedule of its shape."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.golden.judge_writer import objective, plan_of, rows_of, synthetic

from stormgate.judge import judge
from stormgate.judge.planning import assess
from stormgate.judge.rules.due import LATE_S, Due, area, ramps, users_at
from stormgate.model import Verdict

S = 1_000_000_000
RAMP = ((0.0, 0.0), (0.0, 10.0), (5.0, 10.0), (8.0, 40.0), (20.0, 40.0), (20.0, 4.0))


def shaped(schedule=RAMP, *, users=10, rate=100.0):
    plan = plan_of([objective("availability", target=0.9)], steady_s=60)
    load = dataclasses.replace(
        plan.load, users=users, rate_per_s=rate, shape="Ramp", schedule=tuple(schedule)
    )
    return dataclasses.replace(plan, load=load).sealed()


def step(at_s, users, **more):
    return {"at_ns": round(at_s * S), "event": "load.step", "users": users, **more}


@pytest.mark.parametrize(
    ("at_s", "users"),
    [(-1, 0), (0, 10), (4.9, 10), (6.5, 25), (8, 40), (19.99, 40), (20, 4), (99, 4)],
)
def test_users_are_straight_between_the_points(at_s, users):
    assert users_at(RAMP, at_s) == pytest.approx(users)


def test_the_area_is_the_integral():
    assert area(RAMP, 0, 5) == pytest.approx(50)
    assert area(RAMP, 5, 8) == pytest.approx(75)
    assert area(RAMP, 18, 22) == pytest.approx(88)
    assert area(RAMP, 3, 3) == area(RAMP, 4, 3) == 0


@given(st.floats(-5, 40), st.floats(-5, 40), st.floats(-5, 40))
def test_areas_add_up(a, b, c):
    low, middle, high = sorted((a, b, c))
    parts = area(RAMP, low, middle) + area(RAMP, middle, high)
    assert area(RAMP, low, high) == pytest.approx(parts, abs=1e-4)


def test_without_a_shape_the_rate_is_due():
    plan = plan_of([objective("availability", target=0.9)], steady_s=60)
    due = Due(plan, [step(3, 5), step(4, 99)])
    assert due.between(10 * S, 12 * S) == pytest.approx(2 * plan.load.rate_per_s)
    assert due.lowest_per_s(10 * S, 12 * S) == plan.load.rate_per_s


def test_a_schedule_counts_from_the_first_order_and_may_come_late():
    due = Due(shaped(), [step(100, 10), step(105, 40)])
    assert not due.unknown
    # 40 users of 10/s each, whether or not the ramp was late.
    assert due.between(112 * S, 118 * S) == pytest.approx(6 * 400)
    # In the ramp up: at least as if it had come LATE_S later.
    late = area(RAMP, 6 - LATE_S, 9 - LATE_S) * 10
    assert due.between(106 * S, 109 * S) == pytest.approx(late)
    # After the way down: at least as if it had come in time.
    assert due.between(120 * S, 124 * S) == pytest.approx(4 * 40)
    assert due.lowest_per_s(112 * S, 122 * S) == pytest.approx(40)


def test_what_a_shape_ordered_stands_for_a_schedule_that_could_not_be_known():
    due = Due(shaped(()), [step(100, 10, spawn_rate=5), step(104, 2, spawn_rate=100)])
    assert due.between(110 * S, 112 * S) == pytest.approx(2 * 20)
    assert ramps([(0, 10, 5), (1, 0, 5)]) == [(0, 0), (1, 5), (2, 0)]


@pytest.mark.parametrize("orders", [[], [{"at_ns": 1, "event": "load.step", "users": None}]])
def test_a_shape_of_which_nothing_is_known_is_named(orders):
    assert Due(shaped(()), orders).unknown


def test_a_run_is_held_to_the_schedule():
    plan = plan_of([objective("availability", target=0.9)], steady_s=60)
    rate = plan.load.rate_per_s

    def judged(users):
        load = dataclasses.replace(
            plan.load, users=10, shape="Flat", schedule=((0.0, users), (9e9, users))
        )
        shaped_plan = dataclasses.replace(plan, load=load).sealed()
        run = synthetic(shaped_plan, rows_of(plan))
        run.timeline = [step(0, users), *run.timeline]
        return judge(run)

    assert judged(10.0).verdict is Verdict.PASS
    # The same rows, where the shape wanted twice as many, or half.
    missed = judged(20.0)
    assert missed.verdict is Verdict.INCONCLUSIVE
    assert f"the plan says {2 * rate * 60:,.0f}" in missed.why
    assert judged(5.0).verdict is Verdict.PASS


def test_a_plan_reckons_with_the_mean_of_its_schedule():
    plain = plan_of([objective("availability", target=0.9)], steady_s=60)
    half = shaped(((0.0, 5.0), (9e9, 5.0)), users=10, rate=plain.load.rate_per_s)
    assert assess(half).requests == pytest.approx(assess(plain).requests / 2, rel=0.01)
