"""Puts an engine together: the one place where its parts are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stormgate.load.engine.alarm import HubAlarm
from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.attempts import Attempts
from stormgate.load.engine.clock import TurnClock, clock
from stormgate.load.engine.core import native, why_not
from stormgate.load.engine.core.odd import OddTransport
from stormgate.load.engine.core.transport import CoreTransport
from stormgate.load.engine.engine import Engine
from stormgate.load.engine.flows import Flows
from stormgate.load.engine.redirect import Elsewhere, nowhere_else
from stormgate.load.engine.sandbox import OnFlowError, Sandbox
from stormgate.load.engine.transport.labels import connection_classes, value_codes
from stormgate.load.engine.transport.seam import LoadTransport
from stormgate.load.engine.transport.sockets import SocketTransport
from stormgate.load.record.counters import Counters
from stormgate.load.record.failures import FirstFailures
from stormgate.load.record.reasons import Reasons
from stormgate.load.record.recorder import Recorder
from stormgate.system.engine import CORE, PYTHON, EngineError

ElsewhereFor = Callable[[LoadTransport[FlowTask], Reasons], Elsewhere]


def _transport(
    engine: str,
    recorder: Recorder,
    reasons: Reasons,
    sandbox: Sandbox,
    *,
    max_connections: int,
    observe: Mapping[str, str],
) -> LoadTransport[FlowTask]:
    kind = OddTransport if engine == CORE else SocketTransport
    sockets: SocketTransport[FlowTask] = kind(
        TurnClock(clock),
        reasons,
        sandbox.slipped,
        max_connections=max_connections,
        classes=connection_classes(observe, recorder.observed, recorder.label_code),
        observed=len(recorder.observed),
    )
    if not isinstance(sockets, OddTransport):
        return sockets
    if native is None:
        raise EngineError(f"the compiled core cannot be loaded: {why_not}")
    wanted, code_of = value_codes(observe, recorder.observed, recorder.label_code)
    return CoreTransport(native, sockets, reasons, sandbox.slipped, wanted=wanted, code_of=code_of)


def open_loop(  # noqa: PLR0913 - what a worker is given once
    recorder: Recorder,
    *,
    hub: Any,
    reasons: Reasons | None = None,
    failures: FirstFailures | None = None,
    elsewhere: ElsewhereFor | None = None,
    max_connections: int = 10_000,
    max_late_ns: int = 1_000_000_000,
    observe: Mapping[str, str] | None = None,
    engine: str = PYTHON,
    on_flow_error: OnFlowError | None = None,
    on_engine_error: Callable[[str], None] | None = None,
) -> Engine:
    """An engine over sockets, run by gevent's `hub`.

    `on_flow_error` is called with a flow's name and traceback the first time that flow raises at
    that place, `on_engine_error` with the traceback of what escaped everything: the engine's own
    failure, which it outlives. `elsewhere` makes what finds origins that are no edge. `engine`:
    "core" or "python", whose transport it is; raises EngineError where it cannot be had.
    """
    counters, reasons = Counters(), reasons or Reasons()
    sandbox = Sandbox(counters, on_flow_error, on_engine_error)
    transport = _transport(
        engine, recorder, reasons, sandbox, max_connections=max_connections, observe=observe or {}
    )
    counters.transport = transport.counts
    attempts = Attempts(
        transport,
        recorder,
        counters,
        sandbox,
        reasons=reasons,
        failures=failures or FirstFailures(),
        elsewhere=elsewhere(transport, reasons) if elsewhere else nowhere_else,
    )
    return Engine(
        Flows(sandbox, prepare=attempts.prepare, submit=attempts.submit),
        attempts,
        transport,
        HubAlarm(hub, transport.fileno()),
        sandbox,
        clock=clock,
        max_connections=max_connections,
        max_late_ns=max_late_ns,
    )
