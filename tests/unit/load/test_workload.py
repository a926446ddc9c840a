"""What is known of a Locust file before it runs: a shape's schedule, and who its users are."""

import os

import pytest

# Locust patches the interpreter for gevent on import, which this process's other tests must not
# notice; nor must the locust processes that they start be told not to.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from locust import LoadTestShape, User

from stormgate.load.locust.counts import counts

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
from stormgate.load.workload import schedule


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
