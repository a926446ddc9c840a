"""The day of a launch: the usual users, then three times as many for a while, then the usual again.

All that they ask for is their own: a service has to answer it, no edge does.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from locust import LoadTestShape

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 2.0
SPHERES = ("personal", "business", "creative")
USUAL = 60
FACTOR = 3
# Seconds from the first request, as targets/lab-scale.yaml has announced it.
LAUNCH_S, CALM_S = 20, 38
LONGEST_S = 600
RETURNING = 0.03
Flow = Generator[Request, Reply, Any]


class Launch(LoadTestShape):  # type: ignore[misc]
    """One user is one request a second."""

    def tick(self) -> tuple[int, float] | None:
        t_s = self.get_run_time()
        if t_s >= LONGEST_S:
            return None
        many = LAUNCH_S <= t_s < CALM_S
        return (USUAL * FACTOR if many else USUAL), USUAL * FACTOR


class Visitor(GeoUser):
    """Lists their threads, sphere by sphere."""

    rate_per_s = 1

    def login(self, session: Session) -> Flow:
        shard = session.population.labels.get("shard", "us")
        body = {"user": f"{shard}-{session.stream % USERS_PER_SHARD}"}
        reply = yield post("/login", name="log in", json=body, timeout_s=TIMEOUT_S)
        session.signed_in = reply.ok
        if reply.ok:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")

    def flow(self, session: Session) -> Flow:
        # Some come again, so that in each phase somebody logs in.
        if not session.signed_in or session.random.random() < RETURNING:
            yield from self.login(session)
            return
        sphere = session.random.choice(SPHERES)
        yield get(f"/threads?sphere={sphere}", name="list threads", timeout_s=TIMEOUT_S)
