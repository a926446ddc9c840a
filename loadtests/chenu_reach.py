"""CHE·NU's users all over the world at the points of presence near to them: their session, and
content that is kept there.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 2.0
FILES = 4
Flow = Generator[Request, Reply, Any]


class Neighbour(GeoUser):
    """Somebody near to an edge, it is hoped."""

    rate_per_s = 1

    def login(self, session: Session) -> Flow:
        shard = session.population.labels.get("shard", "us")
        body = {"user": f"{shard}-{session.stream % USERS_PER_SHARD}"}
        reply = yield post("/login", name="log in", json=body, timeout_s=TIMEOUT_S)
        session.signed_in = reply.ok
        if reply.ok:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
        elif session.random.random() < 0.6:
            yield get("/session", name="session", timeout_s=TIMEOUT_S)
        else:
            path = f"/static/{session.random.randrange(FILES)}"
            yield get(path, name="static", timeout_s=TIMEOUT_S)
