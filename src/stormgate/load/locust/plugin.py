"""Stormgate's place in a Locust process: options, a worker per test, and what the timeline says of
the load.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import secrets
import signal
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerRunner

from stormgate.load.engine.watchdog import EXIT_CODE
from stormgate.load.locust.closed_loop import ClosedWorker
from stormgate.load.locust.coordinator import Conductor, Follower
from stormgate.load.locust.counts import counts
from stormgate.load.locust.deal import Seats, Table
from stormgate.load.locust.places import Places
from stormgate.load.locust.settings import (
    Settings,
    SettingsError,
    settings_from_host,
    settings_from_plan,
)
from stormgate.load.locust.warm import warm_up
from stormgate.load.locust.worker import Worker
from stormgate.load.record import refusals
from stormgate.load.record.relay import MessageSink, Receiver
from stormgate.load.record.sink import FolderSink, NoSink, Sink, free_worker_name
from stormgate.load.record.writer import Clock
from stormgate.load.schedule.surge import Factors
from stormgate.system.processes import die_with_parent

logger = logging.getLogger(__name__)

EVIDENCE = "STORMGATE_EVIDENCE"
PLAN = "STORMGATE_PLAN"
_MADE_WITHIN_S = 30.0
_SHARED = "stormgate_shared"  # an option of the master's that Locust hands to its workers
_conductors: weakref.WeakKeyDictionary[Any, Conductor] = weakref.WeakKeyDictionary()
_followers: weakref.WeakKeyDictionary[Any, Follower] = weakref.WeakKeyDictionary()
_seats: weakref.WeakKeyDictionary[Any, Seats] = weakref.WeakKeyDictionary()
_workers: weakref.WeakKeyDictionary[Any, Worker] = weakref.WeakKeyDictionary()
_ending: weakref.WeakSet[Any] = weakref.WeakSet()
_closed: weakref.WeakKeyDictionary[Any, ClosedWorker] = weakref.WeakKeyDictionary()


def _options(parser: Any, **_: Any) -> None:
    group = parser.add_argument_group("Stormgate", "Open-loop load with evidence (GeoUser)")
    group.add_argument(
        "--evidence",
        env_var=EVIDENCE,
        metavar="DIR",
        help="Run folder for samples, timeline and generator truth",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        env_var="STORMGATE_SEED",
        help="Seed of arrivals and data (without a plan)",
    )
    group.add_argument(
        "--evidence-by-message",
        action="store_true",
        help="This worker sends its evidence to the master even if it could reach the run folder",
    )


def evidence_folder(environment: Any) -> Path | None:
    """The run folder asked for by option or environment."""
    chosen = getattr(environment.parsed_options, "evidence", None) or os.environ.get(EVIDENCE)
    return Path(chosen) if chosen else None


def settings_of(environment: Any) -> Settings:
    """Raises SettingsError."""
    plan = os.environ.get(PLAN)
    if plan:
        return settings_from_plan(Path(plan))
    host = environment.host or next(
        (cls.host for cls in environment.user_classes if cls.host), None
    )
    return settings_from_host(host, getattr(environment.parsed_options, "seed", 0) or 0)


def worker_of(environment: Any) -> Worker | None:
    """The worker of a running test's streams, made on first use; None when the test is ending."""
    worker = _workers.get(environment)
    if worker is None and environment not in _ending:
        worker = _workers[environment] = _make_worker(environment)
    return worker


def _index(environment: Any) -> int:
    runner = environment.runner
    return max(0, runner.worker_index) if isinstance(runner, WorkerRunner) else 0


def _count(environment: Any, settings: Settings | None) -> int:
    """How many workers share the load."""
    options = environment.parsed_options
    if not isinstance(environment.runner, WorkerRunner):
        return 1
    return (
        (settings.workers if settings is not None else None)
        or getattr(options, "processes", None)
        or getattr(options, "expect_workers", None)
        or 1
    )


def _make_worker(environment: Any) -> Worker:
    index = _index(environment)
    settings = _weighed(environment, settings_of(environment))
    sink, name, clock = _sink(environment, f"worker-{index}")
    worker = Worker(
        settings,
        sink,
        environment.stats,
        name=name,
        index=index,
        count=_count(environment, settings),
        clock=clock,
        on_streams=_stream_teller(environment),
        seats=_seats.get(environment),
    )
    worker.on_flow_error = functools.partial(_tell_locust, environment)
    worker.on_hung = functools.partial(_give_up, environment)
    return worker


