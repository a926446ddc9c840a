"""Readers of what CHE·NU keeps at its edges for everybody: static content for a year, digests for
minutes (both 150 times shorter in the lab).
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 2.0
FILES = 16
SPHERES = ("personal", "business", "creative")
# What the way back, and a busy machine, may add to the age of an answer.
SLACK_S = 3.0
Flow = Generator[Request, Reply, Any]


def young(reply: Reply) -> bool:
    """No older than the answer itself says it may be."""
    found = re.search(r"max-age=([0-9.]+)", reply.headers.get("cache-control", ""))
    made_ms = reply.json().get("made_ms")
    if found is None or made_ms is None:
        return False
    return bool(time.time() - made_ms / 1000 <= float(found[1]) + SLACK_S)


def whole(reply: Reply) -> bool:
    return len(reply.json()["body"]) == 1984 and "etag" in reply.headers


class CacheReader(GeoUser):
    """Reads the same as everybody."""

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
            return
        if session.random.random() < 0.4:
            path = f"/static/{session.random.randrange(FILES)}"
            yield get(path, name="static", timeout_s=TIMEOUT_S, check=whole)
        else:
            sphere = session.random.choice(SPHERES)
            name = f"digest {sphere}"
            yield get(f"/digest/{sphere}", name=name, timeout_s=TIMEOUT_S, check=young)
