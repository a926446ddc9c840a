"""Chaos Toolkit's process sends nothing outside the target's `allow`, whichever provider, probe or
action asks for it; what was refused goes into the timeline.
"""

from __future__ import annotations

import logging

from stormgate.faults.context import Context
from stormgate.model import Event
from stormgate.net.allow import AllowList
from stormgate.net.guard import Refusal, SocketGuard, install

logger = logging.getLogger("chaostoolkit")

_guard: SocketGuard | None = None


def hold(context: Context) -> None:
    """From here on this process is held to the context's target."""
    global _guard  # noqa: PLW0603 - one per process, as Chaos Toolkit's own state

    def tell(refusal: Refusal) -> None:
        logger.error(f"refused: {refusal.where}, asked for by {refusal.who}")
        context.timeline.write(
            Event.NET_REFUSED,
            by="chaos",
            fault=context.fault,
            who=refusal.who,
            where=refusal.where,
            count=refusal.count,
        )

    _guard = SocketGuard(AllowList(context.target.allow), tell)
    install(_guard)


def refused() -> bool:
    """Whether anything was."""
    return _guard is not None and bool(_guard.refused())
