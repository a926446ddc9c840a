"""Whether a target that the run neither starts nor ends is there still. When a lab is gone nothing
of the run's faults is left; a target of somebody's own is gone when nothing of it says anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from stormgate.faults import backends
from stormgate.faults.provisioned import is_gone, ours
from stormgate.model import Target
from stormgate.net.status import read_status
from stormgate.supervise.children import RunningTarget

LOOK_EVERY_S = 1.0
ASK_S = 0.5
# So long nobody was served, and nothing of ours stands that could be why.
DESERTED_S = 15.0
GONE = "the lab is gone: it was taken down, or it died"


def standing_lab(target: Target) -> tuple[Target, RunningTarget | None]:
    """A target that stands, as what is held and shared with others; and, of a lab, how to tell that
    it is gone.
    """
    shared = replace(target, provision=None)
    if not ours(target):
        return shared, None
    return shared, RunningTarget(target, why_dead=_Look(target).why_dead, stop=lambda: None)


class _Look:
    """Asked at every beat, it looks now and then."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._processes = [one for one in target.components if one.backend == "process"]
        self._next = 0.0
        self._found: str | None = None

    def why_dead(self) -> str | None:
        now = time.monotonic()
        if self._found is None and now >= self._next:
            self._next = now + LOOK_EVERY_S
            # A look at its processes costs nothing; asking the lab itself takes its time.
            dead = not self._processes or backends.get("process").are_gone(self._processes)
            self._found = GONE if dead and is_gone(self._target) else None
        return self._found


class Deserted:
    """Notices a target that is there no more: for DESERTED_S nobody has had a good answer, no fault
    of ours stands, and what should say how the target is does not answer either. Without such a
    place nobody can tell a dead target from one that fails, and the run goes on.
    """

    def __init__(self, target: Target, stands: Callable[[], bool]) -> None:
        self._target = target
        self._stands = stands
        self._good = -1
        self._since = self._next = 0.0

    def why(self, good: int, now: float) -> str | None:
        """Why it is gone, or None; `good` answers so far, `now` in seconds of any clock."""
        if good != self._good or self._target.status_url is None:
            self._good, self._since = good, now
        if now - self._since < DESERTED_S or now < self._next:
            return None
        self._next = now + LOOK_EVERY_S
        if self._stands():
            self._since = now
            return None
        status = read_status(self._target, ASK_S)
        if status.reached:
            self._since = now
            return None
        return f"the target is gone: nobody was served for {DESERTED_S:g} s, and {status.why}"
