"""CHE·NU's users: seven read where three write. Who they are and what they do; nothing about pass
or fail.

One arrival is one request, so that the planned rate is the request rate. Where users are, and in
what shares, is the target's.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
SPHERES = ("personal", "personal", "personal", "business", "business", "creative")
TIMEOUT_S = 2.0
Flow = Generator[Request, Reply, Any]


class Member(GeoUser):
    """Someone with an account on the shard of their population."""

    abstract = True
    rate_per_s = 1  # many quiet streams, so that a population of 4 % is not one stream or two
    account_offset = 0

    def login(self, session: Session) -> Flow:
        session.threads = []
        shard = session.population.labels.get("shard", "us")
        account = f"{shard}-{(2 * session.stream + self.account_offset) % USERS_PER_SHARD}"
        reply = yield post("/login", name="log in", json={"user": account}, timeout_s=TIMEOUT_S)
        session.signed_in = reply.status == 200
        if session.signed_in:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")
            yield from self.list_threads(session)

    def list_threads(self, session: Session) -> Flow:
        sphere = session.random.choice(SPHERES)
        reply = yield get(f"/threads?sphere={sphere}", name="list threads", timeout_s=TIMEOUT_S)
        # Looking inside costs more than the request: once a user knows some threads, that is
        # enough.
        if reply.status == 200 and not session.threads:
            session.threads = [thread["id"] for thread in reply.json()["threads"]]
        self.note(session, reply)

    def note(self, session: Session, reply: Reply) -> None:
        """A token that is not taken any more has to be asked for again."""
        if reply.status == 401:
            session.signed_in = False


class Reader(Member):
    """Looks at lists, threads, the profile and the spheres."""

    weight = 7

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
            return
        pick = session.random.random()
        if pick < 0.45 or not session.threads:
            yield from self.list_threads(session)
            return
        if pick < 0.75:
            request = get(
                f"/threads/{session.random.choice(session.threads)}",
                name="open thread",
                timeout_s=TIMEOUT_S,
            )
        elif pick < 0.90:
            request = get("/profile", name="open profile", timeout_s=TIMEOUT_S)
        else:
            request = get(
                f"/spheres/{session.random.choice(SPHERES)}",
                name="open sphere",
                timeout_s=TIMEOUT_S,
            )
        self.note(session, (yield request))


class Writer(Member):
    """Writes messages, and now and then starts a thread."""

    weight = 3
    account_offset = 1

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
            return
        # Ids come from the client, so that a write whose answer was lost could be said again; this
        # one never is.
        new_id = str(uuid.UUID(int=session.random.getrandbits(128), version=4))
        if session.threads and session.random.random() < 0.9:
            thread = session.random.choice(session.threads)
            body = {"id": new_id, "body": f"message {new_id[:8]}"}
            reply = yield post(
                f"/threads/{thread}/messages", name="write message", json=body, timeout_s=TIMEOUT_S
            )
        else:
            body = {
                "id": new_id,
                "sphere": session.random.choice(SPHERES),
                "title": f"thread {new_id[:8]}",
            }
            reply = yield post("/threads", name="start thread", json=body, timeout_s=TIMEOUT_S)
            if reply.status == 201:
                session.threads.append(new_id)
        self.note(session, reply)
