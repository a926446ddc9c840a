"""What the engine counts about itself between two rows of generator truth."""

from __future__ import annotations


class Counters:
    """Cumulative counts, and the lags (ns) since they were last taken.

    completed: requests that ended, whatever their outcome. not_sent: those of them the engine never
    could begin.
    """

    __slots__ = (
        "completed",
        "flow_errors",
        "flow_errors_over_failures",
        "lags",
        "loop_lag_ns",
        "new_connections",
        "not_sent",
    )

    def __init__(self) -> None:
        self.completed = 0
        self.not_sent = 0
        self.flow_errors = 0
        self.flow_errors_over_failures = 0
        self.new_connections = 0
        self.loop_lag_ns = 0
        self.lags: list[int] = []

    def totals(self, planned: int, waiting: int = 0) -> dict[str, int]:
        """The cumulative counts a row of generator truth has the increase of.

        `planned`: requests whose intended start has come; `waiting`: those of them the engine has
        not acted on yet. A request is sent when the engine acts, not when it ends: those held up by
        a silent target are no shortfall of ours.
        """
        return {
            "planned": planned,
            "sent": planned - self.not_sent - waiting,
            "completed": self.completed,
            "not_sent": self.not_sent,
            "new_connections": self.new_connections,
            "flow_errors": self.flow_errors,
            "flow_errors_over_failures": self.flow_errors_over_failures,
        }

    def take_lags(self) -> tuple[list[int], int]:
        """Send lags and the longest loop lag since the last call."""
        lags, loop_lag = list(self.lags), self.loop_lag_ns
        self.lags.clear()  # the engine holds this list's append
        self.loop_lag_ns = 0
        return lags, loop_lag


class ClosedCounters:
    """What is known of the requests of users that pace themselves, cumulative.

    reported: told by Locust's `request` event; given_up: raised by the client, or under way for
    longer than the grace when its user was ended; unreported: asked, and never told how it went;
    cut: under way when its user was ended; not_sent: those with a row that never left. locust_*:
    what Locust itself counted meanwhile.
    """

    def __init__(self) -> None:
        self.reported = 0
        self.given_up = 0
        self.unreported = 0
        self.cut = 0
        self.not_sent = 0
        self.flow_errors = 0
        self.flow_errors_over_failures = 0
        self.locust_requests = 0
        self.locust_failures = 0

    @property
    def recorded(self) -> int:
        """Requests that have a row."""
        return self.reported + self.given_up

    def totals(self) -> dict[str, int]:
        """The cumulative counts a row of generator truth has the increase of. What was never told
        was sent, and has no row: the judge sees the difference.
        """
        planned = self.recorded + self.unreported
        return {
            "planned": planned,
            "sent": planned - self.not_sent,
            "completed": self.recorded,
            "new_connections": 0,
            **vars(self),
        }