def _weighed(environment: Any, settings: Settings) -> Settings:
    """With a plan one knob decides: its rate. What a class says of its own is its weight."""
    if not settings.users:
        return settings
    classes = {cls.__name__: cls for cls in environment.user_classes}
    made = counts(list(classes.values()), settings.users)
    rates = [
        n * float(classes[name].rate_per_s or 1.0)
        for name, n in made.items()
        if getattr(classes[name], "is_stream", False)
    ]
    return replace(settings, weight_sum=sum(rates))


def _make_closed(environment: Any) -> ClosedWorker:
    """The worker of users that pace themselves; beside streams it writes under a name of its
    own.
    """
    index = _index(environment)
    plan = os.environ.get(PLAN)
    settings = settings_from_plan(Path(plan)) if plan else None
    beside = "-closed" if uses_streams(environment) else ""
    sink, name, clock = _sink(environment, f"worker-{index}{beside}")
    populations = settings.populations if settings is not None else ()
    return ClosedWorker(
        environment,
        sink,
        name=name,
        clock=clock,
        places=Places(populations, index=index, count=_count(environment, settings)),
    )


def _sink(environment: Any, base: str) -> tuple[Sink, str, Clock]:
    """Where evidence goes, the worker's name there, and its clock."""
    folder, options = evidence_folder(environment), environment.parsed_options
    follower = _followers.get(environment)
    if follower is not None and getattr(options, _SHARED, None) is not None:
        shared = folder is not None and (folder / getattr(options, _SHARED)).exists()
        if not shared or follower.by_message:
            follower.names[base] += 1
            tests = follower.names[base]
            name = base if tests == 1 else f"{base}-{tests}"
            return (
                MessageSink(environment.runner, name),
                name,
                follower.meter.clock() or Clock(0, 2**62),
            )
    if folder is None:
        return NoSink(), base, Clock()
    name = free_worker_name(folder, base)
    return FolderSink(folder, name), name, Clock()


def _tell_locust(environment: Any, flow: str, text: str) -> None:
    """A flow that raised is among Locust's own exceptions, so that its exit code and its page say
    so (`--exit-code-on-error` is Locust's to apply).
    """
    runner = environment.runner
    message = f"{flow}: {text.strip().splitlines()[-1]}"
    if isinstance(runner, WorkerRunner):
        data = {"msg": message, "traceback": text}
        runner.client.send(Message("exception", data, runner.client_id))
    else:
        runner.log_exception("local", message, text)


def _give_up(environment: Any, why: str) -> None:
    """End this process: users' code has held up its load. Its last line says so."""
    atexit.register(print, f"the load has ended: {why}", file=sys.stderr)
    environment.process_exit_code = EXIT_CODE
    gevent.spawn(environment.runner.quit)


def _stream_teller(environment: Any) -> Callable[[int], None]:
    if environment in _followers:
        return _followers[environment].streams
    if environment in _conductors:
        return functools.partial(_conductors[environment].streams, "local")
    return lambda _count: None


def uses_streams(environment: Any) -> bool:
    """Whether any of the users is a GeoUser: the load is open loop then."""
    return any(getattr(cls, "is_stream", False) for cls in environment.user_classes)


def has_own_pace(environment: Any) -> bool:
    """Whether any of the users paces itself, as Locust's own do."""
    return not all(getattr(cls, "is_stream", False) for cls in environment.user_classes)


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    # Locust sets its --run-time by the event loop's idea of now, which is as old as its start:
    # seconds of imports ago.
    gevent.get_hub().loop.update_now()
    if isinstance(runner, WorkerRunner):
        if getattr(environment.parsed_options, "processes", None):
            die_with_parent(death_signal=signal.SIGTERM)
        follower = _followers[environment] = Follower(
            environment,
            lambda: _end_all(environment),
            functools.partial(_on_surge, environment),
        )
        _seats[environment] = Seats(runner)
        # Read now: the master's options replace the worker's own when a test starts.
        follower.by_message = bool(
            getattr(environment.parsed_options, "evidence_by_message", False)
        )
        return
    _start_at_once(environment)
    _end_shape_on_sigterm(environment)
    folder = evidence_folder(environment)
    conductor = _conductors[environment] = Conductor(environment, folder)
    if folder is not None:
        conductor.pass_on_surges(folder, functools.partial(_on_surge, environment))
    if isinstance(runner, MasterRunner):
        conductor.lead()
        Table(environment)
        if folder is not None:
            Receiver(runner, folder)
            _mark_shared(environment, folder)


