"""What is known of a Locust file before it runs: a shape's schedule, and who its users are."""

import dataclasses
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.golden.judge_writer import objective, plan_of

# Locust patches the interpreter for gevent on import, which this process's other tests must not
# notice; nor must the locust processes that they start be told not to.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from locust import LoadTestShape, User

from stormgate.load.locust.counts import counts

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
from stormgate.load.schedule.shares import Dealer
from stormgate.load.workload import schedule
from stormgate.model import Population
from stormgate.supervise.preflight import enough_users


def shape(tick):
    return type("Shape", (LoadTestShape,), {"tick": tick})()


def test_a_schedule_ramps_as_locust_does_and_says_when_it_ends():
    def tick(self):
        t = self.get_run_time()
        return (10, 5) if t < 5 else (40, 100) if t < 10 else (4, 12) if t < 20 else None

    found = schedule(shape(tick), 100)
    assert found["ends_s"] == 20
    assert found["points"][-1] == (20, 4)
    assert {(2.0, 10.0), (5.0, 10.0), (5.3, 40.0), (13.0, 4.0)} <= set(found["points"])
    times = [at for at, _ in found["points"]]
    assert times == sorted(times)


def test_a_shape_that_goes_on_has_no_end():
    found = schedule(shape(lambda _self: (7, 7)), 30)
    assert found["ends_s"] is None
    assert found["points"][-1][0] >= 30
    assert found["points"][-1][1] == 7


def test_a_shape_that_looks_at_the_run_cannot_be_known():
    with pytest.raises(AttributeError):
        schedule(shape(lambda self: (self.get_current_user_count() + 1, 1)), 10)


def test_users_are_counted_as_locust_deals_them():
    def user(name, **attributes):
        return type(name, (User,), attributes)

    many, few = user("Many", weight=3), user("Few", weight=1)
    assert counts([many, few], 8) == {"Many": 6, "Few": 2}
    assert counts([many, user("One", fixed_count=1)], 5) == {"Many": 4, "One": 1}
    assert counts([], 5) == counts([many], 0) == {}


@given(
    shares=st.lists(st.floats(0.02, 1), min_size=1, max_size=6),
    weights=st.lists(st.integers(1, 20), min_size=1, max_size=4),
)
@example(shares=[0.5, 0.5], weights=[9, 1])
def test_without_a_number_every_population_has_users_of_every_class(shares, weights):
    users = tuple(share / sum(shares) for share in shares)
    populations = [
        Population(name=f"p{number}", share=share, latitude=0, longitude=0)
        for number, share in enumerate(users)
    ]
    trial = plan_of([objective("availability", target=0.9)])
    target = dataclasses.replace(trial.target, populations=tuple(populations))
    trial = dataclasses.replace(trial, target=target)
    classes = [type(f"C{n}", (User,), {"weight": w}) for n, w in enumerate(weights)]
    found = [{"weight": weight, "fixed": 0} for weight in weights]
    count = enough_users(trial, found)
    made = counts(classes, count)
    for cls in classes:
        dealer = Dealer({p.name: p.share for p in populations})
        dealt = {dealer.take()[1] for _ in range(made[cls.__name__])}
        assert len(dealt) == len(shares), (count, made)
