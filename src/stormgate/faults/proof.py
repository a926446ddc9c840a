"""Proof of effect: what must be seen before a fault counts, decided purely; and waiting for it,
with a deadline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from stormgate.faults.backends import Observation
from stormgate.net.look import Sight, State

# A slowed link must show at least this share of the delay that was asked for; the rest is jitter of
# both measurements.
SLOW_SHARE = 0.8
NARROW_SHARE = 0.6
# How long nothing must come before a component counts as silent, beyond three of its usual round
# trips.
SILENCE_S = 0.4
# A narrow link is told from a wide one only if its delay stands out from scheduling noise.
NARROW_MIN_MS = 20.0


def silence_s(before_latency_ms: float) -> float:
    """How long to wait for an answer before calling it silence, given the round trip before the
    fault.
    """
    return SILENCE_S + 3 * before_latency_ms / 1000


def shows(
    mode: str, params: Mapping[str, Any], before_latency_ms: float, now: Sight
) -> Observation:
    """Whether one look shows what `mode` must do to a component that answered in
    `before_latency_ms` before.

    crash, stop, refuse: nobody listens; freeze, blackhole: listens or not, but says nothing; slow
    and bandwidth: the answer takes longer by most of what was asked for (`latency_ms`;
    `padding_bytes` at `rate_kb_per_s`); silence is slower still.
    """
    if mode in {"crash", "stop", "refuse"}:
        seen = now.state is State.REFUSED
    elif mode in {"freeze", "blackhole"}:
        seen = now.state is State.SILENT
    elif mode in {"slow", "bandwidth"}:
        added_ms = added_latency_ms(mode, params)
        late = now.latency_ms >= before_latency_ms + added_ms
        seen = late and now.state in {State.ANSWERS, State.SILENT}
        return Observation(
            seen,
            f"{now}; {before_latency_ms:.0f} ms before, at least {added_ms:.0f} ms more expected",
        )
    elif mode == "lossy":
        seen = now.state in {State.RESET, State.REFUSED, State.SILENT}
    else:
        raise ValueError(f"nobody knows what {mode!r} looks like")
    return Observation(seen, str(now))


def added_latency_ms(mode: str, params: Mapping[str, Any]) -> float:
    """The least added latency that proves a slow or narrow link."""
    if mode == "slow":
        return SLOW_SHARE * max(
            0.0, float(params["latency_ms"]) - float(params.get("jitter_ms", 0))
        )
    return NARROW_SHARE * float(params["padding_bytes"]) / float(params["rate_kb_per_s"])


def wait_for(
    look: Callable[[], Observation],
    deadline_s: float,
    *,
    stop: threading.Event | None = None,
    pause_s: float = 0.02,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Observation, int]:
    """Look again and again until it is seen, `deadline_s` is over or `stop` is set; the last look
    and when it ended (ns).

    Looks at least once.
    """
    end = clock() + deadline_s
    waiter = stop or threading.Event()
    while True:
        last = look()
        at_ns = time.monotonic_ns()
        if last.seen or clock() >= end or waiter.wait(pause_s):
            return last, at_ns
