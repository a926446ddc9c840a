"""Stormgate's place in a Locust process: options, a worker per test, and what the timeline says of the load."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust import events
from locust.runners import MasterRunner, WorkerRunner

from stormgate.load.master import Conductor, Follower
from stormgate.load.settings import Settings, SettingsError, settings_from_host, settings_from_plan
from stormgate.load.sink import FolderSink, NoSink, Sink, free_worker_name
from stormgate.load.warm import warm_up
from stormgate.load.worker import Worker
from stormgate.processes import die_with_parent

logger = logging.getLogger(__name__)

EVIDENCE = "STORMGATE_EVIDENCE"
PLAN = "STORMGATE_PLAN"
_conductors: weakref.WeakKeyDictionary[Any, Conductor] = weakref.WeakKeyDictionary()
_followers: weakref.WeakKeyDictionary[Any, Follower] = weakref.WeakKeyDictionary()
_workers: weakref.WeakKeyDictionary[Any, Worker] = weakref.WeakKeyDictionary()


def _options(parser: Any, **_: Any) -> None:
    group = parser.add_argument_group("Stormgate", "Open-loop load with evidence (GeoUser)")
    group.add_argument("--evidence", env_var=EVIDENCE, metavar="DIR", help="Run folder for samples, timeline and generator truth")
    group.add_argument(
        "--seed", type=int, default=0, env_var="STORMGATE_SEED", help="Seed of arrivals and data (a plan has its own)"
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
    host = environment.host or next((cls.host for cls in environment.user_classes if cls.host), None)
    return settings_from_host(host, getattr(environment.parsed_options, "seed", 0) or 0)


def worker_of(environment: Any) -> Worker:
    """The worker of a running test; made on first use."""
    worker = _workers.get(environment)
    if worker is None:
        worker = _workers[environment] = _make_worker(environment)
    return worker


def _make_worker(environment: Any) -> Worker:
    runner = environment.runner
    index = max(0, getattr(runner, "worker_index", 0))
    settings = settings_of(environment)
    options = environment.parsed_options
    count = settings.workers or getattr(options, "processes", None) or getattr(options, "expect_workers", None) or 1
    if not isinstance(runner, WorkerRunner):
        index, count = 0, 1
    folder = evidence_folder(environment)
    name = f"worker-{index}"
    sink: Sink = NoSink()
    if folder is not None:
        name = free_worker_name(folder, name)
        sink = FolderSink(folder, name)
    return Worker(settings, sink, environment.stats, name=name, index=index, count=count, on_streams=_stream_teller(environment))


def _stream_teller(environment: Any) -> Callable[[int], None]:
    if environment in _followers:
        return _followers[environment].streams
    if environment in _conductors:
        return functools.partial(_conductors[environment].streams, "local")
    return lambda _count: None


def _uses_streams(environment: Any) -> bool:
    return any(getattr(cls, "is_stream", False) for cls in environment.user_classes)


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    if isinstance(runner, WorkerRunner):
        if getattr(environment.parsed_options, "processes", None):
            die_with_parent(death_signal=signal.SIGTERM)
        _followers[environment] = Follower(environment, lambda: _on_test_stopping(environment))
    else:
        conductor = _conductors[environment] = Conductor(environment, evidence_folder(environment))
        if isinstance(runner, MasterRunner):
            conductor.lead()


def _on_test_start(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner) or not _uses_streams(environment):
        return
    try:
        worker = worker_of(environment)
    except Exception as error:
        # A listener's exception would only be logged by Locust, and each user would then fail on its own.
        logger.critical("the load cannot start", exc_info=not isinstance(error, SettingsError))
        print(f"stormgate: {error}", file=sys.stderr)
        os._exit(2)
    if environment in _followers:
        _followers[environment].hello(worker.name)


def _on_test_stopping(environment: Any, **_: Any) -> None:
    worker = _workers.pop(environment, None)
    if worker is not None:
        worker.finish()


def install() -> None:
    """Add Stormgate's listeners to Locust's global events; called once, on import of `stormgate.load`."""
    warm_up()
    events.init_command_line_parser.add_listener(_options)
    events.init.add_listener(_on_init)
    events.test_start.add_listener(_on_test_start)
    events.test_stopping.add_listener(_on_test_stopping)
