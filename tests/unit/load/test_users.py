"""What a GeoUser may be made of."""

import os

import pytest

# Locust patches the interpreter for gevent on import, which this process's other tests must not
# notice; nor must the locust processes that they start be told not to.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from locust import SequentialTaskSet, TaskSet, task

from stormgate.load.locust.user import GeoUser

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]


class Loop(TaskSet):
    @task
    def one(self):
        pass


class Steps(SequentialTaskSet):
    @task
    def one(self):
        pass


def nested(cls):
    return task(3)(cls)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"tasks": [Loop]}, "TaskSet Loop cannot run in a GeoUser"),
        ({"tasks": {Loop: 3}}, "make its tasks generator methods of Shopper"),
        ({"tasks": {Steps: 1}}, "SequentialTaskSet Steps cannot run"),
        ({"tasks": [(Steps, 2)]}, "into `def flow(self, session)`"),
        ({"inner": nested(Loop)}, "TaskSet Loop cannot run"),
        ({"inner": nested(Steps), "flow": lambda self, session: None}, "SequentialTaskSet Steps"),
    ],
)
def test_a_task_set_is_refused_by_name_with_what_to_write_instead(body, told):
    with pytest.raises(TypeError, match=r"^Shopper: ") as caught:
        type("Shopper", (GeoUser,), body)
    assert told in str(caught.value)


def test_one_that_a_base_brings_along_is_refused_too():
    mixin = type("Mixin", (), {"tasks": [Loop]})
    with pytest.raises(TypeError, match="Shopper: TaskSet Loop"):
        type("Shopper", (mixin, GeoUser), {})


def test_generator_methods_are_tasks():
    @task(2)
    def read(self, session):
        yield

    shopper = type("Shopper", (GeoUser,), {"read": read})
    assert shopper.tasks == [read, read]
