"""`GeoUser`: a Locust user that stands for a stream of arrivals from one population."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gevent.event import Event
from locust import SequentialTaskSet, TaskSet, User

from stormgate.load.engine.stream import Flow, Session
from stormgate.load.locust.plugin import install, worker_of
from stormgate.load.steps import Steps


class GeoUser(User):  # type: ignore[misc]
    """A stream of `rate_per_s` users per second who each run `flow` once.

    rate_per_s: arrivals per second of one Locust user (default: the plan's rate over its users,
    else 1). arrival: "poisson" or "constant". population: pins all streams of the class to one
    population; otherwise they are dealt by share. cookies: whether sessions keep and send them, as
    browsers do. `flow` (or Locust tasks that are generators, picked by weight) yields requests and
    think time and is sent replies. `login`, when overridden, runs once per stream before its
    arrivals begin; its requests are samples under their own names. A stream whose login raises
    sends nothing; `login_retry_s` lets it try again after so many seconds. `steps`, instead of
    `flow`, declares what one does: requests and pauses, one after the other.
    """

    abstract = True
    is_stream: ClassVar[bool] = True
    rate_per_s: ClassVar[float | None] = None
    arrival: ClassVar[str] = "poisson"
    population: ClassVar[str | None] = None
    cookies: ClassVar[bool] = True
    login_retry_s: ClassVar[float | None] = None
    steps: ClassVar[Sequence[Any]] = ()
    _declared: ClassVar[Steps | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Locust wants tasks (and filters them by tag): a class's flow is one, unless it brings
        # generator tasks of its own.
        own = [
            task
            for task in cls.tasks
            if not isinstance(task, Steps) and getattr(task, "__name__", "") != "flow"
        ]
        if "steps" in cls.__dict__:
            cls._declared = Steps(cls.__name__, cls.steps)
        elif "flow" in cls.__dict__:
            cls._declared = None
        if cls._declared is None:
            cls.tasks = own or ([cls.flow] if cls.flow is not GeoUser.flow else [])
        else:
            refuse_both(cls, own)
            cls.tasks = [cls._declared]
        refuse_task_sets(cls)

    def flow(self, session: Session) -> Flow:
        """What one arriving user does; a generator."""
        raise NotImplementedError(f"{type(self).__name__} has no flow(self, session) and no tasks")

    def login(self, session: Session) -> Flow:
        """What a user does once, before the first flow; a generator. Not called unless
        overridden.
        """
        raise NotImplementedError

    @classmethod
    def has_login(cls) -> bool:
        return cls.login is not GeoUser.login

    def run(self) -> None:
        """Locust's greenlet of this user: it only holds the stream open until Locust kills it."""
        worker = worker_of(self.environment)
        if worker is None:  # the test ended while Locust was still making users
            Event().wait()
            return
        self.on_start()
        stream = worker.join(self)
        try:
            Event().wait()
        finally:
            worker.leave(self, stream)
            self.on_stop()


def refuse_both(cls: type, own: Sequence[Any]) -> None:
    """Raises TypeError for a class that declares its steps and writes them as code, too: which of
    them its users do would be a guess.
    """
    code = own[0].__name__ if own else "flow" if "flow" in cls.__dict__ else ""
    if code:
        raise TypeError(
            f"{cls.__name__} has steps and {code}(): declare what its users do (steps), or write "
            "it (flow, tasks); two classes with weights do both"
        )


def refuse_task_sets(cls: type) -> None:
    """Raises TypeError for a user class with a TaskSet among its tasks: a TaskSet is a loop that
    waits for its answers, and a stream of arrivals waits for nobody.
    """
    for task in getattr(cls, "tasks", ()):
        if isinstance(task, type) and issubclass(task, TaskSet):
            in_order = issubclass(task, SequentialTaskSet)
            kind = "SequentialTaskSet" if in_order else "TaskSet"
            instead = (
                "write its steps one after the other into `def flow(self, session)`: "
                "`reply = yield get(...)`, `yield think(1)`, `yield post(...)`"
                if in_order
                else f"make its tasks generator methods of {cls.__name__}: "
                "`@task(3)` over `def name(self, session): yield get(...)`"
            )
            raise TypeError(
                f"{cls.__name__}: {kind} {task.__qualname__} cannot run in a GeoUser, whose users "
                f"arrive and do not loop; {instead}"
            )


install()
