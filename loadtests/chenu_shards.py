"""Users of CHE·NU's ring of shards: each writes and reads keys of their own, while it splits."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 2.0
KEYS_EACH = 3
Flow = Generator[Request, Reply, Any]


def is_value(value: str, reply: Reply) -> bool:
    """What was acknowledged last, by the only one who writes it."""
    return bool(reply.json()["value"] == value)


class Owner(GeoUser):
    """Has some keys, and no two have the same."""

    rate_per_s = 1

    def login(self, session: Session) -> Flow:
        shard = session.population.labels.get("shard", "us")
        session.keys, session.written = {}, 0
        body = {"user": f"{shard}-{session.stream % USERS_PER_SHARD}"}
        reply = yield post("/login", name="log in", json=body, timeout_s=TIMEOUT_S)
        session.signed_in = reply.ok
        if reply.ok:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
            return
        key = f"{session.population.name}-{session.stream}-{session.random.randrange(KEYS_EACH)}"
        known = session.keys.get(key)
        if known is not None and session.random.random() < 0.6:
            check = partial(is_value, known)
            yield Request("GET", f"/ring/{key}", name="read key", timeout_s=TIMEOUT_S, check=check)
            return
        session.written += 1
        value = str(session.written)
        # Until it is acknowledged nobody knows which of two values is there.
        session.keys.pop(key, None)
        body = {"value": value}
        reply = yield post(f"/ring/{key}", name="write key", json=body, timeout_s=TIMEOUT_S)
        if reply.ok:
            session.keys[key] = value
