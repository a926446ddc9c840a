"""Waiting for something to happen, as a probe sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from chaoslib.exceptions import ActivityFailed
from chaoslib.hypothesis import within_tolerance
from chaoslib.provider.python import run_python_activity

from stormgate.faults.asked import PROBES
from stormgate.faults.errors import NotTriggered, Stopped


def wait_for(
    probe: Mapping[str, Any],
    tolerance: Any,
    within_s: float,
    every_s: float,
    stopping: threading.Event,
) -> Any:
    """What the probe said when it was first within its tolerance. A probe that fails, or measures
    nothing (None), has not said so. Raises NotTriggered after `within_s`, Stopped when the run is.
    """
    provider = {"type": "python", "module": PROBES, "arguments": {}, **probe}
    activity = {"type": "probe", "name": str(provider.get("func")), "provider": provider}
    deadline = time.monotonic() + within_s
    last = "it was never asked"
    while True:
        try:
            value = run_python_activity(activity, {}, {})
        except ActivityFailed as error:
            last = f"it failed: {error}"
        else:
            if value is not None and within_tolerance(tolerance, value, {}, {}):
                return value
            last = f"it said {value!r}"
        if time.monotonic() >= deadline:
            raise NotTriggered(
                f"{activity['name']} was not {tolerance!r} within {within_s:g} s: {last}"
            )
        if stopping.wait(min(every_s, max(0.0, deadline - time.monotonic()))):
            raise Stopped(f"stopped while waiting for {activity['name']}")