def _start_at_once(environment: Any) -> None:
    """Streams are a rate, not people to be let in one a second (Locust's way without -r)."""
    options = environment.parsed_options
    if uses_streams(environment) and getattr(options, "spawn_rate", None) is None:
        options.spawn_rate = getattr(options, "num_users", None) or 1


def _end_shape_on_sigterm(environment: Any) -> None:
    """Locust listens for SIGTERM only when a headless shape is over: until then it would just die,
    without its last samples. Ending the shape is how it ends by itself.
    """
    runner, options = environment.runner, environment.parsed_options
    if environment.shape_class is None or not getattr(options, "headless", False):
        return

    def end() -> None:
        if runner.shape_greenlet is None:  # nothing has begun
            os._exit(128 + signal.SIGTERM)
        runner.shape_greenlet.kill(block=False)

    watcher = gevent.signal_handler(signal.SIGTERM, end)
    environment.events.quitting.add_listener(lambda **_: watcher.cancel())


def _mark_shared(environment: Any, folder: Path) -> None:
    """Leave a mark in the folder and tell workers its name: one that finds it there writes there
    itself.
    """
    mark = f".shared-{secrets.token_hex(8)}"
    (folder / mark).touch()
    setattr(environment.parsed_options, _SHARED, mark)

    def unmark(**_: Any) -> None:
        with contextlib.suppress(OSError):
            (folder / mark).unlink()

    environment.events.quit.add_listener(unmark)


def _await_init(environment: Any) -> None:
    """A test that runs already begins on a late worker while Locust still makes it: before it has a
    runner or was told to anybody.
    """
    deadline = time.monotonic() + _MADE_WITHIN_S
    while environment not in _followers and environment not in _conductors:
        if time.monotonic() > deadline:
            raise SettingsError("the test began before this process was made; start it again")
        gevent.sleep(0.01)


def _on_test_start(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        return
    _ending.discard(environment)
    try:
        _await_init(environment)
        names = []
        if uses_streams(environment):
            worker = _workers[environment] = _make_worker(environment)
            names.append(worker.name)
        if has_own_pace(environment):
            closed = _closed[environment] = _make_closed(environment)
            names.append(closed.name)
    except Exception as error:
        # A listener's exception would only be logged by Locust, and each user would then fail on
        # its own.
        logger.critical("the load cannot start", exc_info=not isinstance(error, SettingsError))
        print(f"stormgate: {error}", file=sys.stderr)
        os._exit(2)
    if environment in _followers:
        _followers[environment].hello(names)
    elif environment in _conductors:
        _on_surge(
            environment, _conductors[environment].surge
        )  # one may stand since before this test


def _on_surge(environment: Any, factors: Factors) -> None:
    worker = _workers.get(environment)
    # Users that pace themselves cannot be made to come more often.
    if worker is not None and factors != worker.surging:
        worker.surge(factors)


def _on_test_stopping(environment: Any, **_: Any) -> None:
    _ending.add(environment)
    worker = _workers.pop(environment, None)
    if worker is not None:
        worker.finish()
    closed = _closed.get(environment)
    if closed is not None:
        closed.settle()


def _on_test_stop(environment: Any, **_: Any) -> None:
    """Locust has ended its users: only now nothing more comes of those that pace themselves."""
    closed = _closed.pop(environment, None)
    if closed is not None:
        closed.finish()


def _end_all(environment: Any) -> None:
    """A worker's end on the master's word, before Locust's own: it ends its users itself."""
    _on_test_stopping(environment)
    if environment in _closed:
        runner = environment.runner
        runner.stop_users(runner.user_classes_count)
        _on_test_stop(environment)


def _on_quit(**_: Any) -> None:
    """A listener of the user's that raised may have kept the end of the test from us."""
    for environment in [*_workers, *_closed]:
        _on_test_stopping(environment)
        _on_test_stop(environment)


@functools.cache
def install() -> None:
    """Add Stormgate's listeners to Locust's global events, once."""
    warm_up()
    refusals.begin()
    events.init_command_line_parser.add_listener(_options)
    events.init.add_listener(_on_init)
    events.test_start.add_listener(_on_test_start)
    events.test_stopping.add_listener(_on_test_stopping)
    events.test_stop.add_listener(_on_test_stop)
    events.quit.add_listener(_on_quit)
