"""What the engine counts about itself between two rows of generator truth."""

from __future__ import annotations


class Counters:
    """Cumulative counts, and the lags (ns) since they were last taken.

    planned: requests whose intended start has come. sent: those the engine acted on in time to matter (also when the connection
    was then refused). not_sent: those it never could. completed: requests that ended, whatever their outcome.
    """

    __slots__ = ("completed", "flow_errors", "flows", "lags", "loop_lag_ns", "new_connections", "not_sent", "planned", "sent")

    def __init__(self) -> None:
        self.planned = 0
        self.sent = 0
        self.completed = 0
        self.not_sent = 0
        self.flows = 0
        self.flow_errors = 0
        self.new_connections = 0
        self.loop_lag_ns = 0
        self.lags: list[int] = []

    def totals(self) -> dict[str, int]:
        """The cumulative counts a row of generator truth has the increase of."""
        return {
            "planned": self.planned,
            "sent": self.sent,
            "completed": self.completed,
            "not_sent": self.not_sent,
            "new_connections": self.new_connections,
            "flow_errors": self.flow_errors,
        }

    def take_lags(self) -> tuple[list[int], int]:
        """Send lags and the longest loop lag since the last call."""
        lags, loop_lag = list(self.lags), self.loop_lag_ns
        self.lags.clear()  # the engine holds this list's append
        self.loop_lag_ns = 0
        return lags, loop_lag
