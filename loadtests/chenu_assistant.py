"""CHE·NU's users ask the assistant: most of it is small, a quarter needs a larger model, and one
call in twenty the largest. Nothing about pass or fail.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 3.0
# Of a hundred calls: 70 for small models, 25 for regional ones, 5 for the core.
TASKS = {"classify": 30, "encode": 20, "ask": 20, "summarise": 15, "plan": 10, "reason": 5}
Flow = Generator[Request, Reply, Any]


def right(reply: Reply) -> bool:
    """An error is no answer, whatever its status says."""
    return "error" not in reply.json()


class Asker(GeoUser):
    """Someone who asks, again and again."""

    rate_per_s = 1

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
            return
        (task,) = session.random.choices(list(TASKS), weights=list(TASKS.values()))
        # It writes nothing: a read, whatever the method.
        reply = yield post(
            "/assistant",
            name="assistant",
            json={"task": task},
            op="read",
            timeout_s=TIMEOUT_S,
            check=right,
        )
        if reply.status == 401:
            session.signed_in = False

    def login(self, session: Session) -> Flow:
        shard = session.population.labels.get("shard", "us")
        user = f"{shard}-{session.stream % USERS_PER_SHARD}"
        reply = yield post(
            "/login", name="log in", json={"user": user}, timeout_s=TIMEOUT_S, check=right
        )
        session.signed_in = reply.ok
        if reply.ok:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")
