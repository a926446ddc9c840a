"""What a target says of itself at its `status_url`: whether it is whole, and each component's live
role.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stormgate.model import Target
from stormgate.net.allow import AllowList
from stormgate.net.fetch import fetch
from stormgate.net.references import resolved

_TIMEOUT_S = 2.0
PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Status:
    """`reached` is False when nobody answered; then nothing else is known. `states` and `roles` are
    by component name.
    """

    reached: bool
    whole: bool
    why: str
    states: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str | None] = field(default_factory=dict)


def read_status(target: Target, timeout_s: float = _TIMEOUT_S) -> Status:
    """The target's status now. Never raises: what cannot be read is a status that is not whole, and
    says why.
    """
    if target.status_url is None:
        return Status(False, False, f"target {target.name!r} has no status_url")
    try:
        url = resolved(target.status_url, os.environ)
        data = json.loads(fetch(url, AllowList(target.allow), timeout_s))
        components = data.get("components") or {}
        return Status(
            reached=True,
            whole=data["whole"] is True,
            why=str(data.get("why") or ""),
            states={name: str(entry.get("state")) for name, entry in components.items()},
            roles={name: entry.get("role") for name, entry in components.items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Status(False, False, f"{target.status_url}: {error or type(error).__name__}")


def wait_whole(
    target: Target, deadline_s: float, *, pause: Callable[[Status], bool] | None = None
) -> Status:
    """Wait until the target says it is whole; the last status when it did not within `deadline_s`
    seconds. `pause(status)` is called between two looks, must take a moment, and ends the waiting
    by True.
    """
    end = time.monotonic() + deadline_s
    while True:
        status = read_status(target)
        if status.whole or time.monotonic() >= end or (pause or _a_moment)(status):
            return status


def why_not_whole(target: Target, deadline_s: float, tick: Callable[[], object]) -> str | None:
    """Wait until the target is whole, ticking meanwhile. None when it says so, or has no status
    document; else why it still is not at the deadline.
    """
    if target.status_url is None:
        return None

    def pause(_: Status) -> bool:
        tick()
        return False

    status = wait_whole(target, deadline_s, pause=pause)
    return None if status.whole else status.why or "it does not say why"


def _a_moment(_: Status) -> bool:
    time.sleep(PAUSE_S)
    return False
