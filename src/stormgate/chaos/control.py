"""The Chaos Toolkit control that makes an experiment safe under plain `chaos run`, too.

In an experiment: `controls: [{name: stormgate, provider: {type: python, module:
stormgate.chaos.control}}]`. It needs STORMGATE_PLAN or STORMGATE_TARGET (stormgate.faults.context);
without, the experiment stops before anything is touched and says how to get one. It notes begin and
rollback in the timeline, holds probes of the method against their tolerance (Chaos Toolkit does
not) and undoes whatever the rollbacks left, also when they were not played.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

from chaoslib import substitute
from chaoslib.exceptions import InterruptExecution
from chaoslib.hypothesis import within_tolerance
from chaoslib.run import RunEventHandler

from stormgate.chaos import requests
from stormgate.chaos.held import hold
from stormgate.chaos.session import ChaosSession, write_journal
from stormgate.faults.context import current
from stormgate.faults.errors import ChaosError
from stormgate.faults.hands.halt import standing
from stormgate.judge.rules.vacuous import vacuous
from stormgate.model import Event
from stormgate.net.guard import acting
from stormgate.net.references import know_secrets
from stormgate.system.secrets import know, looks_secret

logger = logging.getLogger("chaostoolkit")

_session: ChaosSession | None = None
_refusal: str | None = None
_ours_to_end = False


class Handler(RunEventHandler):  # type: ignore[misc]
    """Chaos Toolkit's events for one session."""

    def __init__(self, session: ChaosSession) -> None:
        self._session = session

    def started(self, experiment: dict[str, Any], journal: dict[str, Any]) -> None:
        self._session.begin(journal)

    def start_rollbacks(self, experiment: dict[str, Any]) -> None:
        self._session.unwound()


def use(session: ChaosSession) -> None:
    """Our runner has made the session already; the control then only helps it."""
    global _session  # noqa: PLW0603 - Chaos Toolkit controls are modules
    _session = session


def configure_control(event_registry: Any = None) -> None:
    """Under `chaos run`: make the session. What goes wrong is raised in
    `before_experiment_control`; here it is swallowed.
    """
    global _session, _refusal, _ours_to_end  # noqa: PLW0603
    if _session is not None:
        return
    try:
        _session, _ours_to_end = ChaosSession(current()), True
    except (ChaosError, OSError) as error:
        _refusal = str(error)
        return
    hold(_session.context)
    handler = Handler(_session)
    if event_registry is not None:
        event_registry.register(handler)


def before_experiment_control(
    context: dict[str, Any], configuration: Any = None, secrets: Any = None
) -> None:
    """Refuse to go on without a target: nothing has been touched yet. From here on the experiment's
    secrets are written nowhere.
    """
    if _session is None:
        raise InterruptExecution(_refusal or "the stormgate control was not configured")
    know_secrets(_session.context.target, os.environ, context)
    _know_values(secrets, every=True)
    _know_values(configuration, every=False)
    if _ours_to_end:
        # `chaos run` sent its `started` event before this control was known to it.
        _session.take_signals()
        _session.context.timeline.write(
            Event.CHAOS_BEGIN, fault=_session.context.fault, experiment=str(context.get("title"))
        )


def before_activity_control(context: dict[str, Any]) -> None:
    """Whatever this thread sends from here on is this activity's doing. Somebody else's action is
    not begun while an order to halt stands; ours are refused where they write their intent.
    """
    _refuse_if_halted(context)
    requests.begin(context)
    acting(str(context.get("name") or context.get("ref") or "without a name"))


def _refuse_if_halted(activity: dict[str, Any]) -> None:
    provider = activity.get("provider")
    module = str(provider.get("module", "")) if isinstance(provider, dict) else ""
    if activity.get("type") != "action" or module.startswith("stormgate."):
        return
    if _session is not None and not _session.is_rolling_back and (order := standing()) is not None:
        raise InterruptExecution(f"{activity.get('name')} was not begun: {order}")


def after_activity_control(
    context: dict[str, Any], state: Any, configuration: Any = None, secrets: Any = None
) -> None:
    """Hold a probe against its tolerance, wherever it is; in a method Chaos Toolkit would ignore
    it. An action of a driver that did nothing, and called it a success, has failed.
    """
    if isinstance(state, dict) and context.get("type") == "action":
        _fail_if_vacuous(context, state)
    if isinstance(state, dict) and state.get("status") == "failed":
        _tell(context, state)
    if (
        not isinstance(state, dict)
        or "tolerance" not in context
        or state.get("status") != "succeeded"
    ):
        return
    tolerance = context["tolerance"]
    with contextlib.suppress(
        Exception
    ):  # left out of the journal it counts as not held, and the trial as inconclusive
        if isinstance(tolerance, str):
            tolerance = substitute(tolerance, configuration, secrets)
        met = within_tolerance(
            tolerance, state.get("output"), configuration=configuration, secrets=secrets
        )
        state["tolerance_met"] = bool(met)


def _tell(activity: dict[str, Any], state: dict[str, Any]) -> None:
    """What failed is in the timeline at once, not only in a journal when all is over."""
    if _session is None:
        return
    said = state.get("exception")
    lines = said if isinstance(said, list) else [said]
    told = [text for line in lines if line and (text := str(line).strip())]
    why = told[-1].splitlines()[-1] if told else "it failed"
    _session.context.timeline.write(
        Event.CHAOS_FAILED,
        fault=_session.context.fault,
        activity=str(activity.get("name") or activity.get("ref") or "without a name"),
        why=why[:500],
    )


def _fail_if_vacuous(activity: dict[str, Any], state: dict[str, Any]) -> None:
    provider = activity.get("provider")
    if state.get("status") != "succeeded" or not isinstance(provider, dict):
        return
    module, func = str(provider.get("module")), str(provider.get("func"))
    nothing = requests.why_nothing(activity)
    if (why := vacuous(module, func, state.get("output")) or nothing) is not None:
        logger.error(f"{activity.get('name')}: {why}")
        state["status"] = "failed"
        state["exception"] = [why]


def _know_values(loaded: Any, *, every: bool) -> None:
    """The values that Chaos Toolkit has loaded, by name: `every` one, or those whose names say that
    they are secret.
    """
    for name, value in loaded.items() if isinstance(loaded, dict) else ():
        if isinstance(value, dict):
            _know_values(value, every=every)
        elif every or looks_secret(str(name)):
            know(str(name), value)


def before_rollback_control(context: dict[str, Any]) -> None:
    """The method is over."""
    if _session is not None:
        _session.rolling_back()


def after_experiment_control(context: dict[str, Any], state: Any) -> None:
    """Undo what is left, and write the journal into the run folder (under our runner that is the
    runner's part).
    """
    if _session is None or not _ours_to_end:
        return
    if isinstance(state, dict):
        _session.journal = state
    left = _session.end()
    _session.give_signals_back()
    write_journal(_session.context.folder, _session.context.fault, _session.journal)
    if left:
        logger.error(
            f"still broken: {', '.join(left)}; run `stormgate restore {_session.context.folder}`"
        )
    else:
        logger.info(f"evidence is in {_session.context.folder}")
