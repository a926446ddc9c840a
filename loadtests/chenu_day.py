"""A Wednesday of CHE·NU in ten minutes: as many of chenu.py's users as its cities ask for, each
city by its own clock.

    locust -f loadtests/chenu.py,loadtests/chenu_day.py -H http://… --headless

The rate is a laptop's, the shape the world's: business from 9:00, personal use from 18:00, one
continent after the other. At 17:00 UTC a launch brings it to three times the mean, the peak that
CHE·NU must bear: no day of the world alone does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from locust import LoadTestShape

from stormgate.documents.mix import read_mix
from stormgate.geography.curves import added, flash_crowd, streams, world_rate

MIX = Path(__file__).parents[1] / "targets" / "chenu-mix.yaml"
START = datetime(2026, 3, 4, tzinfo=UTC)  # a Wednesday
SPEED = 144.0  # seconds of the day per second of the run
MEAN_RATE_PER_S = 100.0
SPAWN_RATE_PER_S = 100.0
# A day of the world is 1.3 times its mean at that hour; the launch is what three times lacks.
LAUNCH = flash_crowd(
    0, 1.7 * MEAN_RATE_PER_S, at_s=17 * 3600 / SPEED, rise_s=5, hold_s=15, half_life_s=15
)
RATE_PER_STREAM_PER_S = 1.0  # what a GeoUser sends when no plan says otherwise


class Wednesday(LoadTestShape):  # type: ignore[misc]
    """Follows the day and ends with it."""

    def __init__(self) -> None:
        super().__init__()
        traffic = read_mix(MIX)
        day = world_rate(
            traffic.mix.origins, traffic.day, MEAN_RATE_PER_S, start=START, speed=SPEED
        )
        self.rate_per_s = added(day, LAUNCH)

    def tick(self) -> tuple[int, float] | None:
        t_s = self.get_run_time()
        if t_s >= 86_400 / SPEED:
            return None
        users = streams(self.rate_per_s(t_s), RATE_PER_STREAM_PER_S)
        return users, SPAWN_RATE_PER_S
