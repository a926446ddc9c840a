"""CHE·NU's load in steps, each as long and as much higher as the one before: where does it end?"""

from __future__ import annotations

from loadtests.chenu_launch import Visitor
from locust import LoadTestShape

__all__ = ["Steps", "Visitor"]
STEP_S = 6
STEP_PER_S = 30
LEAST_PER_S, MOST_PER_S = 60, 240
# The first step begins with the phase that is judged, when the warmup is over.
WARMUP_S = 4
LONGEST_S = 600


class Steps(LoadTestShape):  # type: ignore[misc]
    """One user is one request a second."""

    def tick(self) -> tuple[int, float] | None:
        t_s = self.get_run_time()
        if t_s >= LONGEST_S:
            return None
        step = max(0, int(t_s - WARMUP_S) // STEP_S)
        return min(LEAST_PER_S + step * STEP_PER_S, MOST_PER_S), MOST_PER_S
