"""A morning of CHE·NU: people are there already, and at nine they all open the business content."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 2.0
# Seconds from the first request, as targets/lab-warm.yaml has it.
NINE_S = 15.0
EARLY, BUSINESS = range(4), range(4, 64)
RETURNING = 0.03
Flow = Generator[Request, Reply, Any]
_begun_s: list[float] = []


def since_s() -> float:
    """How long the day has lasted, s."""
    if not _begun_s:
        _begun_s.append(time.monotonic())
    return time.monotonic() - _begun_s[0]


class EarlyBird(GeoUser):
    """Reads what everybody reads, from nine on half of it business."""

    rate_per_s = 1

    def login(self, session: Session) -> Flow:
        shard = session.population.labels.get("shard", "us")
        body = {"user": f"{shard}-{session.stream % USERS_PER_SHARD}"}
        reply = yield post("/login", name="log in", json=body, timeout_s=TIMEOUT_S)
        session.signed_in = reply.ok
        if reply.ok:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")

    def flow(self, session: Session) -> Flow:
        at_work = since_s() >= NINE_S and session.random.random() < 0.5
        if not session.signed_in or session.random.random() < RETURNING:
            yield from self.login(session)
        elif at_work:
            path = f"/static/{session.random.choice(BUSINESS)}"
            yield get(path, name="business", timeout_s=TIMEOUT_S)
        else:
            path = f"/static/{session.random.choice(EARLY)}"
            yield get(path, name="static", timeout_s=TIMEOUT_S)
