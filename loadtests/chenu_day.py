"""A Wednesday of CHE·NU in ten minutes: as many of chenu.py's users as its cities ask for, each
city by its own clock.

    locust -f loadtests/chenu.py,loadtests/chenu_day.py -H http://… --headless

The rate is a laptop's, the shape the world's: business from 9:00, personal use from 18:00, one
continent after the other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from locust import LoadTestShape

from stormgate.documents.mix import read_mix
from stormgate.geography.curves import streams, world_rate

MIX = Path(__file__).parents[1] / "targets" / "chenu-mix.yaml"
START = datetime(2026, 3, 4, tzinfo=UTC)  # a Wednesday
SPEED = 144.0  # seconds of the day per second of the run
MEAN_RATE_PER_S = 100.0
SPAWN_RATE_PER_S = 100.0
RATE_PER_STREAM_PER_S = 1.0  # what a GeoUser sends when no plan says otherwise


class Wednesday(LoadTestShape):  # type: ignore[misc]
    """Follows the day and ends with it."""

    def __init__(self) -> None:
        super().__init__()
        traffic = read_mix(MIX)
        self.rate_per_s = world_rate(
            traffic.mix.origins, traffic.day, MEAN_RATE_PER_S, start=START, speed=SPEED
        )

    def tick(self) -> tuple[int, float] | None:
        t_s = self.get_run_time()
        if t_s >= 86_400 / SPEED:
            return None
        users = streams(self.rate_per_s(t_s), RATE_PER_STREAM_PER_S)
        return users, SPAWN_RATE_PER_S
