"""Is the target whole again? Asked of the target's own status document, when it has one."""

from __future__ import annotations

import time
from collections.abc import Callable

from stormgate.model import Target


def why_not_whole(target: Target) -> str | None:
    """None when the target says it is whole, or has no status document; else why it is not."""
    from stormgate.net.status import read_status

    if target.status_url is None:
        return None
    status = read_status(target)
    return None if status.whole else status.why or "it does not say why"


def wait_whole(target: Target, deadline_s: float, *, tick: Callable[[], object]) -> str | None:
    """Wait until the target is whole, ticking meanwhile. None, or why it still was not at the
    deadline.
    """
    deadline = time.monotonic() + deadline_s
    while (why := why_not_whole(target)) is not None and time.monotonic() < deadline:
        tick()
    return why
