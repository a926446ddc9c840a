"""`python -m stormgate.chaos.run EXPERIMENT --fault NAME [--configuration JSON]`: one trial, always
undone.

Chaos Toolkit carries the experiment out, in this process's main thread, with its rollbacks always
played. Its exit code and status are never evidence: the exit code here only says whether the
experiment could be run at all and everything was undone (0), could not be run (4), was stopped (5),
or left something broken (6).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from chaoslib.control import load_global_controls
from chaoslib.exceptions import ChaosException
from chaoslib.experiment import ensure_experiment_is_valid, run_experiment
from chaoslib.loader import load_experiment
from chaoslib.settings import load_settings
from chaoslib.types import Strategy

from stormgate.chaos import control
from stormgate.chaos.held import hold, refused
from stormgate.chaos.session import SIGNALS, ChaosSession, write_journal
from stormgate.chaos.triggers import wait_for
from stormgate.chaos.validate import with_given
from stormgate.faults.context import Context, current
from stormgate.faults.errors import ChaosError, NotTriggered
from stormgate.judge.journal import OURS
from stormgate.model import Event, Verdict
from stormgate.net.references import know_secrets
from stormgate.system.processes import die_with_parent
from stormgate.system.secrets import know_environment
from stormgate.system.streams import lasting

logger = logging.getLogger("chaostoolkit")

_OURS = {"type": "python", "module": "stormgate.chaos.control"}


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    arguments = _arguments(argv)
    # Asked for here too: whoever started us may have asked the kernel for SIGKILL, and then nothing
    # would be undone.
    die_with_parent(death_signal=signal.SIGTERM)
    know_environment(os.environ)
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    os.environ["STORMGATE_FAULT"] = arguments.fault
    try:
        context = current()
    except (ChaosError, OSError) as error:
        print(f"stormgate.chaos.run: {error}", file=sys.stderr)
        return Verdict.ERROR.exit_code
    hold(context)
    configuration = arguments.configuration
    if configuration is None:
        configuration = _planned(arguments.fault)
    code = run(context, arguments.experiment, configuration)
    for each in SIGNALS:
        # The interpreter would set ours back to deadly ones while it winds up, and the exit code
        # would then say "killed".
        signal.signal(each, signal.SIG_IGN)
    return code


def run(context: Context, experiment_path: str, configuration: dict[str, Any]) -> int:
    """Run one experiment in this (main) thread. Returns the exit code; the journal is always
    written.
    """
    session = ChaosSession(context)
    session.take_signals()
    control.use(session)
    journal: dict[str, Any] = {}
    try:
        _await_trigger(session)
        journal = _run_chaoslib(session, experiment_path, configuration)
    except (ChaosException, ChaosError, OSError, ValueError) as error:
        journal = {
            **session.journal,
            "status": "aborted",
            "error": f"{type(error).__name__}: {error}",
        }
        logger.error(f"{experiment_path}: {error}")
    except SystemExit:
        journal = {**session.journal, "status": "interrupted"}
    finally:
        session.journal = journal or {**session.journal, "status": "aborted"}
        left = session.end()
        path = write_journal(context.folder, context.fault, session.journal)
    logger.info(f"journal: {path}")
    if left:
        logger.error(f"still broken: {', '.join(left)}; run `stormgate restore {context.folder}`")
        return Verdict.DIRTY.exit_code
    if session.journal[OURS]["stopped"]:
        return Verdict.ABORTED.exit_code
    failed = "error" in session.journal or refused()
    return Verdict.ERROR.exit_code if failed else 0


def _await_trigger(session: ChaosSession) -> None:
    """Wait for what the plan has this trial wait for, if anything. Raises NotTriggered, Stopped."""
    context = session.context
    planned = context.plan.faults if context.plan is not None else ()
    when = next((one.when for one in planned if one.name == context.fault), None)
    if when is None:
        return
    context.timeline.write(
        Event.CHAOS_WAITING, fault=context.fault, probe=when.func, within_s=when.within_s
    )
    probe = {"module": when.module, "func": when.func, "arguments": dict(when.arguments)}
    try:
        saw = wait_for(probe, when.tolerance, when.within_s, when.every_s, context.stopping)
    except NotTriggered as error:
        context.timeline.write(Event.CHAOS_UNTRIGGERED, fault=context.fault, why=str(error))
        raise
    context.timeline.write(Event.CHAOS_TRIGGERED, fault=context.fault, saw=repr(saw)[:200])


def _run_chaoslib(
    session: ChaosSession, experiment_path: str, configuration: dict[str, Any]
) -> dict[str, Any]:
    settings = _settings(session)
    load_global_controls(settings)
    experiment = load_experiment(experiment_path, settings)
    know_secrets(session.context.target, os.environ, experiment)
    _with_our_control(experiment)
    experiment = with_given(experiment, configuration)
    ensure_experiment_is_valid(experiment)
    for name in _ignored_timeouts(experiment):
        logger.warning(
            f"{name!r}: Chaos Toolkit ignores `timeout` on a python activity; use the action's "
            "own deadline"
        )
    journal: dict[str, Any] = run_experiment(
        experiment,
        settings=settings,
        experiment_vars=(dict(configuration), {}),
        strategy=Strategy.DEFAULT,
        event_handlers=[control.Handler(session)],
    )
    return journal


def _settings(session: ChaosSession) -> dict[str, Any]:
    """The user's own settings of Chaos Toolkit (~/.chaostoolkit/settings.yaml), as `chaos run`
    takes them: their controls see this run, too, and the journal names them. What a gate promises
    (both hypotheses, rollbacks always) wins over what they say of a strategy.
    """
    # The library reads the rollback strategy from the settings alone; `runtime` in an experiment is
    # for its CLI.
    written = load_settings(os.path.expanduser("~/.chaostoolkit/settings.yaml"))
    settings: dict[str, Any] = written if isinstance(written, dict) else {}
    listed = settings.get("controls")
    controls = {
        str(name): one
        for name, one in (listed if isinstance(listed, dict) else {}).items()
        if isinstance(one, dict) and not _is_our_control(one)
    }
    session.controls = tuple(controls)
    if controls:
        logger.info(f"controls of ~/.chaostoolkit/settings.yaml: {', '.join(controls)}")
    return {
        **settings,
        "runtime": {"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "default"}},
        "controls": controls,
    }


def _is_our_control(one: dict[str, Any]) -> bool:
    provider = one.get("provider")
    return isinstance(provider, dict) and provider.get("module") == _OURS["module"]


def _with_our_control(experiment: dict[str, Any]) -> None:
    """Ours belongs to every experiment here, once. It stands in the experiment, as under `chaos
    run`: a global one would make the library apply all others of the experiment once more.
    """
    written = experiment.get("controls") or []
    experiment["controls"] = [
        *(each for each in written if not _is_our_control(each)),
        {"name": "stormgate.chaos.control", "provider": _OURS},
    ]


def _ignored_timeouts(experiment: dict[str, Any]) -> list[str]:
    hypothesis = (experiment.get("steady-state-hypothesis") or {}).get("probes") or []
    activities = [
        *hypothesis,
        *(experiment.get("method") or []),
        *(experiment.get("rollbacks") or []),
    ]
    providers = [(activity.get("name"), activity.get("provider") or {}) for activity in activities]
    return [
        str(name)
        for name, provider in providers
        if provider.get("type") == "python" and "timeout" in provider
    ]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stormgate.chaos.run",
        description="Run one Chaos Toolkit experiment, always undone.",
    )
    parser.add_argument("experiment", help="the experiment's YAML or JSON file")
    parser.add_argument("--fault", required=True, help="what this trial is called in the evidence")
    parser.add_argument(
        "--configuration",
        type=_json_object,
        help="values for the experiment's configuration, as a JSON object (else the plan's)",
    )
    arguments = parser.parse_args(argv)
    if not Path(arguments.experiment).is_file():
        parser.error(f"{arguments.experiment}: no such file")
    return arguments


def _planned(fault: str) -> dict[str, Any]:
    """The configuration that the plan gives a fault; empty without a plan, or where it has none."""
    path = os.environ.get("STORMGATE_PLAN")
    faults = json.loads(Path(path).read_bytes()).get("faults") if path else None
    for one in faults or ():
        if one.get("name") == fault:
            return dict(one.get("configuration") or {})
    return {}


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


if __name__ == "__main__":
    sys.exit(main())
