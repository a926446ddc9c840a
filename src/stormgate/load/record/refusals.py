"""Locust processes under a plan send nothing outside its target's `allow`, whoever's client it is,
and write no secret of it; what was refused goes into the evidence.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

from stormgate.evidence.write import TIMELINE, Timeline
from stormgate.load.record.sink import Sink
from stormgate.model import Event, Plan, from_json
from stormgate.net.allow import AllowList
from stormgate.net.guard import Refusal, SocketGuard, install
from stormgate.net.references import know_secrets
from stormgate.system.secrets import know_environment
from stormgate.system.streams import lasting

logger = logging.getLogger(__name__)

# Told in another thread, or before there is a run folder to tell it to.
_waiting: deque[dict[str, Any]] = deque(maxlen=10_000)
_guard: SocketGuard | None = None


def begin() -> None:
    """Hold this process to the target of the plan that STORMGATE_PLAN names, from before any of the
    users' code is read; without a plan there is no target, and nothing is held. Exits with 2 when
    there is a plan that cannot be read.
    """
    global _guard  # noqa: PLW0603 - one per process, as the plan
    know_environment(os.environ)
    path = os.environ.get("STORMGATE_PLAN")
    if not path:
        return
    try:
        plan = from_json(Plan, json.loads(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        print(f"stormgate: {path}: not a plan ({str(error).splitlines()[0]})", file=sys.stderr)
        sys.exit(2)
    know_secrets(plan.target, os.environ, plan=plan)
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    _guard = SocketGuard(AllowList(plan.target.allow), _tell)
    install(_guard)


def hand_over(sink: Sink, at_ns: int, *, final: bool = False) -> None:
    """What could not be written straight into a run folder; with `final`, the last counts too."""
    if final and _guard is not None:
        _guard.flush()
        _guard.forget()
    while _waiting:
        sink.event(Event.NET_REFUSED.value, {"at_ns": at_ns, **_waiting.popleft()})


def _tell(refusal: Refusal) -> None:
    row: dict[str, Any] = {
        "by": "load",
        "who": refusal.who,
        "where": refusal.where,
        "count": refusal.count,
        "pid": os.getpid(),
    }
    logger.error("refused: %s, asked for by %s", refusal.where, refusal.who)
    folder = os.environ.get("STORMGATE_EVIDENCE")
    if folder and (Path(folder) / TIMELINE).exists():
        with Timeline(Path(folder)) as timeline:
            timeline.write(Event.NET_REFUSED, **row)
    else:
        _waiting.append(row)
