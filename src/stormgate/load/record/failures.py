"""What failed for the first time: what was wanted of the request, and where it was asked.

The samples say how often and when; this says, once per kind, what a row has no column for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from stormgate.load.engine.attempt import FlowTask
from stormgate.load.flow import Reply
from stormgate.model import Outcome

# A workload that names every request differently is not told request by request.
MOST_KINDS = 200
LONGEST_URL = 200

Tell = Callable[[dict[str, Any]], None]


class FirstFailures:
    """Tells of the first failed request of each route, outcome and status. `tell` is given the
    fields of a timeline row; None until somebody listens.
    """

    def __init__(self, tell: Tell | None = None) -> None:
        self.tell = tell
        self._seen: set[tuple[str, Outcome, int]] = set()

    def note(self, task: FlowTask, reply: Reply) -> None:
        """A request that ended with anything but `ok`, before what follows it is decided."""
        request = task.request
        key = (request.name, reply.outcome, reply.status)
        if key in self._seen or len(self._seen) >= MOST_KINDS or self.tell is None:
            return
        self._seen.add(key)
        origin = task.pool.origin
        # Without its query, which is where people put tokens.
        path = request.path.split("?", 1)[0]
        self.tell(
            {
                "route": request.name,
                "outcome": reply.outcome.value,
                "status": reply.status,
                "expected": expected(request.expect, checked=request.check is not None),
                "url": f"{origin.scheme}://{origin.netloc}{origin.prefix}{path}"[:LONGEST_URL],
            }
        )


def expected(statuses: Collection[int] | None, *, checked: bool = False) -> str:
    """The statuses that a request wants, in short: `200-399`, `200, 404`; and whether its body is
    checked.
    """
    if statuses is None:
        words = "200-399"
    else:
        parts: list[str] = []
        ordered = sorted(set(statuses))
        begin = 0
        for at in range(1, len(ordered) + 1):
            if at == len(ordered) or ordered[at] != ordered[at - 1] + 1:
                first, last = ordered[begin], ordered[at - 1]
                parts.append(f"{first}" if first == last else f"{first}-{last}")
                begin = at
        words = ", ".join(parts) or "no status"
    return f"{words} and a body that its check accepts" if checked else words
