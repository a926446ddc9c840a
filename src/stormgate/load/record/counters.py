"""What the engine counts about itself between two rows of generator truth."""

from __future__ import annotations


class TransportCounts:
    """What a transport counts, cumulative; and the send lags (ns) since they were last taken.

    sent: first attempts whose first byte was written.
    """

    __slots__ = ("lags", "new_connections", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.new_connections = 0
        self.lags: list[int] = []


class Counters:
    """Cumulative counts, and the lags (ns) since they were last taken.

    completed: requests that ended, whatever their outcome. sent (counted by the transport),
    unreached, not_sent: what the first attempt of each came to: its first byte was written; the
    target refused it, or let it wait in vain, before that; the generator could not send it.
    engine_errors: what escaped everything, the generator's own failure.
    """

    __slots__ = (
        "completed",
        "engine_errors",
        "flow_errors",
        "flow_errors_over_failures",
        "loop_lag_ns",
        "not_sent",
        "transport",
        "unreached",
    )

    def __init__(self) -> None:
        self.transport = TransportCounts()  # until there is a transport, which brings its own
        self.completed = 0
        self.unreached = 0
        self.not_sent = 0
        self.engine_errors = 0
        self.flow_errors = 0
        self.flow_errors_over_failures = 0
        self.loop_lag_ns = 0

    @property
    def sent(self) -> int:
        return self.transport.sent

    @property
    def new_connections(self) -> int:
        return self.transport.new_connections

    def totals(self, planned: int) -> dict[str, int]:
        """The cumulative counts a row of generator truth has the increase of.

        `planned`: requests whose intended start has come. Those that are neither sent, unreached
        nor not_sent still wait: for the target to take the connection, or for a free one.
        """
        return {
            "planned": planned,
            "sent": self.sent,
            "unreached": self.unreached,
            "completed": self.completed,
            "not_sent": self.not_sent,
            "new_connections": self.new_connections,
            "flow_errors": self.flow_errors,
            "flow_errors_over_failures": self.flow_errors_over_failures,
            "engine_errors": self.engine_errors,
        }

    def take_lags(self) -> tuple[list[int], int]:
        """Send lags and the longest loop lag since the last call."""
        lags, loop_lag = list(self.transport.lags), self.loop_lag_ns
        self.transport.lags.clear()  # the transport holds this list's append
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
